"""Callbacks of `Model.fit`."""

from gpunet.training.callbacks import Callback, CallbackList, History, LambdaCallback

__all__ = ["Callback", "CallbackList", "History", "LambdaCallback"]

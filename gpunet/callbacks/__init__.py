"""Callbacks of `Model.fit`."""

from gpunet.callbacks.backup import BackupAndRestore
from gpunet.callbacks.checkpoint import ModelCheckpoint
from gpunet.callbacks.loggers import BaseLogger, CSVLogger, ProgbarLogger, RemoteMonitor
from gpunet.callbacks.rates import LearningRateScheduler, ReduceLROnPlateau
from gpunet.callbacks.stopping import EarlyStopping, TerminateOnNaN
from gpunet.callbacks.tensorboard import TensorBoard
from gpunet.training.callbacks import Callback, CallbackList, History, LambdaCallback

__all__ = [
    "BackupAndRestore",
    "BaseLogger",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "TensorBoard",
    "TerminateOnNaN",
]

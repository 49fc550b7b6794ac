"""Models: functional graphs, stacks of layers, and subclasses of `Model`."""

from gpunet.models.model import Model
from gpunet.models.sequential import Sequential
from gpunet.saving.files import load_model, save_model

__all__ = ["Model", "Sequential", "load_model", "save_model"]

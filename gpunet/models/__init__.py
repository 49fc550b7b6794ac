"""Models: functional graphs, stacks of layers, and subclasses of `Model`."""

from gpunet.models.cloning import (
    clone_model,
    model_from_config,
    model_from_json,
    model_from_yaml,
)
from gpunet.models.model import Model
from gpunet.models.sequential import Sequential
from gpunet.saving.files import load_model, save_model

__all__ = [
    "Model",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_config",
    "model_from_json",
    "model_from_yaml",
    "save_model",
]

"""Classic Keras on CuPy and NumPy."""

__version__ = "0.4.0"

from gpunet import (
    activations,
    applications,
    backend,
    callbacks,
    config,
    constraints,
    datasets,
    fused,  # noqa: F401 - it offers its kernels to the ops
    initializers,
    layers,
    losses,
    metrics,
    mixed_precision,
    models,
    ops,
    optimizers,
    preprocessing,
    regularizers,
    utils,
)
from gpunet.arrays import current_device, device, devices, set_device
from gpunet.autodiff import GradientTape, custom_gradient
from gpunet.errors import GpunetError
from gpunet.explaining import explain
from gpunet.layers import Input
from gpunet.models import Model, Sequential
from gpunet.old_paths import lazy_modules
from gpunet.tensor import Tensor, convert_to_tensor
from gpunet.utils import set_random_seed
from gpunet.variables import Variable

__all__ = [
    "GpunetError",
    "GradientTape",
    "Input",
    "Model",
    "Sequential",
    "Tensor",
    "Variable",
    "activations",
    "applications",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "convert_to_tensor",
    "current_device",
    "custom_gradient",
    "datasets",
    "device",
    "devices",
    "explain",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "ops",
    "optimizers",
    "preprocessing",
    "regularizers",
    "set_device",
    "set_random_seed",
    "utils",
]

# Loaded when they are first used.
__getattr__ = lazy_modules(__name__, ("applications", "cli", "dropin", "saving", "wrappers"))

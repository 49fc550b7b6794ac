"""tf.test: questions about the GPU."""

from gpunet.dropin.tf.config import list_physical_devices

__all__ = ["gpu_device_name", "is_built_with_cuda", "is_gpu_available"]


def is_gpu_available(cuda_only=False, min_cuda_compute_capability=None):
    """Return whether there is a GPU that gpunet can use."""
    return bool(list_physical_devices("GPU"))


def gpu_device_name():
    """Return the first GPU's name, an empty str without one."""
    return "/device:GPU:0" if is_gpu_available() else ""


def is_built_with_cuda():
    """Return whether there is a GPU that gpunet can use."""
    return is_gpu_available()

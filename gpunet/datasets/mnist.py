"""MNIST: handwritten digits, 28x28 pixels."""

from gpunet.datasets.packed import read_npz
from gpunet.datasets.sources import fetch

__all__ = ["load_data"]


def load_data(path="mnist.npz", cache_dir=None):
    """Load the handwritten digits, fetched on first use.

    Args:
        path: str, name of the file in the cache.
        cache_dir: str or path-like, the cache; ``~/.keras`` by default.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 images of shape (60000, 28, 28) and
        (10000, 28, 28), and their digits as uint8.

    Reference:
        LeCun et al., Gradient-based learning applied to document recognition, 1998,
        doi:10.1109/5.726791.
    """
    arrays = read_npz(
        fetch("mnist.npz", path, cache_dir=cache_dir), "x_train", "y_train", "x_test", "y_test"
    )
    return arrays[:2], arrays[2:]

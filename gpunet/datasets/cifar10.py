"""CIFAR-10: photographs of 10 kinds of things, 32x32 pixels."""

from gpunet.datasets.cifar import load_batches
from gpunet.datasets.sources import fetch

__all__ = ["load_data"]


def load_data(cache_dir=None):
    """Load the photographs, fetched on first use.

    Args:
        cache_dir: str or path-like, the cache; ``~/.keras`` by default.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 images of shape (50000, 32, 32, 3) and
        (10000, 32, 32, 3), classes 0 to 9 as uint8 of shape (images, 1).

    Reference:
        Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    folder = fetch("cifar-10-batches-py", untar=True, cache_dir=cache_dir)
    train = load_batches(folder, [f"data_batch_{n}" for n in range(1, 6)], "labels")
    return train, load_batches(folder, ["test_batch"], "labels")

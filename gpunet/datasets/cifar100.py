"""CIFAR-100: photographs of 100 kinds of things in 20 groups, 32x32 pixels."""

from gpunet.datasets.cifar import load_batches
from gpunet.datasets.sources import fetch

__all__ = ["load_data"]


def load_data(label_mode="fine", cache_dir=None):
    """Load the photographs, fetched on first use.

    Args:
        label_mode: ``'fine'`` for the 100 kinds, ``'coarse'`` for the 20 groups.
        cache_dir: str or path-like, the cache; ``~/.keras`` by default.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 images of shape (50000, 32, 32, 3) and
        (10000, 32, 32, 3), classes as uint8 of shape (images, 1).

    Raises:
        ValueError: another mode.

    Reference:
        Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(f"cifar100: expected label_mode 'fine' or 'coarse', got {label_mode!r}")
    folder = fetch("cifar-100-python", untar=True, cache_dir=cache_dir)
    key = f"{label_mode}_labels"
    return load_batches(folder, ["train"], key), load_batches(folder, ["test"], key)

"""Boston housing: prices of houses by 13 figures of their towns, 1978."""

import numpy as np

from gpunet.datasets.packed import read_npz, shuffled, split_at
from gpunet.datasets.sources import fetch

__all__ = ["load_data"]


def load_data(path="boston_housing.npz", test_split=0.2, seed=113, cache_dir=None):
    """Load prices and figures, fetched on first use.

    One of the figures is made from the share of black residents: study the set for what it says of
    its time, don't build on it.

    Args:
        path: str, name of the file in the cache.
        test_split: float, the part that is kept for testing.
        seed: int, for the order.
        cache_dir: str or path-like, the cache; ``~/.keras`` by default.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: float64 arrays of shape (samples, 13) and prices
        in thousands of dollars, (samples,).

    Raises:
        ValueError: a split outside of [0, 1).

    Reference:
        Harrison and Rubinfeld, Hedonic prices and the demand for clean air, 1978,
        doi:10.1016/0095-0696(78)90006-2.
    """
    arrays = read_npz(fetch("boston_housing.npz", path, cache_dir=cache_dir), "x", "y")
    return split_at(test_split, *shuffled(np.random.RandomState(seed), *arrays))

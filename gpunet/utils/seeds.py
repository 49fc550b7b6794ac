"""Repeating a run."""

import random as _python_random

import numpy as np

from gpunet.ops import random as _random

__all__ = ["set_random_seed"]


def set_random_seed(seed):
    """Seed Python, NumPy and gpunet, so that a run can be repeated bit for bit.

    Args:
        seed: int from 0 to 2**32 - 1.

    Raises:
        ValueError: anything else.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"set_random_seed: expected an int from 0 to 2**32 - 1, got {seed!r}")
    _python_random.seed(int(seed))
    np.random.seed(int(seed))
    _random.set_seed(int(seed))

"""Handwritten digits that come with the package: 1,797 real images of 8x8 pixels.

Origin and licence of the data are in ``digits.txt``, beside this file.
"""

from pathlib import Path

import numpy as np

__all__ = ["load_data"]

_FILE = Path(__file__).with_name("digits.npz")
_TEST_SAMPLES = 359  # the last fifth; see digits.txt for how it was chosen


def load_data():
    """Load the handwritten digits, split into training and test samples.

    The split and the order are fixed. The test samples are a fifth of each class, and the
    training samples are stored shuffled, so that ``validation_split`` cuts off a fair sample.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: 1,438 and 359 samples. Images are uint8 arrays of
        shape (samples, 8, 8) with values 0 (paper) to 16 (ink); labels are uint8 arrays of shape
        (samples,) with values 0 to 9.

    Reference:
        E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
        Repository, 1998, doi:10.24432/C50P49.
    """
    with np.load(_FILE, allow_pickle=False) as packed:
        x, y = packed["x"], packed["y"]
    train, test = slice(None, -_TEST_SAMPLES), slice(-_TEST_SAMPLES, None)
    return (x[train], y[train]), (x[test], y[test])

"""Pack scikit-learn's copy of the UCI digits into ``gpunet/datasets/digits.npz``.

    python tests/datasets/pack_digits.py [PATH]

It needs scikit-learn, which the tests don't: the packed file is kept in the repository.
"""

import sys
from pathlib import Path

import numpy as np

DEFAULT = Path(__file__).resolve().parents[2] / "gpunet" / "datasets" / "digits.npz"


def split_order(y):
    """Return the indices of the training and of the test samples, each shuffled.

    Args:
        y: labels in the original order.

    Returns:
        Two index arrays; the second has every fifth sample, counted class by class.
    """
    by_class = np.argsort(y, kind="stable")
    is_test = np.arange(len(y)) % 5 == 4
    shuffle = np.random.RandomState(0).permutation  # NumPy keeps this stream as it is for ever
    return shuffle(by_class[~is_test]), shuffle(by_class[is_test])


def main(path):
    """Write the packed file and print what is in it."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.concatenate(split_order(digits.target))
    x = digits.images[order].astype(np.uint8)
    y = digits.target[order].astype(np.uint8)
    if not np.array_equal(x, digits.images[order]):
        raise SystemExit("the images are not whole numbers from 0 to 255")
    np.savez_compressed(path, x=x, y=y)
    print(f"{path}: {len(x)} images, {Path(path).stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)

"""Cases of the ops on images; the references work on one row or point at a time."""

import numpy as np
import scipy.ndimage as nd
from op_cases import Case, real

from gpunet import ops


def linear(x, size, method):
    """Straight lines between the centres of pixels, constant outside."""
    for axis, n in zip((1, 2), size):
        old = x.shape[axis]
        at = (np.arange(n) + 0.5) * old / n - 0.5
        x = np.apply_along_axis(lambda row, at=at: np.interp(at, np.arange(row.size), row), axis, x)
    return x


def nearest(x, size, method):
    for axis, n in zip((1, 2), size):
        x = np.take(x, ((np.arange(n) + 0.5) * x.shape[axis] / n).astype(int), axis)
    return x


def blocks(x, size, method):
    n, h, w, c = x.shape
    return x.reshape(n, size[0], h // size[0], size[1], w // size[1], c).mean((2, 4))


def moved(x, maps, fill_mode="reflect", fill_value=0.0, interpolation="bilinear"):
    mode = {"nearest": "nearest", "constant": "grid-constant"}[fill_mode]
    result = np.empty_like(x)
    y, x_ = np.mgrid[: x.shape[1], : x.shape[2]]
    for n, (a0, a1, a2, b0, b1, b2, c0, c1) in enumerate(maps):
        k = c0 * x_ + c1 * y + 1
        at = np.array([(b0 * x_ + b1 * y + b2) / k, (a0 * x_ + a1 * y + a2) / k])
        for c in range(x.shape[-1]):
            result[n, ..., c] = nd.map_coordinates(
                x[n, ..., c], at, order=1, mode=mode, cval=fill_value, prefilter=False
            )
    return result


# Whole numbers, so that the table doesn't ask for their gradient.
MAPS = np.array([[1, 0, -1, 0, 1, 2, 0, 0], [2, 1, 1, 1, 3, 0, 1, 1], [1, 0, 0, 0, 2, 1, 0, 1]])
IMAGES = [real(3, 5, 6, 2), MAPS]

CASES = [
    Case(ops.resample, [real(3, 5, 4, 2)], linear, size=(7, 3), method="bilinear"),
    Case(ops.resample, [real(3, 5, 4, 2)], nearest, label="nearest", size=(3, 9), method="nearest"),
    Case(ops.resample, [real(3, 6, 4, 2)], blocks, label="area", size=(2, 2), method="area"),
    Case(ops.resample, [real(3, 6, 4, 2)], None, label="bicubic", size=(4, 7), method="bicubic"),
    Case(ops.resample, [real(3, 6, 4, 2)], None, label="lanczos3", size=(4, 7), method="lanczos3"),
    Case(ops.resample, [real(3, 6, 4, 2)], lambda x, size: x, label="same", size=(6, 4)),
    Case(ops.transform, IMAGES, moved, loose=4, fill_mode="constant",
         fill_value=0.5),
    Case(ops.transform, IMAGES, moved, loose=4, label="nearest",
         fill_mode="nearest"),
    Case(ops.transform, IMAGES, None, label="reflect"),
    Case(ops.transform, IMAGES, None, label="wrap", fill_mode="wrap",
         interpolation="nearest"),
]  # fmt: skip

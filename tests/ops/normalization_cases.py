"""Cases of `gpunet.ops.normalization` for the table of ops."""

import numpy as np
from op_cases import Case, flags, real

from gpunet import ops


def normalized(x, gamma=None, beta=None, mask=None, *, axes, epsilon=1e-3):
    axes = (axes,) if isinstance(axes, int) else axes
    weight = np.ones(x.shape) if mask is None else np.broadcast_to(mask, x.shape).astype(float)
    mean = np.zeros([1 if i in axes else n for i, n in enumerate(x.shape)])
    variance = np.zeros_like(mean)
    for at in np.ndindex(mean.shape):
        chosen = tuple(slice(None) if i in axes else k for i, k in enumerate(at))
        if weight[chosen].sum():
            mean[at] = np.average(x[chosen], weights=weight[chosen])
            variance[at] = np.average((x[chosen] - mean[at]) ** 2, weights=weight[chosen])
    y = (x - mean) / np.sqrt(variance + epsilon)
    return y * (1 if gamma is None else gamma) + (0 if beta is None else beta), mean, variance


def normalize(label, *inputs, **options):
    return Case(ops.normalize, inputs, normalized, label=label, loose=4, **options)


CASES = [
    Case(ops.affine, [real(3, 4), real(4), real(3, 1)], lambda x, a, b: x * a + b),
    normalize("plain", real(3, 4), axes=0),
    normalize("batch", real(3, 4), real(4), real(4), axes=0, epsilon=0.1),
    normalize("batch_4d", real(3, 2, 5, 4), real(4), real(4), axes=(0, 1, 2)),
    normalize("scale", real(3, 2, 4), real(4), axes=(0, 1)),
    normalize("center", real(3, 2, 4), None, real(4), axes=(0, 1)),
    normalize("channels_first", real(3, 4, 2, 5), real(4, 1, 1), real(4, 1, 1), axes=(0, 2, 3)),
    normalize("layer", real(3, 4, 5), real(5), real(5), axes=2),
    normalize("layer_axes", real(3, 4, 5), real(4, 5), real(4, 5), axes=(1, 2)),
    normalize("group", real(3, 4, 2, 5), real(2, 5), real(2, 5), axes=(1, 3)),
    normalize("masked", real(3, 4, 5), real(5), real(5), flags(3, 4, 1), axes=(0, 1)),
    normalize("all_masked", real(3, 5), None, None, np.zeros((3, 1), bool), axes=0),
]  # fmt: skip

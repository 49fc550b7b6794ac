"""tf.linalg: products, norms, diagonals."""

import numpy as np

from gpunet import ops
from gpunet.arrays import current_device
from gpunet.dropin.tf.arguments import axes, dtype_name, tensor
from gpunet.dropin.tf.math import l2_normalize
from gpunet.tensor import Tensor

__all__ = [
    "band_part",
    "einsum",
    "eye",
    "global_norm",
    "l2_normalize",
    "matmul",
    "matrix_transpose",
    "matvec",
    "norm",
    "tensordot",
    "trace",
]


def matmul(a, b, transpose_a=False, transpose_b=False, name=None, **_):
    """Return the matrix product over the last two axes."""
    a, b = tensor(a), tensor(b)
    return ops.matmul(
        matrix_transpose(a) if transpose_a else a, matrix_transpose(b) if transpose_b else b
    )


def matvec(a, b, transpose_a=False, name=None):
    """Return the product of matrices and vectors."""
    return ops.squeeze(matmul(a, ops.expand_dims(tensor(b), -1), transpose_a), axis=-1)


def matrix_transpose(a, name=None):
    """Return matrices with their last two axes swapped."""
    a = tensor(a)
    n = len(a.shape)
    return ops.permute_dimensions(a, (*range(n - 2), n - 1, n - 2))


def einsum(equation, *inputs, name=None):
    """Return a sum of products, as its equation says, of two tensors."""
    return ops.einsum(*map(tensor, inputs), equation=equation)


def tensordot(a, b, axes, name=None):
    """Return the product summed over the given axes."""
    return ops.tensordot(tensor(a), tensor(b), axes=axes)


def eye(num_rows, num_columns=None, batch_shape=None, dtype=None, name=None):
    """Return an identity matrix."""
    xp = current_device().xp
    made = Tensor(xp.eye(num_rows, num_columns, dtype=dtype_name(dtype)))
    return made if batch_shape is None else ops.broadcast_to(made, (*batch_shape, *made.shape))


def norm(tensor_, ord="euclidean", axis=None, keepdims=False, name=None):
    """Return the length along axes: ``'euclidean'`` (2), 1 or infinity."""
    x, axis = tensor(tensor_), axes(axis)
    if ord in ("euclidean", "fro", 2):
        return ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=keepdims))
    if ord == 1:
        return ops.sum(ops.abs(x), axis=axis, keepdims=keepdims)
    if ord == float("inf"):
        return ops.max(ops.abs(x), axis=axis, keepdims=keepdims)
    raise NotImplementedError(f"tf.norm: ord {ord!r} isn't part of what gpunet gives scripts")


def global_norm(t_list, name=None):
    """Return the length of all tensors together."""
    return ops.sqrt(sum(ops.sum(ops.square(tensor(t))) for t in t_list if t is not None))


def band_part(input, num_lower, num_upper, name=None):
    """Return matrices with zeros outside of a band around the diagonal; -1 is all of a side."""
    x = tensor(input)
    n, m = x.shape[-2:]
    rows, columns = np.arange(n)[:, None], np.arange(m)
    inside = (num_lower < 0) | (rows - columns <= num_lower)
    inside &= (num_upper < 0) | (columns - rows <= num_upper)
    return x * tensor(inside.astype(x.dtype))


def trace(x, name=None):
    """Return the sum of the diagonal of a matrix."""
    x = tensor(x)
    return ops.sum(x * eye(*x.shape, dtype=x.dtype))

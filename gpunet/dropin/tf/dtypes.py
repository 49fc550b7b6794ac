"""Types of elements, and descriptions of tensors."""

import numpy as np

from gpunet.dropin.tf.arguments import dtype_name, tensor
from gpunet.ops import cast as _cast
from gpunet.tensor import Operators, Shape

__all__ = [
    "DType",
    "RaggedTensor",
    "SparseTensor",
    "TensorShape",
    "TensorSpec",
    "as_dtype",
    "bool",
    "cast",
    "float16",
    "float32",
    "float64",
    "double",
    "half",
    "int8",
    "int16",
    "int32",
    "int64",
    "string",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]

DType = np.dtype
TensorShape = Shape
float16, float32, float64 = map(np.dtype, ("float16", "float32", "float64"))
half, double = float16, float64
int8, int16, int32, int64 = map(np.dtype, ("int8", "int16", "int32", "int64"))
uint8, uint16, uint32, uint64 = map(np.dtype, ("uint8", "uint16", "uint32", "uint64"))
bool = np.dtype("bool")
string = np.dtype("str")


class TensorSpec:
    """What a tensor looks like.

    Args:
        shape: tuple with None for sizes that are free.
        dtype: dtype or name.
        name: str.
    """

    def __init__(self, shape, dtype=float32, name=None):
        self.shape = Shape(() if shape is None else shape)
        self.dtype, self.name = np.dtype(dtype), name

    def __repr__(self):
        return f"TensorSpec(shape={self.shape}, dtype={self.dtype}, name={self.name!r})"

    def __eq__(self, other):
        return repr(self) == repr(other)

    __hash__ = None


class SparseTensor:
    """Stands for what gpunet doesn't have, so that ``isinstance`` can be asked."""


class RaggedTensor:
    """Stands for what gpunet doesn't have, so that ``isinstance`` can be asked."""


def as_dtype(type_value):
    """Return the dtype of a name or a dtype."""
    return np.dtype(type_value)


def cast(x, dtype, name=None):
    """Return ``x`` with another type of elements."""
    x = x if isinstance(x, Operators) else tensor(np.asarray(x))
    return x if x.dtype == dtype else _cast(x, dtype_name(dtype))

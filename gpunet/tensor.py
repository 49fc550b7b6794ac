"""Tensors: an array plus what the tape and the layers need to know about it."""

import numpy as np

from gpunet import arrays, config
from gpunet.errors import ShapeError

__all__ = [
    "Shape",
    "Operators",
    "Symbolic",
    "Tensor",
    "as_array",
    "convert_to_tensor",
    "from_dlpack",
    "int_shape",
    "strings_of",
    "value_of",
]


class _Size(int):
    """One entry of a `Shape`; ``.value`` is how TensorFlow 1 scripts read it."""

    __slots__ = ()

    @property
    def value(self):
        return int(self)


class Shape(tuple):
    """A shape: a tuple of ints and Nones with the old names of its parts."""

    __slots__ = ()

    @property
    def ndims(self):
        """int, number of axes."""
        return len(self)

    rank = ndims

    @property
    def dims(self):
        """list of the sizes."""
        return list(self)

    def as_list(self):
        """Return the sizes as a list of ints and Nones."""
        return [None if n is None else int(n) for n in self]

    def is_fully_defined(self):
        """Return whether no size is None."""
        return None not in self

    def num_elements(self):
        """Return the product of the sizes, None if one is unknown."""
        return None if None in self else int(np.prod(self, dtype=np.int64))

    def __getitem__(self, key):
        part = super().__getitem__(key)
        if isinstance(key, slice):
            return Shape(part)
        return None if part is None else _Size(part)

    def __repr__(self):
        return "(" + ", ".join(map(str, self)) + (",)" if len(self) == 1 else ")")


class Operators:
    """Python's operators on tensors; `gpunet.ops` fills them in."""

    __slots__ = ()

    __array_priority__ = 1000

    def get_shape(self):
        """Return ``self.shape``; the name that TensorFlow 1 scripts use."""
        return self.shape

    @property
    def _keras_shape(self):
        return tuple(self.shape)

    @property
    def rank(self):
        """int, number of axes."""
        return len(self.shape)


class Symbolic(Operators):
    """Base of tensors without values; calling an op on one builds a graph."""

    __slots__ = ()


class Tensor(Operators):
    """An array on the CPU or the GPU, as layers and losses see it.

    Attributes:
        array: the numpy or cupy array; never written to.
        tracked: bool, whether active tapes record what is done with it.
    """

    __slots__ = ("array", "tracked", "_keras_mask", "_keras_logits", "_keras_logs", "__weakref__")

    def __init__(self, array, tracked=False):
        self.array = array
        self.tracked = tracked

    @property
    def shape(self):
        """Shape of the array."""
        return Shape(self.array.shape)

    @property
    def ndim(self):
        """int, number of axes."""
        return self.array.ndim

    @property
    def size(self):
        """int, number of elements."""
        return self.array.size

    @property
    def dtype(self):
        """numpy.dtype of the elements; compares equal to its name."""
        return self.array.dtype

    @property
    def device(self):
        """str, ``'cpu'`` or ``'gpu:<n>'``."""
        place = getattr(self.array, "device", "cpu")
        return f"gpu:{place.id}" if hasattr(place, "id") else "cpu"

    def numpy(self):
        """Return the values as a numpy array; waits for the GPU where there is one."""
        return np.array(arrays.to_host(self.array))

    def item(self):
        """Return the value of a tensor with one element as a Python number.

        Raises:
            ValueError: more elements than one, or none.
        """
        if self.array.size != 1:
            raise ShapeError(
                f"expected a tensor with one element, got one of shape {self.shape}: "
                "it is no single number and neither true nor false"
            )
        return arrays.to_host(self.array).item()

    def tolist(self):
        """Return the values as nested lists."""
        return arrays.to_host(self.array).tolist()

    def __array__(self, dtype=None, copy=None):
        values = arrays.to_host(self.array)
        if dtype is None or values.dtype == dtype:
            return values.copy() if copy else values
        if copy is False:
            raise ValueError(f"{self.dtype} can't become {np.dtype(dtype)} without a copy")
        return values.astype(dtype)

    def __dlpack__(self, **options):
        """Share the memory with another library, by the protocol DLPack; don't write to it."""
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    @property
    def __cuda_array_interface__(self):
        return self.array.__cuda_array_interface__  # an AttributeError for arrays of the host

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __round__(self, digits=None):
        return round(self.item(), digits)

    def __index__(self):
        if self.array.dtype.kind not in "iu" or self.array.ndim:
            raise TypeError(f"only an integer tensor without axes can be an index, got {self!r}")
        return self.item()

    def __bool__(self):
        return bool(self.item())

    def __len__(self):
        if not self.array.ndim:
            raise TypeError("a tensor without axes has no length")
        return len(self.array)

    def __iter__(self):
        if not self.array.ndim:
            raise TypeError("a tensor without axes can't be iterated over")
        return (self[i] for i in range(len(self.array)))

    def __hash__(self):
        return id(self)

    def __repr__(self):
        return f"<{type(self).__name__} {self.shape} {self.dtype}: {arrays.to_host(self.array)}>"

    def __format__(self, spec):
        return format(self.item(), spec) if spec else str(self)

    def __copy__(self):
        return Tensor(self.array)

    def __deepcopy__(self, memo):
        return Tensor(self.array.copy())

    def __reduce__(self):
        return convert_to_tensor, (arrays.to_host(self.array),)


def value_of(x):
    """Return the array inside a tensor; anything else as it is."""
    return x.array if isinstance(x, Tensor) else x


def int_shape(x):
    """Return the shape of a tensor as a tuple of ints and Nones."""
    return tuple(x.shape)


def convert_to_tensor(value, dtype=None):
    """Make a Tensor on the current device.

    Args:
        value: array, nested lists, number or tensor.  Arrays of the device's own module, and
            those of other libraries that speak DLPack, share their memory where they can.
        dtype: name or numpy dtype; None keeps an array's own, and makes Python floats
            of the default float type and Python ints int32, where they fit.

    Returns:
        Tensor; the argument itself if it is one of that dtype already.

    Raises:
        TypeError: a value that no numeric array can be made of.
        ShapeError: nested lists of unequal lengths.
    """
    if isinstance(value, (list, tuple)) and _holds_tensors(value):
        from gpunet.ops.shape import pack  # it is made of tensors itself

        value = pack(*[convert_to_tensor(part) for part in value])
    if isinstance(value, Operators):
        return value if dtype is None or value.dtype == dtype else value.astype(dtype)
    return Tensor(as_array(value, dtype))


def _holds_tensors(nest):
    return any(
        isinstance(v, Operators) or (isinstance(v, (list, tuple)) and _holds_tensors(v))
        for v in nest
    )


def as_array(value, dtype=None):
    """Return a value as an array of the current device; see `convert_to_tensor`."""
    if not arrays.is_array(value):
        if hasattr(value, "__dlpack__") and not isinstance(value, Operators):
            value = from_dlpack(value)
        else:
            value = _from_python(value)
            dtype = _python_dtype(value) if dtype is None else dtype
    if value.dtype.kind not in "fiub":
        raise TypeError(f"expected real numbers, got an array of dtype {value.dtype}")
    return arrays.to_device(value, dtype)


def strings_of(value):
    """Return strings, in an array or in nested lists, as an array of objects on the host.

    None for anything else.
    """
    if isinstance(value, (str, bytes, list, tuple)):
        value = np.asarray(value)
    if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind not in "USO":
        return None
    made = np.asarray(value, object)
    return made if all(isinstance(v, (str, bytes)) for v in made.flat) else None


_DLPACK_CPU = (1, 3)  # in the host's memory, pageable or pinned


def from_dlpack(value):
    """Return an array that shares the memory of another library's."""
    if value.__dlpack_device__()[0] in _DLPACK_CPU:
        return np.from_dlpack(value)
    return arrays.module_of_gpus().from_dlpack(value)


def _from_python(value):
    try:
        made = np.asarray(value)
    except ValueError as error:
        raise ShapeError(
            f"no array can be made of {type(value).__name__}: lists of unequal lengths? ({error})"
        ) from None
    if made.dtype.kind not in "fiub":
        raise TypeError(f"expected numbers, got {type(value).__name__} ({str(value)[:60]!r})")
    return made


def _python_dtype(array):
    """Return what Python's numbers become, given the array that NumPy makes of them."""
    if array.dtype.kind == "f":
        return config.floatx()
    if array.dtype.kind != "i":
        return None
    fits = not array.size or -(2**31) <= array.min() <= array.max() < 2**31
    return "int32" if fits else None

"""Variables: tensors that keep their storage, and how that storage is laid out.

A variable allocates nothing until it is read, run or assigned.  Variables that are allocated
together lie side by side in one flat buffer, so that an optimizer can update neighbours with
one array operation; `runs` finds the neighbours again from their addresses alone.
"""

import contextlib
import functools
import threading

import numpy as np

from gpunet import arrays, config
from gpunet.errors import ShapeError
from gpunet.ops.memory import offered
from gpunet.recording import edited, effect
from gpunet.tensor import Shape, Tensor, as_array, value_of

__all__ = ["Variable", "allocate", "runs", "viewing"]

_nothing = contextlib.nullcontext()
# Held while storage is made: two threads that read a new variable get the same one.
_allocating = threading.RLock()


class Variable(Tensor):
    """A tensor whose values change in place.

    Args:
        initial: array-like, or function ``(shape, dtype) -> array`` that is called when the
            values are first needed.
        shape: tuple of ints; taken from ``initial`` where that is an array.
        dtype: name; likewise.
        name: str.
        trainable: bool, whether tapes watch it and optimizers update it.
        constraint: function of a tensor, applied after each update.
        regularizer: function of a tensor, gives a loss.
    """

    is_variable = True
    __slots__ = (
        "name",
        "_trainable",
        "constraint",
        "regularizer",
        "_shape",
        "_dtype",
        "_initial",
        "_device",
        "__dict__",
    )

    def __init__(
        self,
        initial,
        shape=None,
        dtype=None,
        name="Variable",
        trainable=True,
        constraint=None,
        regularizer=None,
    ):
        self._device = arrays.current_device()
        if callable(initial):
            if shape is None:
                raise TypeError(f"Variable {name!r}: a function as initial value needs a shape")
            self._initial = initial
            self._shape = Shape(shape)
            self._dtype = np.dtype(config.floatx() if dtype is None else dtype)
        else:
            values = as_array(value_of(initial), dtype)
            self.array = values.copy()
            self._initial = None
            self._shape = Shape(values.shape)
            self._dtype = np.dtype(str(values.dtype))
        self.name = name
        self.trainable = trainable
        self.constraint = constraint
        self.regularizer = regularizer

    def __getattr__(self, attribute):
        # `array` is a slot that stays empty until someone reads it.
        if attribute == "array":
            allocate([self])
            return self.array
        raise AttributeError(f"a Variable has no attribute {attribute!r}")

    @property
    def allocated(self):
        """bool, whether the storage exists."""
        return self._initial is None

    @property
    def trainable(self):
        """bool, whether tapes watch it and optimizers update it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        if getattr(self, "_trainable", value) != value:
            edited()
        self._trainable = bool(value)
        self.tracked = self._trainable and self._dtype.kind == "f"

    @property
    def shape(self):
        """Shape."""
        return self._shape

    @property
    def ndim(self):
        """int, number of axes."""
        return len(self._shape)

    @property
    def size(self):
        """int, number of elements."""
        return int(np.prod(self._shape, dtype=np.int64))

    @property
    def dtype(self):
        """numpy.dtype of the elements."""
        return self._dtype

    def value(self):
        """Return the variable itself; TensorFlow scripts call this."""
        return self

    read_value = value

    @property
    def initializer(self):
        """None; variables need no initialisation step here."""
        return None

    def assign(self, value, **_):
        """Write new values in place.

        Args:
            value: array, tensor or number of exactly the variable's shape (a number for any).

        Returns:
            The variable.

        Raises:
            ShapeError: a value of another shape; nothing is written then.
        """
        return self._change(self._set, value)

    def assign_add(self, delta, **_):
        """Add to the values in place; see `assign`."""
        return self._change(self._add, delta)

    def assign_sub(self, delta, **_):
        """Subtract from the values in place; see `assign`."""
        return self._change(self._subtract, delta)

    def _change(self, function, value):
        """Let a function write to the array: now, and when what runs now is replayed."""
        if type(value) in (float, int, bool):
            effect(functools.partial(function, value))
        else:
            effect(function, value)
        return self

    def _set(self, value):
        value = self._checked(value, "assign")
        if not self.allocated:
            allocate([self], fill=False)
        self.array[...] = value

    def _add(self, delta):
        delta = self._checked(delta, "assign_add")
        array = self.array
        array += delta

    def _subtract(self, delta):
        delta = self._checked(delta, "assign_sub")
        array = self.array
        array -= delta

    def _checked(self, value, what):
        value = value_of(value)
        if isinstance(value, (float, int)):
            return self._dtype.type(value)  # no array: that would have to go to the device
        if arrays.only_numpy and getattr(value, "dtype", None) is self._dtype:
            if value.shape in ((), self._shape):  # what replayed steps bring, again and again
                return value
        if not arrays.is_array(value):
            value = np.asarray(value)
        if value.dtype.kind not in "fiub":
            raise TypeError(
                f"{what} to variable {self.name!r}: expected numbers, got {value.dtype}"
            )
        if tuple(value.shape) != tuple(self._shape) and value.shape != ():
            raise ShapeError(
                f"{what} to variable {self.name!r}: expected shape {self._shape}, "
                f"got {Shape(value.shape)}"
            )
        if arrays.module_of(value) is not self._device.xp:
            value = self._device.xp.asarray(arrays.to_host(value))
        return value.astype(self._dtype) if value.dtype != self._dtype else value

    def __repr__(self):
        return f"<Variable {self.name!r} {self._shape} {self._dtype}>"

    def __array__(self, dtype=None, copy=None):
        # A snapshot: who reads a weight, trains and reads it again wants to see two values.
        values = super().__array__(dtype, copy)
        return values if copy is False else values.copy()

    def __copy__(self):
        return self.__deepcopy__({})

    def __deepcopy__(self, memo):
        with arrays.device(self._device):
            return self._make()(self.array)

    def __reduce__(self):
        return self._make(), (arrays.to_host(self.array),)

    def _make(self):
        """Return a function of values that makes a variable like this one."""
        return functools.partial(
            Variable, name=self.name, trainable=self.trainable, constraint=self.constraint,
            regularizer=self.regularizer,
        )  # fmt: skip


def allocate(variables, fill=True):
    """Give storage to the variables that have none yet, side by side where that is possible.

    Args:
        variables: list of Variables, in the order in which they should lie.
        fill: bool; False leaves the contents undefined, for a caller who writes them next.
    """
    if all(v.allocated for v in variables):
        return
    with _allocating:
        groups = {}
        for v in {id(v): v for v in variables if not v.allocated}.values():
            # Moving statistics between trainable weights would make two runs of one.
            groups.setdefault((v._device, v._dtype, v._trainable), []).append(v)
        for (device, dtype, _), group in groups.items():
            with arrays.device(device):
                _allocate_together(group, device.xp, dtype, fill)


def _allocate_together(group, xp, dtype, fill):
    starts, total = [], 0
    for v in group:
        starts.append(total)
        total = _aligned(total + v.size, dtype)
    flat = arrays.flat_empty(xp, total, dtype)
    for v, start, end in zip(group, starts, [*starts[1:], total]):
        # Padding is zero, so that an optimizer may update it along with the rest.
        flat[start + v.size : end] = 0
        if v.allocated:  # an initializer before it has read it
            continue
        view = flat[start : start + v.size].reshape(tuple(v._shape))
        if fill:
            # What gpunet's own initializers draw is drawn into its place.
            own = xp is np and getattr(v._initial, "draws_anew", False)
            with offered(view) if own else _nothing:
                values = value_of(v._initial(tuple(v._shape), dtype.name))
            if tuple(values.shape) != tuple(v._shape):
                raise ShapeError(
                    f"initializer of variable {v.name!r}: expected shape {v._shape}, "
                    f"got {Shape(values.shape)}"
                )
            if values is not view:
                view[...] = xp.asarray(values, dtype=dtype)
        v.array = view
        v._initial = None


def viewing(array, like, name):
    """Return an untrainable Variable whose storage is the given array, not a copy of it.

    Args:
        array: array of any module, its elements in one piece.
        like: Variable on the same device.
        name: str.
    """
    if not array.flags.c_contiguous:
        raise ValueError(f"Variable {name!r}: expected storage in one piece, got a strided array")
    dtype = np.dtype(str(array.dtype))
    variable = Variable(_no_values, array.shape, dtype, name, trainable=False)
    variable._device = like._device
    variable.array = array
    variable._initial = None
    return variable


def _no_values(shape, dtype):
    raise AssertionError("a view has its values already")


def _aligned(n, dtype):
    """Return where a variable may begin: a whole number of lines, as BLAS and GPUs like it."""
    step = max(1, arrays.LINE // dtype.itemsize)
    return -(-n // step) * step


class Run:
    """Variables that lie side by side, seen as one flat array.

    Attributes:
        variables: list of Variables.
        flat: one-dimensional array over all of them, padding included.
        bounds: list of (start, stop) of each variable in ``flat``.
    """

    __slots__ = ("variables", "flat", "bounds")

    def __init__(self, variables, flat, bounds):
        self.variables, self.flat, self.bounds = variables, flat, bounds


def runs(variables):
    """Return `Run` objects that together cover the variables, each exactly once.

    Args:
        variables: list of Variables; they are allocated if they aren't yet.
    """
    allocate(variables)
    found = []
    for v in variables:
        base, start = _place(v)
        last = found[-1] if found else None
        # Nothing but padding may lie between two neighbours: a frozen variable must not move.
        if (
            last is not None
            and last[0] is base
            and start - last[2] == _aligned(last[3] - last[2], v._dtype)
        ):
            last[1].append(v)
            last[3] = start + v.size
        else:
            found.append([base, [v], start, start + v.size])
    return [_make_run(*f) for f in found]


def _place(v):
    """Return the flat buffer that a variable is part of and where it starts there."""
    array, base = v.array, getattr(v.array, "base", None)
    if base is None or base.ndim != 1 or base.dtype != array.dtype:
        return array, 0
    place = _address(array)
    if place is None:  # a module without addresses: every variable counts as allocated alone
        return array, 0
    return base, (place - _address(base)) // array.dtype.itemsize


def _address(array):
    if isinstance(array, np.ndarray):
        return array.__array_interface__["data"][0]
    return getattr(array.data, "ptr", None)


def _make_run(base, variables, first, last):
    if base is variables[0].array:  # allocated alone, not inside a flat buffer
        return Run(variables, base.reshape(-1), [(0, base.size)])
    bounds = []
    for v in variables:
        start = _place(v)[1] - first
        bounds.append((start, start + v.size))
    return Run(variables, base[first:last], bounds)

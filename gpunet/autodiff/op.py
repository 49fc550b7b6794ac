"""Ops: pairs of array functions that can be called on tensors, arrays and numbers."""

import functools
import inspect
from contextvars import ContextVar

import numpy as np

from gpunet import arrays, config, gpu, recording
from gpunet.autodiff import autocast
from gpunet.autodiff.tape import active, taped
from gpunet.tensor import Operators, Symbolic, Tensor, convert_to_tensor

__all__ = ["Fusion", "Op", "differentiable", "watcher"]

# Function (op, values, options) that sees each call of an op which has fusions, or None.
watcher = ContextVar("gpunet_watcher", default=None)

_NUMPY1 = int(np.__version__.partition(".")[0]) < 2
_NUMBERS = (float, int, type(None))  # a bool is an int


class Op:
    """A differentiable function of arrays; made by `differentiable`.

    Attributes:
        name: str, the function's name.
        forward: array function ``(xp, *arrays, **options) -> (y, saved)``.
        pull: backward function ``(xp, saved, gy, needs) -> gradients``, or None.
        pull_rows: backward function ``(xp, saved, gy) -> RowGradient`` of the first input, or
            None; it runs instead of ``pull`` where `Tape.pull` may give such gradients.
        fusions: list of `Fusion`; the first that fits the arrays runs instead of the pair.
        infer: rule ``(*shapes_or_scalars, **options) -> shape`` for symbolic tensors, or None.
        keeps_dtype: bool, whether results surely have the dtype of the first input; otherwise
            it is found out by running the op on a few zeros.
    """

    on_symbolic = None  # set by gpunet.layers: how an op is called on symbolic tensors

    def __init__(self, forward, promote=None, infer=None, keeps_dtype=False):
        functools.update_wrapper(self, forward)
        self.name = forward.__name__
        self.forward = forward
        self.pull = self.pull_rows = None
        self.fusions = []
        self.promote = promote
        self.infer = infer
        self.keeps_dtype = keeps_dtype
        parameters = list(inspect.signature(forward).parameters.values())[1:]
        tensors = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)]
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in tensors)
        self.names = [p.name for p in tensors]
        self.options = [p.name for p in parameters[len(tensors) :]]
        self.arity = 2**31 if self.variadic else len(tensors)
        self._option_set = frozenset(self.options)
        self.__signature__ = inspect.Signature(
            [
                p.replace(kind=p.POSITIONAL_OR_KEYWORD) if p.kind is p.POSITIONAL_ONLY else p
                for p in parameters
            ]
        )

    def __repr__(self):
        return f"<op {self.name}>"

    def __reduce__(self):
        return self.__qualname__

    def __call__(self, *args, **options):
        # Small models spend their time here: one pass over the arguments, no helper on the way
        # that arrays of one dtype take.
        if len(args) > self.arity or (options and not options.keys() <= self._option_set):
            args, options = self._bind(args, options)
        values = []
        tracked = mixed = real = False
        dtype = None  # of the first array
        for a in args:
            if isinstance(a, Tensor):
                if a.tracked:
                    tracked = True
                v = a.array
            elif isinstance(a, _NUMBERS):
                if isinstance(a, float):
                    real = True
                    if type(a) is not float:
                        a = float(a)  # a scalar of NumPy's, which isn't weak everywhere
                values.append(a)
                continue
            elif isinstance(a, Symbolic):
                return Op.on_symbolic(self, args, options)
            else:
                args, a = self._with_tensor(args, a)
                if isinstance(a, Symbolic):  # of a list of symbolic tensors
                    return self(*args, **options)
                if a.tracked:
                    tracked = True
                v = a.array
            if dtype is None:
                dtype = v.dtype
            elif v.dtype is not dtype:
                mixed = True
            values.append(v)
        if dtype is None:
            _place_numbers(values)
            mixed = True
        if autocast.used and autocast.cast_variables(args, values):
            mixed = True
        if self.promote is not None and (mixed or (real and dtype.kind != "f")):
            _promote(values, self.promote)
        xp = np if arrays.only_numpy else _on_one_device(values)
        pull = self.pull
        forward = self.forward
        if self.fusions and config.fused_enabled():
            watch = watcher.get()
            if watch is not None:
                watch(self, values, options)
            forward, pull = self._fused(xp, values, options, tracked and active.get())
        if _NUMPY1 and "dtype" not in options:  # an asked-for float64 stays
            forward = functools.partial(_keeping_float, forward)
        y, saved = forward(xp, *values, **options)
        recorder = recording.active
        if recorder is not None and recorder.is_here():
            saved_name = recorder.op(forward, xp, args, values, options, y)
        else:
            recorder = None
        if tracked and pull is not None and (tapes := active.get()):
            if type(y) is tuple:
                out = tuple([Tensor(v, True) for v in y])
            else:
                out = Tensor(y, True)
            entry = (pull, args, out, saved, self, options)
            if recorder is not None:
                recorder.entry(entry, saved_name)
            for tape in tapes:
                tape.entries.append(entry)
            return out
        return Tensor(y) if type(y) is not tuple else tuple([Tensor(v) for v in y])

    def _bind(self, args, options):
        """Sort arguments given by the other of the two ways into tensors and options."""
        try:
            given = self.__signature__.bind(*args, **options).arguments
        except TypeError as error:
            raise TypeError(f"op {self.name!r}: {error}") from None
        if self.variadic:
            tensors = list(given.get(self.names[-1], ()))
        else:
            tensors = [given.get(n) for n in self.names]
            while tensors and tensors[-1] is None:
                tensors.pop()
        return tuple(tensors), {n: given[n] for n in self.options if n in given}

    def _with_tensor(self, args, given):
        """Make a tensor of an argument; return the arguments with it, and the tensor.

        A list may hold tracked tensors, which is why the record has to name the new tensor.
        """
        if arrays.only_numpy and type(given) is np.ndarray and given.dtype.kind in "fiub":
            made = Tensor(given)
        else:
            try:
                made = convert_to_tensor(given)
            except TypeError as error:
                raise TypeError(f"op {self.name!r}: {error}") from None
        return tuple([made if a is given else a for a in args]), made

    def pair(self, xp, values, options):
        """Return (forward, pull) as they would run on these arrays, also for a gradient."""
        if self.fusions and xp is not taped and config.fused_enabled():
            return self._fused(xp, values, options, True)
        return self.forward, self.pull

    def _fused(self, xp, values, options, tracked):
        """Return the pair of array functions that is to run."""
        for f in self.fusions:
            # What has no backward half can't stand in where a gradient may be asked for.
            if (f.pull is not None or not tracked or self.pull is None) and f.when(
                xp, *values, **options
            ):
                return f.forward, f.pull
        return self.forward, self.pull

    # -- definition ---------------------------------------------------------------------

    def backward(self, function):
        """Decorator: set the backward function of the op."""
        self.pull = function
        return function

    def backward_rows(self, function):
        """Decorator: set the backward function that gives the first input's gradient as rows."""
        self.pull_rows = function
        return function

    def fused(self, when):
        """Decorator: another forward function with the same contract.

        Args:
            when: condition ``(xp, *arrays, **options) -> bool``; shapes and dtypes, not values.

        Returns:
            A decorator that makes a `Fusion`; its ``.backward`` adds the backward half.
        """

        def add(function):
            fusion = Fusion(function, when)
            self.fusions.append(fusion)
            return fusion

        return add

    # -- second derivatives -------------------------------------------------------------

    def pull_taped(self, entry, gy, needs):
        """Return gradients as Tensors whose computation is itself recorded."""
        _, args, _, _, _, options = entry
        if self.pull is None:
            raise NotImplementedError(f"op {self.name!r} has no second derivative")
        inputs = [float(a) if isinstance(a, np.float64) else a for a in args]
        _, saved = self.forward(taped, *inputs, **options)
        return self.pull(taped, saved, gy, needs)


class Fusion:
    """Another pair of array functions for an op, and when it may run; made by `Op.fused`.

    Attributes:
        when: condition ``(xp, *arrays, **options) -> bool``.
        forward: array function with the contract of `Op.forward`.
        pull: backward function for what ``forward`` saves, or None.
        words: function ``(xp, *arrays, **options) -> str`` that says in a sentence what would
            run, without running it, or None.
        doubts: function of the same that says why ``when`` doesn't hold, or None.
    """

    __slots__ = ("when", "forward", "pull", "words", "doubts")

    def __init__(self, forward, when):
        self.forward, self.when = forward, when
        self.pull = self.words = self.doubts = None

    def __repr__(self):
        return f"<fusion {self.forward.__name__}>"

    def backward(self, function):
        """Decorator: set the backward function."""
        self.pull = function
        return function

    def explained(self, function):
        """Decorator: set what `gpunet.explain` says where it runs.

        The arrays have shapes and dtypes alone, and `gpunet.fused.launch.chip` gives the chip.
        """
        self.words = function
        return function

    def refused(self, function):
        """Decorator: set what `gpunet.explain` says where it doesn't run."""
        self.doubts = function
        return function


def differentiable(function=None, *, promote=None, infer=None, keeps_dtype=False):
    """Make an op of an array function.

    The arrays come first, positional-only (``/`` ends them) or as ``*arrays``; the options
    follow, with defaults.  An op without a backward half gives untracked tensors.

    Args:
        function: ``f(xp, *arrays, /, **options) -> (y, saved)``; ``y`` may be a tuple.
        promote: int, from which argument on dtypes are made equal: Python numbers are weak,
            and an integer or boolean array beside a float one takes its type.
        infer: shape rule for symbolic tensors, see `gpunet.ops.infer`.
        keeps_dtype: bool, whether results surely have the dtype of the first input.

    Returns:
        Op; ``@op.backward`` adds the backward half.
    """
    if function is None:
        return lambda f: Op(f, promote, infer, keeps_dtype)
    return Op(function, promote, infer, keeps_dtype)


# -- arguments ------------------------------------------------------------------------------


def _place_numbers(values):
    """Make arrays of Python numbers that came without any, so that a device runs the op."""
    real = any(isinstance(v, float) for v in values)
    for i, v in enumerate(values):
        if v is not None:
            dtype = config.floatx() if real else "bool" if isinstance(v, bool) else "int32"
            values[i] = arrays.current_device().xp.full((), v, dtype)


def _promote(values, first):
    """Make the dtypes of ``values[first:]`` equal, in place."""
    found = [v.dtype for v in values[first:] if hasattr(v, "dtype")]
    if not found:
        return
    floats = [d for d in found if d.kind == "f"]
    if not floats and any(isinstance(v, float) for v in values[first:]):
        common = np.dtype(config.floatx())
    else:
        common = functools.reduce(np.promote_types, floats or found)
    for i in range(first, len(values)):
        if hasattr(values[i], "dtype") and values[i].dtype != common:
            values[i] = values[i].astype(common)


def _on_one_device(values):
    """Bring an op's arrays together, in place, and return the module that computes with them.

    Where one lives on a GPU, those of the host join it.
    """
    found = [arrays.module_of(v) for v in values if not isinstance(v, _NUMBERS)]
    xp = next((m for m in found if m is not np), np)
    if xp is not np:
        if xp.__name__ == "cupy":
            gpu.enter(xp)  # the first op of a thread
        for i, v in enumerate(values):
            if isinstance(v, (np.ndarray, np.generic)):
                values[i] = xp.asarray(v)
    return xp


def _keeping_float(forward, xp, *values, **options):
    y, saved = forward(xp, *values, **options)
    return _keep_float(y, values), saved


def _keep_float(y, values):
    """NumPy 1 makes float64 of a float32 scalar and a Python float; undo that."""
    if type(y) is tuple:
        return tuple([_keep_float(part, values) for part in y])
    if getattr(y, "dtype", None) == np.float64:
        floats = [v.dtype for v in values if hasattr(v, "dtype") and v.dtype.kind == "f"]
        if floats and np.float64 not in floats:
            return y.astype(functools.reduce(np.promote_types, floats))
    return y


# -- NumPy's functions on tensors -------------------------------------------------------------


def _array_ufunc(self, ufunc, method, *inputs, **kwargs):
    """Run a NumPy function on tensors: as an op where there is one, else on host values."""
    op = taped.functions.get(ufunc.__name__)
    if op is not None and method == "__call__" and not kwargs:
        return op(*inputs)
    if any(isinstance(a, Symbolic) for a in inputs):
        return NotImplemented
    host = [np.asarray(a) if isinstance(a, Tensor) else a for a in inputs]
    return getattr(ufunc, method)(*host, **kwargs)


Operators.__array_ufunc__ = _array_ufunc

"""Differentiation: ops as pairs of array functions, and the tape that joins them.

An op is a forward function ``f(xp, *arrays, **options) -> (y, saved)`` and a backward
function ``g(xp, saved, gy, needs) -> one gradient per array``.  Calling it on Tensors runs
the forward function and, while a tape is active and an input is tracked, appends one entry
to the tape.  Walking the entries backwards gives gradients.

For second derivatives the walk itself is recorded: the pair is run once more with a
namespace `taped` in place of ``xp``, whose functions are ops again.
"""

import functools
import inspect
from contextvars import ContextVar

import numpy as np

from gpunet import arrays, config
from gpunet.errors import ShapeError
from gpunet.nest import flatten, pack
from gpunet.tensor import Operators, Symbolic, Tensor, as_array, value_of

__all__ = [
    "Op",
    "differentiable",
    "taped",
    "GradientTape",
    "no_tape",
    "recording",
    "custom_gradient",
    "unbroadcast",
]

_NUMPY1 = int(np.__version__.partition(".")[0]) < 2
_NUMBERS = (float, int, bool, type(None))

# The innermost active tape of this thread or task.
_active = ContextVar("gpunet_tape", default=None)


class _Taped:
    """Stands in for an array module where array functions are to be recorded themselves."""

    def __init__(self):
        self.functions = {}

    def __getattr__(self, name):
        try:
            return self.functions[name]
        except KeyError:
            raise AttributeError(
                f"an op uses xp.{name}, which has no taped form, so it has no second derivative"
            ) from None


taped = _Taped()


class Op:
    """A differentiable function of arrays; made by `differentiable`.

    Attributes:
        name: str, the function's name.
        forward: array function ``(xp, *arrays, **options) -> (y, saved)``.
        pull: backward function ``(xp, saved, gy, needs) -> gradients``, or None.
        fusions: list of (condition, forward, backward); the first whose condition holds
            for the arrays runs instead of the plain pair.
        infer: rule ``(*shapes_or_scalars, **options) -> shape`` for symbolic tensors, or None.
    """

    on_symbolic = None  # set by gpunet.graph: how an op is called on symbolic tensors

    def __init__(self, forward, promote=None, infer=None):
        functools.update_wrapper(self, forward)
        self.name = forward.__name__
        self.forward = forward
        self.pull = None
        self.fusions = []
        self.promote = promote
        self.infer = infer
        parameters = list(inspect.signature(forward).parameters.values())[1:]
        tensors = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)]
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in tensors)
        self.names = [p.name for p in tensors]
        self.options = [p.name for p in parameters[len(tensors) :]]
        self.arity = 2**31 if self.variadic else len(tensors)
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
        if len(args) > self.arity or (options and not options.keys() <= self._option_set):
            args, options = self._bind(args, options)
        values = []
        tracked = False
        numbers = True
        for a in args:
            if isinstance(a, Tensor):
                values.append(a.array)
                numbers = False
                if a.tracked:
                    tracked = True
            elif isinstance(a, _NUMBERS):
                values.append(float(a) if type(a) is np.float64 else a)
            elif isinstance(a, Symbolic):
                return Op.on_symbolic(self, args, options)
            else:
                values.append(a if type(a) is np.ndarray else as_array(a))
                numbers = False
        if numbers:
            _place_first(values)
        if self.promote is not None:
            _promote(values, self.promote)
        if arrays.only_numpy:
            xp = np
        else:
            xp = _common_module(values)
        pull = self.pull
        if self.fusions and config.fused_enabled():
            y, saved, pull = self._fused(xp, values, options)
        else:
            y, saved = self.forward(xp, *values, **options)
        if _NUMPY1 and "dtype" not in options:
            y = _keep_float(y, values)
        out = Tensor(y) if type(y) is not tuple else tuple([Tensor(v) for v in y])
        if tracked and pull is not None:
            tape = _active.get()
            if tape is not None:
                if type(out) is tuple:
                    for part in out:
                        part.tracked = True
                else:
                    out.tracked = True
                entry = (pull, args, out, saved, self, options)
                while tape is not None:
                    tape.entries.append(entry)
                    tape = tape.outer
        return out

    @functools.cached_property
    def _option_set(self):
        return frozenset(self.options)

    def _bind(self, args, options):
        """Sort arguments given by the other of the two ways into tensors and options."""
        given = self.__signature__.bind(*args, **options).arguments
        if self.variadic:
            tensors = list(given.get(self.names[-1], ()))
        else:
            tensors = [given.get(n) for n in self.names]
            while tensors and tensors[-1] is None:
                tensors.pop()
        return tuple(tensors), {n: given[n] for n in self.options if n in given}

    def _fused(self, xp, values, options):
        for condition, forward, backward in self.fusions:
            if condition(xp, *values, **options):
                return (*forward(xp, *values, **options), backward[0])
        return (*self.forward(xp, *values, **options), self.pull)

    # -- definition ---------------------------------------------------------------------

    def backward(self, function):
        """Decorator: set the backward function of the op."""
        self.pull = function
        return function

    def fused(self, when):
        """Decorator: another forward function with the same contract.

        Args:
            when: condition ``(xp, *arrays, **options) -> bool``; shapes and dtypes, not values.

        Returns:
            A decorator; what it returns has ``.backward``, a decorator for the backward half.
        """

        def add(function):
            backward = [None]
            self.fusions.append((when, function, backward))

            def set_backward(half):
                backward[0] = half
                return half

            function.backward = set_backward
            return function

        return add

    # -- second derivatives -------------------------------------------------------------

    def pull_taped(self, entry, gy, needs):
        """Return gradients as Tensors whose computation is itself recorded."""
        _, args, _, _, _, options = entry
        inputs = [
            Tensor(a) if arrays.is_array(a) and not isinstance(a, _NUMBERS) else a for a in args
        ]
        _, saved = self.forward(taped, *inputs, **options)
        return self.pull(taped, saved, gy, needs)


def differentiable(function=None, *, promote=None, infer=None):
    """Make an op of an array function.

    The arrays come first, positional-only (``/`` ends them) or as ``*arrays``; the options
    follow, with defaults.  An op without a backward half gives untracked tensors.

    Args:
        function: ``f(xp, *arrays, /, **options) -> (y, saved)``; ``y`` may be a tuple.
        promote: int, from which argument on dtypes are made equal: Python numbers are weak,
            and an integer or boolean array beside a float one takes its type.
        infer: shape rule for symbolic tensors, see `gpunet.graph`.

    Returns:
        Op; ``@op.backward`` adds the backward half.
    """
    if function is None:
        return lambda f: Op(f, promote, infer)
    return Op(function, promote, infer)


def _place_first(values):
    """Make an array of the first of several Python numbers, so that a device runs the op."""
    for i, v in enumerate(values):
        if v is not None:
            real = any(isinstance(w, float) for w in values)
            dtype = config.floatx() if real else "bool" if isinstance(v, bool) else "int32"
            values[i] = arrays.current_device().xp.full((), v, dtype)
            return


def _promote(values, first):
    """Make the dtypes of ``values[first:]`` equal, in place."""
    common = None
    mixed = False
    for v in values[first:]:
        dtype = getattr(v, "dtype", None)
        if dtype is None:
            if common is not None and isinstance(v, float) and common.kind != "f":
                mixed = True
        elif common is None:
            common = dtype
            if dtype.kind != "f" and any(isinstance(w, float) for w in values[first:]):
                mixed = True
        elif dtype is not common and dtype != common:
            mixed = True
    if not mixed:
        return
    floats = [v.dtype for v in values[first:] if hasattr(v, "dtype") and v.dtype.kind == "f"]
    if floats:
        common = functools.reduce(np.promote_types, floats)
    elif any(isinstance(v, float) for v in values[first:]):
        common = np.dtype(config.floatx())
    else:
        kinds = [v.dtype for v in values[first:] if hasattr(v, "dtype")]
        common = functools.reduce(np.promote_types, kinds)
    for i in range(first, len(values)):
        if hasattr(values[i], "dtype") and values[i].dtype != common:
            values[i] = values[i].astype(common)


def _common_module(values):
    """Return the module for an op's arrays; host arrays join the device's others."""
    xp = np
    for v in values:
        if arrays.is_array(v) and (owner := arrays.module_of(v)) is not np:
            xp = owner
            break
    if xp is not np:
        for i, v in enumerate(values):
            if isinstance(v, (np.ndarray, np.generic)):
                values[i] = xp.asarray(v)
    return xp


def _keep_float(y, values):
    """NumPy 1 makes float64 of a float32 scalar and a Python float; undo that."""
    if type(y) is tuple:
        return tuple([_keep_float(part, values) for part in y])
    if getattr(y, "dtype", None) == np.float64:
        floats = [v.dtype for v in values if hasattr(v, "dtype") and v.dtype.kind == "f"]
        if floats and np.float64 not in floats:
            return y.astype(functools.reduce(np.promote_types, floats))
    return y


# -- the tape -----------------------------------------------------------------------------


class Tape:
    """A linear record of ops.

    Attributes:
        entries: list of (pull, inputs, output, saved, op, options), in order.
        outer: the tape that was active when this one was started, or None.
    """

    __slots__ = ("entries", "outer", "_token")

    def __init__(self):
        self.entries = []
        self.outer = None

    def start(self):
        """Begin to record; ops go to the tapes around this one too."""
        self.outer = _active.get()
        self._token = _active.set(self)

    def stop(self):
        """Stop recording; the entries stay."""
        _active.reset(self._token)

    def pull(self, seeds, sources, recorded=False):
        """Walk the entries backwards.

        Args:
            seeds: dict id of tensor -> gradient with respect to it.
            sources: list of Tensors.
            recorded: bool; gradients are Tensors and the walk is recorded by outer tapes.

        Returns:
            List of gradients (arrays, or Tensors if ``recorded``), None where a source
            has no influence.
        """
        wanted = {id(s) for s in sources}
        reached = set(wanted)
        plan = []
        for entry in self.entries:
            needs = [id(a) in reached for a in entry[1]]
            if True in needs:
                plan.append((entry, needs))
                out = entry[2]
                if type(out) is tuple:
                    reached.update([id(o) for o in out])
                else:
                    reached.add(id(out))
        grads = dict(seeds)
        owned = set()  # gradients that are sums made here, so that adding in place is safe
        xp = None if recorded or not grads else _module_of_any(grads.values())
        for entry, needs in reversed(plan):
            pull, inputs, out, saved, op, _ = entry
            if type(out) is tuple:
                gy = tuple([grads.get(id(o)) for o in out])
                if all(g is None for g in gy):
                    continue
            else:
                gy = grads.get(id(out))
                if gy is None:
                    continue
                if id(out) not in wanted:
                    del grads[id(out)]
            if recorded:
                gxs = op.pull_taped(entry, gy, needs)
            else:
                gxs = pull(xp, saved, gy, needs)
            for a, gx, need in zip(inputs, gxs, needs, strict=False):
                if need and gx is not None:
                    _accumulate(xp, grads, owned, a, gx)
        return [grads.get(id(s)) for s in sources]


def _accumulate(xp, grads, owned, a, gx):
    like = a if xp is None else a.array
    if gx.shape != like.shape:
        gx = unbroadcast(xp or taped, gx, like.shape)
    if gx.dtype is not like.dtype and gx.dtype != like.dtype:
        gx = gx.astype(like.dtype)
    key = id(a)
    before = grads.get(key)
    if before is None:
        grads[key] = gx
    elif key in owned and xp is not None:
        before += gx
    else:
        grads[key] = before + gx
        if getattr(grads[key], "ndim", 0):
            owned.add(key)


def _module_of_any(grads):
    for g in grads:
        return arrays.module_of(g)


def unbroadcast(xp, g, shape):
    """Sum a gradient over the axes along which its input was broadcast.

    Args:
        xp: array module.
        g: array.
        shape: tuple, the shape of the input; broadcasts to ``g.shape``.
    """
    extra = g.ndim - len(shape)
    axes = tuple(
        i for i in range(g.ndim) if i < extra or (shape[i - extra] == 1 and g.shape[i] != 1)
    )
    if axes:
        g = xp.sum(g, axis=axes, keepdims=True)
    return xp.reshape(g, tuple(shape))


class _Paused:
    def __enter__(self):
        self._token = _active.set(None)

    def __exit__(self, *_):
        _active.reset(self._token)


def no_tape():
    """Return a context in which nothing is recorded."""
    return _Paused()


def recording():
    """Return whether a tape is active."""
    return _active.get() is not None


class GradientTape:
    """Records ops on watched tensors and gives gradients.

    Trainable weights are watched by themselves, other tensors by `watch`.  Tapes nest: a
    gradient taken inside an outer tape is recorded there, which gives second derivatives.

    Args:
        persistent: bool, whether `gradient` may be called more than once.
        watch_accessed_variables: bool, whether trainable weights are watched by themselves.
    """

    def __init__(self, persistent=False, watch_accessed_variables=True):
        self.persistent = persistent
        self.watch_accessed_variables = watch_accessed_variables
        self._tape = None
        self._running = False
        self._watched = []

    def __enter__(self):
        if self._running:
            raise ValueError("GradientTape: it is recording already")
        self._tape = Tape()
        self._tape.start()
        self._running = True
        return self

    def __exit__(self, *_):
        self._stop()

    def _stop(self):
        if self._running:
            self._running = False
            self._tape.stop()

    def watch(self, tensor):
        """Record what is done with a tensor (or with each of a nested list) from now on.

        Raises:
            TypeError: not a floating-point Tensor.
        """
        if isinstance(tensor, (list, tuple)):
            for part in tensor:
                self.watch(part)
            return
        if not isinstance(tensor, Tensor) or tensor.dtype.kind != "f":
            kind = getattr(tensor, "dtype", type(tensor).__name__)
            raise TypeError(f"GradientTape.watch: expected a floating-point tensor, got {kind}")
        tensor.tracked = True
        self._watched.append(tensor)

    def stop_recording(self):
        """Return a context in which this tape, and those around it, don't record."""
        return no_tape()

    def reset(self):
        """Forget what was recorded."""
        if self._tape is not None:
            self._tape.entries.clear()

    def watched_variables(self):
        """Return the watched tensors and weights that were used."""
        used = {id(a): a for e in self._tape.entries for a in e[1] if isinstance(a, Tensor)}
        made = {id(o) for e in self._tape.entries for o in _outputs(e)}
        return tuple(a for k, a in used.items() if a.tracked and k not in made)

    def gradient(self, target, sources, output_gradients=None, unconnected_gradients="none"):
        """Return the gradient of a target's sum with respect to each source.

        Args:
            target: Tensor, or a nested list of them, computed while the tape recorded.
            sources: Tensor or nested list or dict of them.
            output_gradients: gradient with respect to the target; None means ones.
            unconnected_gradients: ``'none'`` or ``'zero'``, for sources without influence.

        Returns:
            Tensors (or None) in the structure of ``sources``.

        Raises:
            ValueError: the tape recorded nothing, or was used up.
        """
        if self._tape is None:
            raise ValueError("GradientTape.gradient: nothing was recorded; use it in a 'with'")
        wanted = str(getattr(unconnected_gradients, "value", unconnected_gradients)).lower()
        if wanted not in ("none", "zero"):
            raise ValueError(
                f"unconnected_gradients: expected 'none' or 'zero', got {unconnected_gradients!r}"
            )
        if self._running and not self.persistent:
            self._stop()
        targets = flatten(target)
        flat = flatten(sources)
        kept = self._kept(flat)
        seeds = _seeds(targets, output_gradients)
        if self.persistent:
            work = Tape()
            work.entries = list(self._tape.entries)
        else:
            work = self._tape
            self._tape = None
        recorded = recording()
        if recorded:
            seeds = {k: Tensor(value_of(g), getattr(g, "tracked", False)) for k, g in seeds.items()}
        else:
            seeds = {k: value_of(g) for k, g in seeds.items()}
        grads = iter(work.pull(seeds, kept, recorded))
        known = {id(s) for s in kept}
        result = []
        for s in flat:
            g = next(grads) if id(s) in known else None
            if g is None and wanted == "zero":
                g = value_of(s) * 0
            result.append(None if g is None else g if isinstance(g, Tensor) else Tensor(g))
        return pack(sources, result)

    def _kept(self, flat):
        for s in flat:
            if not isinstance(s, Tensor):
                raise TypeError(
                    f"GradientTape.gradient: expected tensors as sources, got {type(s).__name__}"
                )
        if self.watch_accessed_variables:
            return [s for s in flat if s.tracked]
        made = {id(o) for e in self._tape.entries for o in _outputs(e)}
        watched = {id(w) for w in self._watched} | made
        return [s for s in flat if id(s) in watched]

    def jacobian(self, target, source):
        """Return the derivative of every element of a target with respect to a source.

        Args:
            target: Tensor of shape ``s``.
            source: Tensor of shape ``t``.

        Returns:
            Tensor of shape ``(*s, *t)``; None if the source has no influence.  The tape
            must be persistent.
        """
        if not self.persistent:
            raise ValueError("GradientTape.jacobian: the tape must be persistent=True")
        rows = []
        for i in range(target.size):
            seed = np.zeros(target.size, target.dtype)
            seed[i] = 1
            g = self.gradient(target, source, Tensor(as_array(seed.reshape(target.shape))))
            if g is None:
                return None
            rows.append(g.array)
        xp = arrays.module_of(rows[0])
        return Tensor(xp.stack(rows).reshape((*target.shape, *source.shape)))


def _outputs(entry):
    return entry[2] if type(entry[2]) is tuple else (entry[2],)


def _seeds(targets, output_gradients):
    given = [None] * len(targets) if output_gradients is None else flatten(output_gradients)
    if len(given) != len(targets):
        raise ValueError(
            f"output_gradients: expected {len(targets)}, one for each target, got {len(given)}"
        )
    seeds = {}
    for t, g in zip(targets, given, strict=True):
        if not isinstance(t, Tensor):
            raise TypeError(
                f"GradientTape.gradient: expected tensors as targets, got {type(t).__name__}"
            )
        xp = arrays.module_of(t.array)
        if g is None:
            g = xp.ones(t.array.shape, t.array.dtype)
        elif tuple(g.shape) != tuple(t.array.shape):
            raise ShapeError(f"output_gradients: expected shape {t.shape}, got {g.shape}")
        seeds[id(t)] = seeds[id(t)] + g if id(t) in seeds else g
    return seeds


# -- gradients of the user's own ------------------------------------------------------------


class _Custom:
    """Entry of a function whose gradient its author wrote."""

    def __init__(self, function):
        self.function = function

    def pull(self, xp, saved, gy, needs):
        gy = gy if type(gy) is tuple else (gy,)
        with no_tape():
            return [None if g is None else value_of(g) for g in self._call(map(Tensor, gy))]

    def pull_taped(self, entry, gy, needs):
        return self._call(gy if type(gy) is tuple else (gy,))

    def _call(self, gy):
        gxs = self.function(*gy)
        return gxs if isinstance(gxs, (list, tuple)) else (gxs,)


def custom_gradient(f):
    """Decorator: give a function of tensors a gradient of its own.

    Args:
        f: function ``(*tensors) -> (y, grad)``; ``grad(*gy)`` returns one gradient for each
            tensor.  ``y`` may be a tuple.

    Returns:
        Function ``(*tensors) -> y``.
    """

    @functools.wraps(f)
    def run(*args, **kwargs):
        if any(isinstance(a, Symbolic) for a in args):
            return f(*args, **kwargs)[0]
        inputs = tuple(a if isinstance(a, Tensor) else Tensor(as_array(a)) for a in args)
        with no_tape():
            y, grad = f(*inputs, **kwargs)
        many = isinstance(y, (list, tuple))
        out = tuple([Tensor(value_of(v)) for v in (y if many else (y,))])
        tape = _active.get()
        if tape is not None and any(a.tracked for a in inputs):
            custom = _Custom(grad)
            for o in out:
                o.tracked = True
            entry = (custom.pull, inputs, out if many else out[0], None, custom, {})
            while tape is not None:
                tape.entries.append(entry)
                tape = tape.outer
        return out if many else out[0]

    return run


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

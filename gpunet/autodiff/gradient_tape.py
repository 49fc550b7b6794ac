"""What users see of differentiation: `GradientTape` and gradients of their own."""

import functools

import numpy as np

from gpunet import arrays
from gpunet.autodiff.tape import Tape, active, no_tape, paused, reached_from, recording, taped
from gpunet.context import tracing
from gpunet.errors import ShapeError
from gpunet.nest import flatten, is_nested, pack
from gpunet.tensor import Shape, Symbolic, Tensor, as_array, convert_to_tensor, value_of

__all__ = ["GradientTape", "custom_gradient"]


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
        self._tape = None  # None before the first `with`, and once used up
        self._entered = None  # the Tape of the `with` that runs now
        self._used_up = False
        self._watched = {}  # id -> tensor

    def __enter__(self):
        if self._entered is not None:
            raise ValueError("GradientTape: it is recording already")
        if self._tape is None:
            self._tape = Tape()
            self._used_up = False
        self._entered = self._tape
        self._entered.start()
        return self

    def __exit__(self, *_):
        self._entered.stop()
        self._entered = None

    def watch(self, tensor):
        """Record what is done with a tensor (or with each of a nested list) from now on.

        Raises:
            TypeError: not a floating-point Tensor.
        """
        for part in flatten(tensor):
            if not isinstance(part, Tensor) or part.dtype.kind != "f":
                kind = getattr(part, "dtype", type(part).__name__)
                raise TypeError(f"GradientTape.watch: expected a floating-point tensor, got {kind}")
            part.tracked = True
            self._watched[id(part)] = part

    def stop_recording(self):
        """Return a context in which this tape doesn't record; those around it still do."""
        return paused(self._tape) if self._tape is not None else no_tape()

    def reset(self):
        """Forget what was recorded and watched."""
        self._watched.clear()
        if self._tape is not None:
            self._tape.entries.clear()

    def watched_variables(self):
        """Return the variables that were used and are watched, in order of use."""
        entries = self._tape.entries if self._tape is not None else ()
        used = {id(a): a for e in entries for a in e[1] if isinstance(a, Tensor)}
        return tuple(a for a in used.values() if hasattr(a, "trainable") and self._watches(a))

    def gradient(self, target, sources, output_gradients=None, unconnected_gradients="none"):
        """Return the gradient of a target's sum with respect to each source.

        Args:
            target: Tensor, or a nested list of them, computed while the tape recorded.
            sources: Tensor or nested list or dict of them: watched ones, or what was computed
                from such.
            output_gradients: gradient with respect to the target; None means ones.
            unconnected_gradients: ``'none'`` or ``'zero'``, for sources without influence.

        Returns:
            Tensors (or None) in the structure of ``sources``.

        Raises:
            ValueError: the tape recorded nothing, or was used up.
        """
        zero = _wants_zero(unconnected_gradients)
        targets, flat = _tensors(target, "targets"), _tensors(sources, "sources")
        seeds = _seeds(targets, output_gradients)
        return pack(sources, self._pull(seeds, flat, self._take(), zero))

    def jacobian(self, target, sources, unconnected_gradients="none", **_):
        """Return the derivative of every element of a target with respect to sources.

        Args:
            target: Tensor of shape ``s``.
            sources: Tensor of shape ``t``, or a nested list or dict of them.
            unconnected_gradients: as for `gradient`.

        Returns:
            Tensors (or None) of shape ``(*s, *t)`` in the structure of ``sources``.
        """
        zero = _wants_zero(unconnected_gradients)
        (target,), flat = _tensors([target], "targets"), _tensors(sources, "sources")
        entries = self._take()
        rows = []
        for i in range(target.size):
            seed = np.zeros(target.size, target.dtype)
            seed[i] = 1
            seeds = _seeds([target], Tensor(as_array(seed.reshape(target.shape))))
            rows.append(self._pull(seeds, flat, list(entries), zero))
        return pack(sources, [_joined(target, s, [r[i] for r in rows]) for i, s in enumerate(flat)])

    def _take(self):
        """Return the entries to walk; unless the tape is persistent, this uses it up."""
        if self._tape is None:
            raise ValueError(
                "GradientTape: it has been used up; GradientTape(persistent=True) gives several "
                "gradients"
                if self._used_up
                else "GradientTape: nothing was recorded; compute the target in 'with tape:'"
            )
        if self.persistent:
            return list(self._tape.entries)
        self._tape.stop()
        entries, self._tape, self._used_up = self._tape.entries, None, True
        return entries

    def _pull(self, seeds, flat, entries, zero):
        """Return a Tensor or None for each source."""
        kept = self._connected(flat, entries)
        walk = Tape()
        walk.entries = entries
        recorded = recording()
        if not recorded:
            seeds = {k: value_of(g) for k, g in seeds.items()}
        grads = dict(zip(map(id, kept), walk.pull(seeds, kept, recorded)))
        result = []
        for s in flat:
            g = grads.get(id(s))
            if g is None and zero:
                g = arrays.module_of(s.array).zeros(s.array.shape, s.array.dtype)
            result.append(g if g is None or isinstance(g, Tensor) else Tensor(g))
        return result

    def _watches(self, tensor):
        watched = self.watch_accessed_variables and getattr(tensor, "trainable", False)
        return watched or id(tensor) in self._watched

    def _connected(self, flat, entries):
        """Return the sources that are watched, or were computed from what is."""
        if all(self._watches(s) for s in flat):
            return flat
        used = (a for e in entries for a in e[1] if isinstance(a, Tensor))
        reached = reached_from(entries, [a for a in used if self._watches(a)])
        return [s for s in flat if self._watches(s) or id(s) in reached]


def _wants_zero(unconnected):
    wanted = str(getattr(unconnected, "value", unconnected)).lower()
    if wanted not in ("none", "zero"):
        raise ValueError(f"unconnected_gradients: expected 'none' or 'zero', got {unconnected!r}")
    return wanted == "zero"


def _tensors(nest, what):
    """Return the tensors of a nest as a list."""
    flat = flatten(nest)
    for t in flat:
        if not isinstance(t, Tensor):
            raise TypeError(f"GradientTape: expected tensors as {what}, got {type(t).__name__}")
    return flat


def _seeds(targets, output_gradients):
    """Return id of target -> Tensor, the gradient with respect to it."""
    if output_gradients is None:
        given = [None] * len(targets)
    elif len(targets) == 1 and not _holds_one(output_gradients):
        given = [output_gradients]
    else:
        given = flatten(output_gradients)
    if len(given) != len(targets):
        raise ValueError(
            f"output_gradients: expected {len(targets)}, one for each target, got {len(given)}"
        )
    seeds = {}
    for t, g in zip(targets, given):
        if g is None:
            g = Tensor(arrays.module_of(t.array).ones(t.array.shape, t.array.dtype))
        else:
            g = convert_to_tensor(g, t.dtype)
            if g.array.shape != t.array.shape:
                raise ShapeError(f"output_gradients: expected shape {t.shape}, got {g.shape}")
        seeds[id(t)] = seeds[id(t)] + g if id(t) in seeds else g
    return seeds


def _holds_one(nest):
    """Return whether a value is a list or dict around one gradient, not nested numbers."""
    return is_nested(nest) and len(nest) == 1 and hasattr(flatten(nest)[0], "shape")


def _joined(target, source, rows):
    """Make a jacobian of its rows, the gradients of the target's elements."""
    shape = (*target.shape, *source.shape)
    if not rows:
        return Tensor(arrays.module_of(source.array).zeros(shape, source.array.dtype))
    return None if rows[0] is None else taped.reshape(taped.stack(rows, axis=0), shape)


# -- gradients of the user's own ------------------------------------------------------------


class _Custom:
    """Stands in for the op in the entry of a function whose gradient its author wrote."""

    def __init__(self, name, gradient, inputs, outputs):
        self.name, self.gradient = name, gradient
        self.inputs, self.outputs = inputs, outputs

    def pull(self, xp, saved, gy, needs):
        with no_tape():
            gy = [None if g is None else Tensor(g) for g in _as_tuple(gy)]
            return [None if g is None else g.array for g in self._call(gy)]

    def pull_taped(self, entry, gy, needs):
        return self._call(_as_tuple(gy))

    def _call(self, gy):
        gy = [_zeros_like(o) if g is None else g for g, o in zip(gy, self.outputs)]
        gxs = self.gradient(*gy)
        gxs = gxs if isinstance(gxs, (list, tuple)) else (gxs,)
        if len(gxs) != len(self.inputs):
            raise ValueError(
                f"custom_gradient {self.name!r}: expected {len(self.inputs)} gradients, one for "
                f"each argument, got {len(gxs)}"
            )
        return [None if g is None else self._checked(g, a) for g, a in zip(gxs, self.inputs)]

    def _checked(self, g, a):
        g = convert_to_tensor(g)
        if g.array.shape != a.array.shape:
            raise ShapeError(
                f"custom_gradient {self.name!r}: expected a gradient of shape {a.shape}, that of "
                f"its argument, got {Shape(g.array.shape)}"
            )
        return g


def _as_tuple(gy):
    return gy if type(gy) is tuple else (gy,)


def _zeros_like(tensor):
    array = tensor.array
    return Tensor(arrays.module_of(array).zeros(array.shape, array.dtype))


def custom_gradient(f):
    """Decorator: give a function of tensors a gradient of its own.

    Args:
        f: function ``(*tensors) -> (y, grad)``; ``grad(*gy)`` returns one gradient for each
            tensor, of its shape, or None.  ``y`` may be a tuple.  For second derivatives,
            ``grad`` is differentiated as it stands.

    Returns:
        Function ``(*tensors) -> y``.
    """

    @functools.wraps(f)
    def run(*args, **kwargs):
        if any(isinstance(a, Symbolic) for a in args):
            if tracing():
                return f(*args, **kwargs)[0]
            raise TypeError(
                f"custom_gradient {f.__name__!r}: a graph can't hold it by itself; "
                "call it inside a Lambda layer, or inside a layer of your own"
            )
        inputs = tuple([convert_to_tensor(a) for a in args])
        # What happens inside is recorded too: first derivatives don't come by it, second ones do.
        y, grad = f(*inputs, **kwargs)
        many = isinstance(y, (list, tuple))
        out = tuple([Tensor(convert_to_tensor(v).array) for v in (y if many else (y,))])
        tapes = active.get()
        if tapes and any(a.tracked for a in inputs):
            custom = _Custom(f.__name__, grad, inputs, out)
            for o in out:
                o.tracked = True
            entry = (custom.pull, inputs, out if many else out[0], None, custom, {})
            for tape in tapes:
                tape.entries.append(entry)
        return (list(out) if isinstance(y, list) else out) if many else out[0]

    return run

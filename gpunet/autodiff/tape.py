"""The record of ops and the walk back along it, which adds up gradients."""

from contextvars import ContextVar

from gpunet import arrays
from gpunet.autodiff.rows import RowGradient
from gpunet.joining import split
from gpunet.recording import current

__all__ = [
    "Tape",
    "active",
    "no_tape",
    "paused",
    "reached_from",
    "recording",
    "taped",
    "unbroadcast",
]

# The tapes that record what this thread or task does, the outermost first.
active = ContextVar("gpunet_tapes", default=())


class _Taped:
    """Stands in for an array module where array functions are to be recorded themselves.

    Attributes:
        functions: dict from NumPy's name of a function to the op; `gpunet.ops` fills it.
    """

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


class Tape:
    """A linear record of ops.

    Attributes:
        entries: list of (pull, inputs, output, saved, op, options), in order.
        running: bool, whether ops add to it.
    """

    __slots__ = ("entries", "running")

    def __init__(self):
        self.entries = []
        self.running = False

    def start(self):
        """Begin to record; ops go to the tapes around this one too."""
        self.running = True
        active.set((*active.get(), self))

    def stop(self):
        """Stop recording; the entries stay."""
        self.running = False
        active.set(tuple([t for t in active.get() if t is not self]))

    def pull(self, seeds, sources, recorded=False, rows=frozenset()):
        """Walk the entries backwards, which uses them up: each is let go as the walk passes it.

        Args:
            seeds: dict id of tensor -> gradient with respect to it.
            sources: list of Tensors.
            recorded: bool; gradients are Tensors and the walk is recorded by outer tapes.
            rows: set of ids of sources whose gradient may be a `RowGradient`.

        Returns:
            List of gradients (arrays, or Tensors if ``recorded``), None where a source
            has no influence.
        """
        wanted = {id(s) for s in sources}
        plan = _leading_from(self.entries, set(wanted))
        self.entries.clear()
        grads = dict(seeds)
        recorder = None if recorded else current()
        owned = set()  # gradients that are sums made here, so that adding in place is safe
        xp = taped if recorded or not grads else arrays.module_of(next(iter(grads.values())))
        while plan:
            entry, needs, key = plan.pop()
            if key is None:
                gy = tuple([grads.get(id(o)) for o in entry[2]])
                if all(g is None for g in gy):
                    continue
            else:
                gy = grads.get(key) if key in wanted else grads.pop(key, None)
                if gy is None:
                    continue
            if recorded:
                gxs = entry[4].pull_taped(entry, gy, needs)
            elif rows and id(entry[1][0]) in rows and _gives_rows(entry[4], entry[0]):
                gxs = (entry[4].pull_rows(xp, entry[3], gy),)
                if recorder is not None:
                    recorder.pull(entry[4].pull_rows, xp, entry, gy, (), gxs[0])
            else:
                pull, parts = entry[0], split(entry[0], entry[5])
                if parts is not None:
                    pull, gy = parts[1], _begun(parts[0], xp, entry, gy, recorder)
                gxs = pull(xp, entry[3], gy, needs)
                if recorder is not None:
                    recorder.pull(pull, xp, entry, gy, (needs,), gxs)
            gy = None  # so that its memory is free for what comes next
            _hand_out(xp, entry[1], gxs, needs, grads, owned, recorder, recorded)
            gxs = None
        return [grads.get(id(s)) for s in sources]


def _begun(first, xp, entry, gy, recorder):
    """Do the first part of a backward function; return the gradient for the rest of it."""
    found = first(xp, entry[3], gy)
    if recorder is not None:
        recorder.first(first, xp, entry, gy, found)
    return found


def _hand_out(xp, inputs, gxs, needs, grads, owned, recorder, recorded):
    """Add the gradients of an entry's inputs to those that are known.

    Args:
        grads: dict id of tensor -> gradient.
        owned: set of ids of tensors whose gradient is a sum made here.
    """
    for a, gx, need in zip(inputs, gxs, needs):
        if not need or gx is None:
            continue
        like = a.array
        if gx.dtype is not like.dtype or gx.shape != like.shape:
            fitted = _fitted(xp, gx, like.shape, like.dtype)
            if recorder is not None:
                recorder.fitted(_fitted, xp, gx, like.shape, like.dtype, fitted)
            gx = fitted
        key = id(a)
        before = grads.get(key)
        if before is None:
            grads[key] = gx
        elif key in owned and type(gx) is not RowGradient:
            before += gx
            if recorder is not None:
                recorder.added(xp, before, gx, before)
        else:
            # An array must not be asked to add rows to itself.
            first, second = (gx, before) if type(gx) is RowGradient else (before, gx)
            grads[key] = total = first + second
            if recorder is not None:
                recorder.added(xp, first, second, total)
            # NumPy's scalars can't be added to in place, Tensors mustn't be.
            if not recorded and type(total) is not RowGradient and total.ndim:
                owned.add(key)


def _gives_rows(op, pull):
    """Return whether an entry's gradient can be rows; what a fusion saved is its own business."""
    return getattr(op, "pull_rows", None) is not None and pull is op.pull


def _leading_from(entries, reached):
    """Return the entries that a change of some tensors reaches.

    Args:
        entries: list of a tape's entries.
        reached: set of ids of tensors; those of the entries' outputs are added to it.

    Returns:
        List of (entry, which of its inputs are reached, id of its one output or None).
    """
    plan = []
    for entry in entries:
        needs = [id(a) in reached for a in entry[1]]
        if True in needs:
            out = entry[2]
            if type(out) is tuple:
                reached.update([id(o) for o in out])
                plan.append((entry, needs, None))
            else:
                key = id(out)
                reached.add(key)
                plan.append((entry, needs, key))
    return plan


def reached_from(entries, tensors):
    """Return the ids of tensors and of all that a tape's entries computed from them."""
    reached = {id(t) for t in tensors}
    _leading_from(entries, reached)
    return reached


def _fitted(xp, gx, shape, dtype):
    """Return a gradient with the shape and dtype of the array that it belongs to."""
    if tuple(gx.shape) != shape:
        gx = unbroadcast(xp, gx, shape)
    return gx if gx.dtype == dtype else gx.astype(dtype)


def unbroadcast(xp, g, shape):
    """Sum a gradient over the axes along which its input was broadcast.

    Args:
        xp: array module.
        g: array.
        shape: tuple, the shape of the input; broadcasts to ``g.shape``.
    """
    extra = g.ndim - len(shape)
    axes = tuple(
        [i for i, n in enumerate(g.shape) if i < extra or (shape[i - extra] == 1 and n != 1)]
    )
    if axes:
        g = xp.sum(g, axis=axes)
    return xp.reshape(g, tuple(shape)) if g.ndim != len(shape) else g


class _Paused:
    """Lets some of the active tapes, or all, not record inside a ``with`` block."""

    __slots__ = ("_tape", "_before")

    def __init__(self, tape):
        self._tape = tape

    def __enter__(self):
        self._before = active.get()
        active.set(tuple([t for t in self._before if self._tape not in (None, t)]))

    def __exit__(self, *_):
        # A tape may have been stopped for good meanwhile.
        active.set(tuple([t for t in self._before if t.running]))


def no_tape():
    """Return a context in which nothing is recorded."""
    return _Paused(None)


def paused(tape):
    """Return a context in which one Tape doesn't record."""
    return _Paused(tape)


def recording():
    """Return whether a tape is active."""
    return bool(active.get())

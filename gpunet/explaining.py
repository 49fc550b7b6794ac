"""`explain`: which code each layer of a model would run on a GPU, and why; needs no GPU."""

import collections
import contextlib
import dataclasses
import textwrap
import types

import numpy as np

from gpunet import arrays, config
from gpunet.autodiff import no_tape, watcher
from gpunet.context import learning_phase_scope, scoped_name
from gpunet.fused import launch
from gpunet.layers.losses import loss_scope
from gpunet.nest import flatten, map_nest, pack
from gpunet.ops import random
from gpunet.tensor import Tensor

__all__ = ["Explained", "explain"]

_FREE = 8  # size of an axis that isn't known, such as the number of steps
_FEW = (2, 3)  # batches that are run; what grows from one to the other grows with the batch
_WIDTH = 100
_PLAIN = "array functions of CuPy, a launch each"


@dataclasses.dataclass(frozen=True)
class Explained:
    """What one op of one layer would run.

    Attributes:
        layer: str, name of the layer; those inside of others come as ``outer/inner``.
        op: str, name of the op; empty for a layer whose ops have no kernels.
        kernel: bool, whether a kernel of gpunet's own runs.
        words: str, what runs, and why.
        count: int, how often.
    """

    layer: str
    op: str
    kernel: bool
    words: str
    count: int = 1


def explain(model, chip=None, batch_size=32, training=True, inputs=None, print_fn=print):
    """Print which code each layer of a model would run on a GPU, and why.

    Small batches of zeros are run on the device at hand to see which ops the layers call; weights
    and states are afterwards what they were.

    Args:
        model: a built model.
        chip: name in ``gpunet.fused.launch.CHIPS`` (``'t4'``, ``'a100'``, ``'h200'``, ...) or a
            `gpunet.fused.launch.Chip`; by default the GPU at hand or, without one, ``'h200'``.
        batch_size: int.
        training: bool, whether the model is trained.
        inputs: arrays of at least one sample, for models of which the shapes of the inputs aren't
            known (subclasses), or whose inputs can't be zeros.
        print_fn: function of a line; None prints nothing.

    Returns:
        List of `Explained`.

    Raises:
        ValueError: an unknown chip, a batch size below 1, or a model that isn't built.
    """
    if batch_size < 1:
        raise ValueError(f"explain: expected a batch_size of at least 1, got {batch_size!r}")
    name, chip = _chip_of(chip)
    calls = _calls(model, batch_size, training, inputs)
    with launch.as_on(chip):
        found = [_explained(where, *call) for where, *call in calls]
    found = _with_the_others(model, found)
    if print_fn is not None:
        mode = "training" if training else "inference"
        print_fn(
            f"Model {model.name!r} on {name} (sm_{chip.capability}, {chip.blocks} multiprocessors, "
            f"{chip.shared >> 10} KB of shared memory a block)"
        )
        print_fn(f"{mode}, batches of {batch_size}, precision {config.precision()!r}")
        if not config.fused_enabled():
            print_fn("kernels are switched off by gpunet.config.set_fused(False)")
        _show(found, print_fn)
    return found


def _chip_of(chip):
    """Return (how it is called, Chip)."""
    if isinstance(chip, launch.Chip):
        return "a GPU", chip
    if chip is None:
        device = arrays.devices()[0]
        if device.kind == "gpu":
            with arrays.device(device):
                return f"{device}", launch.chip()
        chip = "h200"
    found = launch.CHIPS.get(str(chip).lower())
    if found is None:
        known = ", ".join(launch.CHIPS)
        raise ValueError(f"explain: expected chip to be a Chip or one of {known}, got {chip!r}")
    return f"{str(chip).upper()}", found


# -- which ops are called -------------------------------------------------------------------


def _calls(model, batch_size, training, inputs):
    """Return a list of (where, op, shapes and dtypes or plain values, options)."""
    fixed = getattr(flatten(model.inputs or [None])[0], "shape", (None,))[0]
    runs = []
    for weight in model.weights:
        weight.array  # noqa: B018  drawn when it is first read, which isn't to be seen below
    with _as_it_was(model), no_tape(), learning_phase_scope(training), loss_scope():
        if not model.inputs:
            _run(model, _batch(model, 1, inputs), training)  # which builds its layers
        for n in [fixed] if fixed is not None else _FEW:
            seen = []
            token = watcher.set(_recorder(seen))
            try:
                _run(model, _batch(model, n, inputs), training)
            finally:
                watcher.reset(token)
            runs.append(seen)
    if len(runs) == 1 or [c[:2] for c in runs[0]] != [c[:2] for c in runs[1]]:
        return runs[-1]
    return [
        (where, op, [_grown(a, b, batch_size) for a, b in zip(few, more)], options)
        for (where, op, few, options), (_, _, more, _) in zip(*runs)
    ]


def _recorder(seen):
    def watch(op, values, options):
        given = [(tuple(v.shape), v.dtype) if hasattr(v, "shape") else v for v in values]
        seen.append((scoped_name(""), op, given, options))

    return watch


def _grown(few, more, batch_size):
    """Return what an argument is for a batch, from what it is for both of `_FEW`."""
    if not isinstance(few, tuple):
        return few
    shape = [a + (b - a) * (batch_size - _FEW[0]) for a, b in zip(few[0], more[0])]
    return tuple(shape), few[1]


def _batch(model, n, inputs):
    """Return nested tensors of n samples."""
    if inputs is not None:
        return map_nest(lambda a: Tensor(np.repeat(np.asarray(a)[:1], n, axis=0)), inputs)
    if not model.inputs:
        raise ValueError(
            f"explain: the shapes of the inputs of model {model.name!r} aren't known; build it, or "
            "give `inputs`"
        )
    zeros = []
    for t in model.inputs:
        shape = [_FREE if size is None else size for size in t.shape[1:]]
        zeros.append(Tensor(np.zeros((n, *shape), t.dtype)))
    return zeros


def _run(model, inputs, training):
    """Run a model with each layer called on its own, so that ops know where they are."""
    graph = getattr(model, "_graph", None)
    if graph is None:
        return model(inputs, training=training)

    def call(layer, args, kwargs):
        if getattr(layer, "_graph", None) is None:
            return layer(*args, **kwargs)
        outputs = layer._graph.replay(layer._feed(args[0]), call)
        return pack(layer._output_nest, outputs)

    return graph.replay(model._feed(inputs), call)


@contextlib.contextmanager
def _as_it_was(model):
    """Return a context after which weights, states and random numbers are what they were."""
    held = [*model.non_trainable_weights]
    for layer in model._nested_layers():
        if layer.stateful:
            held += [s for s in flatten(getattr(layer, "states", [])) if hasattr(s, "assign")]
    values = [v.array.copy() for v in held]
    generator, state = random.default(), random.default().state()
    try:
        yield
    finally:
        generator.set_state(state)
        for variable, value in zip(held, values):
            variable.assign(value)


# -- what they would run ----------------------------------------------------------------------

_CUPY = types.SimpleNamespace(__name__="cupy")


def _explained(where, op, given, options):
    values = [
        np.broadcast_to(np.zeros((), a[1]), a[0]) if isinstance(a, tuple) else a for a in given
    ]
    layer = where.rstrip("/")
    for f in op.fusions:
        if config.fused_enabled() and f.when(_CUPY, *values, **options):
            words = f.words(_CUPY, *values, **options) if f.words else "one kernel"
            return Explained(layer, op.name, True, words)
    for f in op.fusions:
        reason = f.doubts(_CUPY, *values, **options) if f.doubts else None
        if reason:
            return Explained(layer, op.name, False, f"{_PLAIN}; {reason}")
    return Explained(layer, op.name, False, _PLAIN)


def _with_the_others(model, found):
    """Return what was found, alike things joined, with the layers that have no kernels."""
    counts = collections.Counter(found)
    found = [dataclasses.replace(e, count=n) for e, n in counts.items()]
    if getattr(model, "_graph", None) is None:
        prefix = f"{model.name}/"
        return [dataclasses.replace(e, layer=e.layer.removeprefix(prefix)) for e in found]
    ordered = []
    for layer in _single_layers(model):
        own = [e for e in found if e.layer.split("/")[0] == layer.name]
        own = own or [Explained(layer.name, "", False, _PLAIN)]
        ordered += [e for e in own if e not in ordered]
    return ordered


def _single_layers(model):
    """Return the layers of a model, and those of the graphs inside it, but no inputs."""
    found = []
    for layer in model.layers:
        if getattr(layer, "_graph", None) is not None:
            found += _single_layers(layer)
        elif type(layer).__name__ != "InputLayer":
            found.append(layer)
    return found


def _show(found, print_fn):
    last = None
    for e in found:
        if e.layer != last:
            print_fn(e.layer)
            last = e.layer
        times = f" ({e.count} times)" if e.count > 1 else ""
        text = f"{e.op}{times}: {e.words}" if e.op else e.words
        for line in textwrap.wrap(
            text, _WIDTH, initial_indent="    ", subsequent_indent="        "
        ):
            print_fn(line)

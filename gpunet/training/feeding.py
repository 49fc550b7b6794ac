"""From what the user gives to feeders: arrays are checked once, batches as they come."""

from gpunet.layers.arguments import STRINGS
from gpunet.nest import pack
from gpunet.training.data import as_columns, check_finite, check_shapes, structure_of
from gpunet.training.feeder import ArrayFeeder
from gpunet.training.plan import Compiled
from gpunet.training.streams import is_stream, stream_of
from gpunet.training.weighting import sample_weights, with_classes

__all__ = ["Feeding", "packed", "pack_x_y_sample_weight", "unpack_x_y_sample_weight"]


def unpack_x_y_sample_weight(data):
    """Return (x, y, sample_weight) of one batch of data.

    Args:
        data: tuple or list of one to three parts, or x alone.

    Raises:
        ValueError: a tuple of another length.
    """
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if 1 <= len(data) <= 3:
        return (*data, None, None)[:3]
    raise ValueError(
        "expected data as x, (x,), (x, y) or (x, y, sample_weight), "
        f"got {type(data).__name__} of length {len(data)}"
    )


def pack_x_y_sample_weight(x, y=None, sample_weight=None):
    """Return x, (x,), (x, y) or (x, y, sample_weight): what `train_step` gets.

    Args:
        x: tensor, or nest of them; a nest alone comes in a tuple of one.
        y: likewise, or None.
        sample_weight: likewise, or None.
    """
    if y is None:
        return (x,) if isinstance(x, (list, tuple, dict)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


class Feeding(Compiled):
    """The part of `Trainer` that takes data."""

    # -- arrays -----------------------------------------------------------------------------

    def _inputs(self, what, x, batch_size=None, finite=True):
        """Return an ArrayFeeder of checked inputs, for a model that is ready to run on them."""
        if x is None:
            raise ValueError(f"{what}: expected data as x, got None")
        names = self.input_names if self.inputs is not None else None
        texts = [t.node.layer.name for t in self.inputs or () if t.dtype == STRINGS]
        xs = as_columns(x, names, f"{what}: x", _keys(self._input_nest), strings=texts)
        if not xs or any(column is None for column in xs):
            raise ValueError(f"{what}: x holds None or nothing where data is expected")
        if names is None:
            self._data_nest = structure_of(x) if len(xs) > 1 or isinstance(x, dict) else None
            for column in xs:
                column.widen = len(column.shape) == 1
        else:
            check_shapes(xs, self.inputs, what)
        if finite:
            check_finite(xs)
        feeder = ArrayFeeder(xs, batch_size=batch_size, what=what)
        self._ready(what, feeder.first)
        if names is None and self.inputs is not None:  # built just now
            check_shapes(xs, self.inputs, what)
        return feeder

    def _feeder(self, what, x, y, sample_weight, batch_size=None):
        """Return an ArrayFeeder of checked data, for a model that is ready to be trained on it."""
        self._need_compiled(what)
        xs = self._inputs(what, x, batch_size).x
        objective = self._objective
        names, keys = objective.names, _keys(self._output_nest)
        ys = as_columns(y, names, f"{what}: y", keys, optional=objective.untrained())
        objective.fit_targets(ys, what)
        check_finite(ys)
        ws = sample_weights(sample_weight, names, keys, f"{what}: sample_weight")
        check_finite(ws)
        return ArrayFeeder(xs, ys, ws, batch_size, what)

    def _loose_feeder(self, what, x, y, sample_weight, batch_size=None):
        """Return an ArrayFeeder for a step of the user's own, who knows what belongs together."""
        if x is None:
            raise ValueError(f"{what}: expected data as x, got None")
        parts, nests = [], []
        for name, given in (("x", x), ("y", y), ("sample_weight", sample_weight)):
            columns = as_columns(given, None, f"{what}: {name}")
            check_finite(columns)
            parts.append(columns)
            nested = columns is not None and (len(columns) > 1 or isinstance(given, dict))
            nests.append(structure_of(given) if nested else None)
        return ArrayFeeder(*parts, batch_size, what, nests)

    def _need_compiled(self, what):
        if self._compiled is None:
            raise RuntimeError(
                f"{what}: You must compile your model before training/testing. "
                "Use `model.compile(optimizer, loss)`."
            )

    def _weigh(self, feeder, class_weight, what):
        if class_weight is None:
            return
        if feeder.nests is None:
            names, classes = self._objective.names, self._objective.classes
        else:
            names, classes = [f"output_{i + 1}" for i in range(len(feeder.y or [0]))], _unknown
        feeder.weight = with_classes(class_weight, feeder.y, feeder.weight, names, classes, what)

    # -- arrays or batches ------------------------------------------------------------------

    def _arrays(self, what, x, y, weight, size, own):
        """Return the ArrayFeeder to train or test on, for a built-in or an ``own`` step."""
        self._need_compiled(what)
        return (self._loose_feeder if own else self._feeder)(what, x, y, weight, size)

    def _source(self, what, x, y, weight, size, own, steps=None, passes=1, fetching=None,
                class_weight=None, repeats=False):  # fmt: skip
        """Return the feeder for any kind of data to train or test on.

        Args:
            what: str, who asks, for error texts.
            x, y, weight, size: as `fit` takes x, y, sample_weight and batch_size.
            own: bool, whether a step of the user's own gets the data.
            steps: int, batches in a pass, or None.
            passes: int, how many passes there will be.
            fetching: `Fetching`.
            class_weight: as `fit` takes it; for batches that come ready made alone.
            repeats: bool, whether a pass may begin anew at the end of the data.
        """
        if not is_stream(x):
            return self._arrays(what, x, y, weight, size, own)
        self._need_compiled(what)
        _refuse(what, x, y=y, sample_weight=weight, batch_size=size)

        def make(item, label):
            feeder = self._arrays(label, *_unpacked(item, label), None, own)
            self._weigh(feeder, class_weight, label)
            return feeder.whole()

        feeder = stream_of(x, make, steps, passes, repeats, fetching, what)
        if not own:
            self._ready(what.partition(":")[0], feeder.first)
        return feeder

    def _asked(self, what, x, size, own, steps=None, fetching=None):
        """Return the feeder for any kind of data to predict on; see `_source`."""
        if not is_stream(x):
            return self._questions(what, x, size, own)
        _refuse(what, x, batch_size=size)

        def make(item, label):
            several = isinstance(item, list) and len(self.inputs or ()) == len(item) > 1
            x = item if several else _unpacked(item, label)[0]
            return self._questions(label, x, None, own).whole()

        feeder = stream_of(x, make, steps, 1, False, fetching, what)
        if not own:
            self._ready(what, feeder.first)
        return feeder

    def _questions(self, what, x, size, own):
        """Return the ArrayFeeder to predict on."""
        if own:
            return self._loose_feeder(what, x, None, None, size)
        return self._inputs(what, x, size, finite=False)


def _unpacked(item, label):
    try:
        return unpack_x_y_sample_weight(item)
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from None


def _refuse(what, x, **given):
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{what}: {name} can't be given when x is a {type(x).__name__}, whose batches "
                "hold everything"
            )


def _unknown(_):
    """Return how many classes an output tells apart: that isn't known."""


def _keys(nest):
    """Return the keys of a model's flat dict of inputs or outputs, None if it has none."""
    return list(nest) if isinstance(nest, dict) else None


def packed(nest, leaves):
    """Return tensors in the nest that data came in; a single one for None."""
    if leaves is None:
        return None
    return leaves[0] if nest is None else pack(nest, leaves)

"""What a compiled model minimises and measures."""

import copy
import warnings

import numpy as np

from gpunet import arrays, losses, metrics, ops
from gpunet.autodiff import no_tape
from gpunet.errors import ShapeError
from gpunet.losses import functions
from gpunet.losses.base import weight_from_mask
from gpunet.metrics import Metric
from gpunet.recording import current, edited, effect
from gpunet.stand_ins import StandIns
from gpunet.tensor import Shape, Tensor, convert_to_tensor
from gpunet.training.origin import foreign
from gpunet.training.reports import Reporting, is_built_in

__all__ = ["Objective"]


# Names of metrics whose kind may depend on the targets.
_LATE = ("accuracy", "acc", "crossentropy", "ce")


class Measure:
    """A metric of one output.

    Attributes:
        output: int, number of the output.
        metric: `gpunet.metrics.Metric`.
        label: str, its name in logs.
        weighted: bool, whether sample weights count.
        given: what `Model.compile` was given.
        chosen_for: the shape of targets that the kind of 'accuracy' was found for, or None.
    """

    __slots__ = ("output", "metric", "label", "weighted", "given", "chosen_for")

    def __init__(self, output, metric, label, weighted, given):
        self.output, self.metric, self.label = output, metric, label
        self.weighted, self.given = weighted, given
        self.chosen_for = None

    def update(self, target, p, weight):
        """Bring the metric up to date with a batch's Tensors; the weight may be None."""
        if weight is None:
            self.metric.update_state(target, p)
        else:
            self.metric.update_state(target, p, sample_weight=weight)

    def update_anew(self, *values):
        """Do so with arrays, or Nones: targets, predictions, weights, masks and logits."""
        target, p, weight, mask, logits = [None if a is None else Tensor(a) for a in values]
        if mask is not None:
            p._keras_mask = mask
        if logits is not None:
            p._keras_logits = logits
        with no_tape():
            self.update(target, p, weight)


class Objective(Reporting):
    """Losses and metrics of a model's outputs.

    Args:
        loss, metrics_, loss_weights, weighted_metrics: as `Model.compile` takes them.
        names: list of the outputs' names.
        shapes: list of the outputs' Shapes.

    Attributes:
        losses: list of `gpunet.losses.Loss` or None, one for each output.
        metrics: list of all metric objects.
        loss_labels: list of the names of the losses in logs.

    Raises:
        ValueError: unknown output names, or lists of the wrong length.
    """

    def __init__(self, loss, metrics_, loss_weights, weighted_metrics, names, shapes):
        super().__init__()
        self.names, self.shapes = names, shapes
        given = _by_output(loss, names, "loss")
        if isinstance(loss, dict) and None in given:
            warnings.warn(
                f"compile: no loss for {[n for n in names if loss.get(n) is None]}, these outputs "
                "aren't trained",
                stacklevel=5,
            )
        self.losses = [losses.resolve(one) for one in given]
        factors = [None] * len(names)
        if loss_weights is not None:
            if not isinstance(loss_weights, (list, tuple, dict)):
                raise TypeError(
                    f"loss_weights: expected a list or a dict by output name, got {loss_weights!r}"
                )
            factors = [_factor(*p) for p in zip(names, _by_output(loss_weights, names,
                                                                  "loss_weights"))]  # fmt: skip
        # (number of the output, its loss, its factor or None for 1)
        self._terms = [
            (i, one, factor)
            for i, (one, factor) in enumerate(zip(self.losses, factors, strict=True))
            if one is not None
        ]
        self.loss_labels = ["loss"]
        if len(names) > 1:
            self.loss_labels += [f"{names[i]}_loss" for i, _, _ in self._terms]
        self.measures = []
        for i in range(len(names)):
            for listed, weighted in ((metrics_, False), (weighted_metrics, True)):
                for one in _listed(listed, names, i):
                    self._add(one, i, weighted)
        self._sums = None
        self.reset()

    def _add(self, given, i, weighted):
        if isinstance(given, Metric) and any(m.metric is given for m in self.measures):
            given = copy.deepcopy(given)  # one object for several outputs
        label, metric = metrics.resolve(given, self.shapes[i], self.losses[i])
        prefix = f"{self.names[i]}_" if len(self.names) > 1 else ""
        # The metric objects in files of Keras carry the prefix already.
        if isinstance(given, Metric) and label.startswith(prefix):
            label = label[len(prefix) :]
        taken = {*self.loss_labels, *[m.label for m in self.measures]}
        if weighted and prefix + label in taken:
            label = f"weighted_{label}"
        base = label = prefix + label
        number = 1
        while label in taken:
            label, number = f"{base}_{number}", number + 1
        self.measures.append(Measure(i, metric, label, weighted, given))

    @property
    def metrics(self):
        """List of all metric objects."""
        return [m.metric for m in self.measures] + list(self.means.values())

    @property
    def labels(self):
        """List of all names in logs, in their order."""
        return self.loss_labels + [m.label for m in self.measures] + list(self.means)

    def replayed(self):
        """Return a list of the losses, and of the metrics that have to be gpunet's own too.

        Metrics of the user's run at every step, also where the rest is replayed; but not those
        that use tensors of the graph.
        """
        uses_graph = isinstance(self.symbols, StandIns)
        return [*self.losses, *self.metrics] if uses_graph else self.losses

    # -- one step ---------------------------------------------------------------------------

    def compute(self, y, y_pred, weight, added):
        """Return (total loss, list of the outputs' losses before weighting).

        Args:
            y: list of Tensors or Nones, one for each output.
            y_pred: list of Tensors.
            weight: list of Tensors or Nones, one for each output.
            added: list of losses from layers and regularizers.
        """
        total = None
        with self.around():
            parts = [self._part(i, loss, y, y_pred, weight) for i, loss, _ in self._terms]
        for part, (_, _, factor) in zip(parts, self._terms):
            if factor is not None:
                part = ops.multiply(part, factor)
            total = part if total is None else ops.add(total, part)
        for loss in added:
            loss = convert_to_tensor(loss)
            if loss.array.ndim:
                loss = ops.mean(loss)
            total = loss if total is None else ops.add(total, loss)
        if total is None:
            raise ValueError("no output has a loss and no layer adds one: nothing to minimise")
        return total, parts

    def _part(self, i, loss, y, y_pred, weight):
        part = loss(y[i], y_pred[i], weight[i])
        return ops.mean(part) if part.array.ndim else part

    def update(self, y, y_pred, weight):
        """Bring the metrics up to date with one batch; see `compute`."""
        with self.around():
            self._update(y, y_pred, weight)
        if self.reported:
            self.take_reports()

    def _update(self, y, y_pred, weight):
        for m in self.measures:
            i = m.output
            target, p = y[i], y_pred[i]
            if target is None:
                continue
            w = weight[i] if m.weighted else None
            mask = getattr(p, "_keras_mask", None)
            if mask is not None:
                w = weight_from_mask(p, w, mask, rescale=False)
            if current() is None or foreign([m.metric]) is None:
                m.update(target, p, w)
            else:
                known = (target, p, w, mask, getattr(p, "_keras_logits", None))
                effect(m.update_anew, *[None if t is None else t.array for t in known])

    def track(self, total, parts, size):
        """Add one batch's losses to the epoch's sums, which stay on the device.

        Args:
            total: array without axes, the loss.
            parts: list of such, the outputs' losses.
            size: int, number of samples.
        """
        sums = self._sums
        if sums is None:
            xp = arrays.module_of(total)
            count = 2 + (len(parts) if len(self.names) > 1 else 0)
            sums = self._sums = [xp.zeros((), "float64") for _ in range(count)]
        sums[0] += size
        sums[1] += total * size
        if len(sums) > 2:
            for s, part in zip(sums[2:], parts):
                s += part * size

    def state(self):
        """Return what the epoch's losses and metrics have added up, as lists of numpy arrays."""
        sums = [np.asarray(arrays.to_host(s)) for s in self._sums or ()]
        return [sums, *[m.metric.get_weights() for m in self.measures]]

    def set_state(self, state):
        """Go on from where a `state` was taken."""
        sums, *found = state
        if self._sums is None and sums:
            self._sums = [arrays.current_device().xp.zeros((), "float64") for _ in sums]
        for kept, value in zip(self._sums or (), sums):
            kept[...] = arrays.to_device(value)
        for m, values in zip(self.measures, found, strict=True):
            if len(m.metric.variables) == len(values):
                m.metric.set_weights(values)
            else:  # its state is made with the first batch
                warnings.warn(
                    f"metric {m.label!r} of the epoch that was broken off covers the rest of it "
                    "alone",
                    stacklevel=2,
                )

    # -- reading ----------------------------------------------------------------------------

    def reset(self):
        """Start a new epoch; all state keeps its storage."""
        for s in self._sums or ():
            s[...] = 0
        for metric in self.metrics:
            metric.reset_states()

    def logs(self):
        """Return name -> float; waits for the device."""
        found = {}
        if self._sums is not None:
            count, *sums = [float(arrays.to_host(s)) for s in self._sums]
            found.update((k, s / max(count, 1.0)) for k, s in zip(self.loss_labels, sums))
        for m in self.measures:
            found.update(self._read(m))
        found.update((name, _number(mean.result())) for name, mean in self.means.items())
        return found

    def running(self, i):
        """Return the mean of the loss ``loss_labels[i]`` since the last reset, on the device."""
        if self._sums is None:
            return Tensor(np.zeros(()))
        xp = arrays.module_of(self._sums[0])
        return Tensor(self._sums[1 + i] / xp.maximum(self._sums[0], 1.0))

    def _read(self, m):
        result = m.metric.result()
        if not isinstance(result, dict):
            return {m.label: _number(result)}
        prefix = f"{self.names[m.output]}_" if len(self.names) > 1 else ""
        return {prefix + key: _number(value) for key, value in result.items()}

    # -- checking data ----------------------------------------------------------------------

    def untrained(self):
        """Return the names of the outputs without a loss."""
        return [n for n, loss in zip(self.names, self.losses, strict=True) if loss is None]

    def classes(self, i):
        """Return how many classes output i tells apart, None if it isn't known."""
        size = self.shapes[i][-1] if self.shapes[i] else 1
        return 2 if size == 1 else size

    def fit_targets(self, ys, what):
        """Check targets against losses and outputs; 1-D ones become ``(N, 1)``.

        Args:
            ys: list of Columns or Nones, or None.
            what: str for error texts.

        Raises:
            ValueError: targets that are missing, of a wrong shape, or classes out of range.
        """
        for i, loss, _ in self._terms:
            if ys is None or ys[i] is None:
                raise ValueError(
                    f"{what}: output {self.names[i]!r} has the loss {_name(loss)}, but y has no "
                    "targets for it"
                )
        for i, y in enumerate(ys or []):
            if y is None:
                continue
            y.widen = len(y.shape) == 1 and len(self.shapes[i]) > 1
            if self.losses[i] is not None:
                self._check_target(i, y, what)
        for m in self.measures:
            late = isinstance(m.given, str) and m.given.lower() in _LATE
            if late and ys is not None and ys[m.output] is not None:
                self._choose_again(m, ys[m.output])

    def _choose_again(self, m, y):
        """Find the kind of 'accuracy' anew where the loss is the user's and can't tell."""
        shape = (None, *(y.shape[1:] or (1,)))
        if m.chosen_for == shape:
            return
        m.chosen_for = shape
        loss = self.losses[m.output]
        if loss is not None and is_built_in(losses.function_of(loss)):
            return
        _, metric = metrics.resolve(m.given, self.shapes[m.output], loss, shape)
        if metric.get_config().get("fn") != m.metric.get_config().get("fn"):
            m.metric = metric
            edited()

    def _check_target(self, i, y, what):
        loss = self.losses[i]
        function = losses.function_of(loss)
        if not is_built_in(function):
            return  # the user knows what it compares
        wanted = tuple(self.shapes[i])[1:]
        got = (1,) if y.widen else y.shape[1:]
        sparse = function is functions.sparse_categorical_crossentropy
        if sparse:
            wanted = (*wanted[:-1], 1)
        if not _fits(wanted, got):
            hint = ""
            if function is functions.categorical_crossentropy and got[-1:] == (1,):
                hint = (
                    " Classes given as integers go with sparse_categorical_crossentropy, or "
                    "through utils.to_categorical."
                )
            elif sparse and _fits(tuple(self.shapes[i])[1:], got):
                hint = " One-hot rows go with categorical_crossentropy."
            raise ShapeError(
                f"{y.label}: the loss {_name(loss)} of output {self.names[i]!r} expected targets "
                f"of shape {Shape((None, *wanted))}, got {Shape(y.shape)}.{hint}"
            )
        if sparse and loss.get_config().get("ignore_class") is None:
            _check_classes(y, self.shapes[i][-1], loss)


def _check_classes(y, count, loss):
    """Raise a ValueError for classes out of range; values on a device or in a file aren't read."""
    if count is None or y.in_file or not isinstance(y.values, np.ndarray) or not y.values.size:
        return
    low, high = y.values.min(), y.values.max()
    if low < 0 or high >= count:
        raise ValueError(
            f"{y.label}: the loss {_name(loss)} expected classes from 0 to {count - 1}, "
            f"got {low} to {high}"
        )


def _fits(wanted, got):
    """Return whether shapes without batch axis agree; a last axis of 1 may be left out."""
    if len(wanted) != len(got):
        longer, shorter = (wanted, got) if len(wanted) > len(got) else (got, wanted)
        if len(longer) != len(shorter) + 1 or longer[-1] != 1:
            return False
        wanted, got = longer[:-1], shorter
    return all(None in (w, g) or w == g for w, g in zip(wanted, got, strict=True))


def _number(value):
    if isinstance(value, Tensor):
        value = arrays.to_host(value.array)
    return float(value) if getattr(value, "ndim", 0) == 0 else value


def _factor(name, weight):
    """Return a loss weight; None for 1, which needs no multiplication."""
    number = isinstance(weight, (int, float, np.number)) and not isinstance(weight, bool)
    if weight is None or (number and weight == 1):
        return None
    if number:
        return float(weight)
    if isinstance(weight, Tensor):  # a variable that the user changes while training
        return weight
    raise TypeError(f"loss_weights: expected a number for {name!r}, got {weight!r}")


def _name(loss):
    return getattr(loss, "name", None) or type(loss).__name__


def _is_by_name(given):
    return isinstance(given, dict) and "class_name" not in given


def _by_output(given, names, what):
    """Return one entry for each output from one value, a list or a dict by name."""
    if _is_by_name(given):
        _refuse_unknown(given, names, what)
        return [given.get(name) for name in names]
    if isinstance(given, (list, tuple)):
        if len(given) != len(names):
            raise ValueError(
                f"{what}: expected {len(names)} entries, one for each of {list(names)}, "
                f"got {len(given)}"
            )
        return list(given)
    return [given] * len(names)


def _listed(given, names, i):
    """Return the metrics of output i: all of a flat list, else its own part."""
    if _is_by_name(given):
        _refuse_unknown(given, names, "metrics")
        given = given.get(names[i])
    elif isinstance(given, (list, tuple)) and any(isinstance(p, (list, tuple)) for p in given):
        if len(given) != len(names):
            raise ValueError(
                f"metrics: expected {len(names)} lists, one for each of {list(names)}, "
                f"got {len(given)}"
            )
        given = given[i]
    if given is None:
        return []
    return [g for g in given if g is not None] if isinstance(given, (list, tuple)) else [given]


def _refuse_unknown(given, names, what):
    unknown = [key for key in given if key not in names]
    if unknown:
        raise ValueError(f"{what}: unknown outputs {unknown}; the model has {list(names)}")

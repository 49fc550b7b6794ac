"""What a compiled model minimises and measures."""

from gpunet import arrays, losses, metrics, ops
from gpunet.errors import ShapeError
from gpunet.losses.functions import (
    binary_crossentropy,
    categorical_crossentropy,
    mean_squared_error,
)
from gpunet.tensor import Shape, Tensor

__all__ = ["Objective"]

# Losses that compare targets and predictions element by element: their shapes must agree.
_ELEMENTWISE = (mean_squared_error, binary_crossentropy, categorical_crossentropy)


class Objective:
    """Losses and metrics of a model's outputs.

    Args:
        loss, metrics, loss_weights, weighted_metrics: as `Model.compile` takes them.
        names: list of the outputs' names.
        shapes: list of the outputs' Shapes.

    Attributes:
        losses: list of `gpunet.losses.Loss` or None, one for each output.
        metrics: list of all metric objects.

    Raises:
        ValueError: unknown output names, or lists of the wrong length.
    """

    def __init__(self, loss, metrics_, loss_weights, weighted_metrics, names, shapes):
        self.names, self.shapes = names, shapes
        given = _spread(loss, names, "loss", broadcast=True)
        self.losses = [losses.resolve(one) for one in given]
        weights = _spread(loss_weights, names, "loss_weights", broadcast=False)
        for name, weight in zip(names, weights, strict=True):
            if weight is not None and not isinstance(weight, (int, float)) \
                    and not hasattr(weight, "dtype"):
                raise TypeError(f"loss_weights: expected a number for {name!r}, got {weight!r}")
        self.weights = [1.0 if w is None else w for w in weights]
        self.entries = []  # (output number, metric, how to read its log, whether it is weighted)
        for i, name in enumerate(names):
            for listed, weighted in ((metrics_, False), (weighted_metrics, True)):
                for one in _listed(listed, names, i):
                    self._add_metric(one, i, name, weighted)
        self.metrics = [entry[1] for entry in self.entries]
        self.reset()

    def _add_metric(self, identifier, i, name, weighted):
        label, metric = metrics.resolve(identifier, self.shapes[i], self.losses[i])
        if len(self.names) > 1 and not label.startswith(f"{name}_"):
            label = f"{name}_{label}"  # files of Keras carry the prefix already
        taken = {entry[2] for entry in self.entries}
        base, number = label, 1
        while label in taken:
            label, number = f"{base}_{number}", number + 1
        self.entries.append((i, metric, label, weighted))

    # -- one step ---------------------------------------------------------------------------

    def compute(self, y, y_pred, weight, added):
        """Return (total loss, list of the outputs' losses before weighting).

        Args:
            y: list of Tensors or Nones.
            y_pred: list of Tensors.
            weight: list of Tensors or Nones, or None.
            added: list of scalar losses from layers and regularizers.
        """
        parts, total = [], None
        for i, loss in enumerate(self.losses):
            if loss is None:
                parts.append(None)
                continue
            target = None if y is None else y[i]
            if target is None:
                raise ValueError(
                    f"output {self.names[i]!r} has the loss {_name(loss)}, but no target was given"
                )
            target = _matched(target, y_pred[i])
            part = loss(target, y_pred[i], None if weight is None else weight[i])
            if part.array.ndim:
                part = ops.mean(part)
            parts.append(part)
            scaled = part if _is_one(self.weights[i]) else ops.multiply(part, self.weights[i])
            total = scaled if total is None else ops.add(total, scaled)
        for loss in added:
            loss = loss if isinstance(loss, Tensor) else Tensor(loss)
            if loss.array.ndim:
                loss = ops.mean(loss)
            total = loss if total is None else ops.add(total, loss)
        if total is None:
            raise ValueError("no output has a loss and no layer adds one: nothing to minimise")
        return total, parts

    def update(self, y, y_pred, weight):
        """Bring the metrics up to date with one batch."""
        for i, metric, _, weighted in self.entries:
            target = None if y is None else y[i]
            if target is None:
                continue
            w = weight[i] if weighted and weight is not None else None
            metric.update_state(_matched(target, y_pred[i]), y_pred[i], sample_weight=w)

    def track(self, total, parts, size):
        """Add one batch's losses to the epoch's means; all on the device."""
        values = [total] + ([p for p in parts if p is not None] if len(self.losses) > 1 else [])
        if self._sums is None:
            xp = arrays.module_of(total.array)
            self._sums = [xp.zeros((), v.array.dtype) for v in values]
        for s, v in zip(self._sums, values, strict=True):
            s += v.array * size
        self._count += size

    # -- reading ----------------------------------------------------------------------------

    def reset(self):
        """Start a new epoch."""
        self._sums, self._count = None, 0
        for metric in self.metrics:
            metric.reset_states()

    @property
    def loss_labels(self):
        """List of the names of the losses in logs."""
        if len(self.names) == 1:
            return ["loss"]
        named = [n for n, loss in zip(self.names, self.losses, strict=True) if loss is not None]
        return ["loss"] + [f"{n}_loss" for n in named]

    @property
    def labels(self):
        """List of all names in logs, in their order."""
        return self.loss_labels + [label for _, _, label, _ in self.entries]

    def logs(self):
        """Return name -> float; waits for the device."""
        found = {}
        if self._sums is not None:
            for label, s in zip(self.loss_labels, self._sums, strict=True):
                found[label] = float(arrays.to_host(s)) / max(self._count, 1)
        for _, metric, label, _ in self.entries:
            found.update(_read(label, metric.result()))
        return found

    def check_targets(self, y, what):
        """Raise a ShapeError for targets that a loss can't compare with its output."""
        for i, (loss, target) in enumerate(zip(self.losses, y or [], strict=False)):
            if loss is None or target is None:
                continue
            function = losses.function_of(loss)
            wanted, got = tuple(self.shapes[i])[1:], tuple(target.shape)[1:] or (1,)
            if function not in _ELEMENTWISE or len(wanted) != len(got):
                continue
            if all(w is None or w == g for w, g in zip(wanted, got, strict=True)):
                continue
            if not any(w is None or w == g or 1 in (w, g) for w, g in
                       zip(wanted[-1:], got[-1:], strict=True)) or (
                       function is categorical_crossentropy):
                hint = (
                    " Classes given as integers go with sparse_categorical_crossentropy, or "
                    "through utils.to_categorical."
                    if function is categorical_crossentropy and got[-1] == 1 else ""
                )
                raise ShapeError(
                    f"{what}: the loss {_name(loss)} of output {self.names[i]!r} expected "
                    f"targets of shape {Shape((None, *wanted))}, got {Shape(target.shape)}.{hint}"
                )


def _read(label, result):
    if isinstance(result, dict):  # a metric may give several values
        return {key: _number(value) for key, value in result.items()}
    return {label: _number(result)}


def _number(value):
    if isinstance(value, Tensor):
        value = arrays.to_host(value.array)
    return float(value) if getattr(value, "ndim", 0) == 0 else value


def _is_one(weight):
    return isinstance(weight, (int, float)) and weight == 1


def _name(loss):
    return getattr(loss, "name", None) or type(loss).__name__


def _matched(target, prediction):
    """Give 1-D targets a last axis, and floats the predictions' dtype."""
    array = target.array
    if array.ndim == 1 and prediction.array.ndim > 1:
        array = array.reshape(-1, 1)
    if array.dtype.kind == "f" and array.dtype != prediction.array.dtype:
        array = array.astype(prediction.array.dtype)
    return target if array is target.array else Tensor(array)


def _spread(given, names, what, broadcast):
    """Return one entry for each output from one value, a list or a dict by name."""
    if isinstance(given, dict) and "class_name" not in given:
        unknown = [key for key in given if key not in names]
        if unknown:
            raise ValueError(f"{what}: unknown outputs {unknown}; the model has {list(names)}")
        return [given.get(name) for name in names]
    if isinstance(given, (list, tuple)):
        if len(given) != len(names):
            raise ValueError(
                f"{what}: expected {len(names)} entries, one for each of {list(names)}, "
                f"got {len(given)}"
            )
        return list(given)
    if given is not None and not broadcast:
        raise TypeError(f"{what}: expected a list or a dict by output name, got {given!r}")
    return [given] * len(names)


def _listed(given, names, i):
    """Return the metrics of output i: all of a flat list, else its own part."""
    if given is None:
        return []
    if isinstance(given, dict) and "class_name" not in given:
        unknown = [key for key in given if key not in names]
        if unknown:
            raise ValueError(f"metrics: unknown outputs {unknown}; the model has {list(names)}")
        part = given.get(names[i])
    elif isinstance(given, (list, tuple)) and any(isinstance(p, (list, tuple)) for p in given):
        if len(given) != len(names):
            raise ValueError(
                f"metrics: expected {len(names)} lists, one for each of {list(names)}, "
                f"got {len(given)}"
            )
        part = given[i]
    else:
        part = given
    if part is None:
        return []
    return list(part) if isinstance(part, (list, tuple)) else [part]

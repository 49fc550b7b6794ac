"""From what `compile(metrics=...)` is given to metric objects."""

from gpunet import losses, registry
from gpunet.losses import Loss
from gpunet.metrics.base import Mean, MeanMetricWrapper, Metric

__all__ = ["get", "serialize", "deserialize", "resolve"]

# The short names whose function depends on the loss and on shapes, and how functions are called.
_CHOSEN = {
    "accuracy": "accuracy",
    "acc": "accuracy",
    "crossentropy": "crossentropy",
    "ce": "crossentropy",
}


def serialize(metric, use_legacy_format=True):
    """Return the name of a metric function, or the config of a metric object."""
    return registry.metrics.serialize(metric)


def deserialize(config, custom_objects=None, use_legacy_format=True):
    """Make a metric from its name or config; see `get`."""
    return registry.metrics.deserialize(config, custom_objects)


def get(identifier):
    """Turn an identifier into a metric function or object.

    Args:
        identifier: None, name, config dict, class, function, or `Metric`.

    Raises:
        ValueError: unknown name.
        TypeError: something that can't be an identifier.
    """
    return registry.metrics.get(identifier)


def resolve(identifier, output_shape=None, loss=None, target_shape=None):
    """Turn an entry of ``compile(metrics=...)`` into a metric object and the name of its log.

    ``'accuracy'`` (``'acc'``) and ``'crossentropy'`` (``'ce'``) become their binary, sparse or
    categorical kind: by the loss if it is a crossentropy, else by the shapes.

    Args:
        identifier: name, function, class, config dict, `Metric` or `Loss`.
        output_shape: shape of the output, with the batch axis.
        loss: the output's loss in any form, or None.
        target_shape: shape of the targets, with the batch axis, or None if it isn't known yet.

    Returns:
        (name, Metric).  A string names its log as it is written.  The result of a function
        that returns a dict is a dict too.

    Raises:
        ValueError: unknown name, or the kind can't be found out.
    """
    given = identifier
    if isinstance(identifier, str) and identifier.lower() in _CHOSEN:
        what = _CHOSEN[identifier.lower()]
        identifier = registry.metrics.find(f"{_kind(output_shape, loss, target_shape)}_{what}")
    found = get(identifier)
    if isinstance(found, Metric):
        return found.name, found
    if not callable(found):
        raise TypeError(f"metrics: expected a name, a function or a Metric, got {given!r}")
    name = given if isinstance(given, str) else _name_of(found)
    return name, FunctionMetric(found, name=name)


def _name_of(function):
    if isinstance(function, Loss) and function.name:
        return function.name
    return getattr(function, "__name__", None) or type(function).__name__


def _kind(output_shape, loss, target_shape):
    """Return ``'binary'``, ``'sparse_categorical'`` or ``'categorical'``."""
    if output_shape is None:
        raise ValueError("metrics: 'accuracy' and 'crossentropy' need the shape of the output")
    function = losses.function_of(loss)
    if output_shape[-1] == 1 or function is losses.binary_crossentropy:
        return "binary"
    if function is losses.sparse_categorical_crossentropy:
        return "sparse_categorical"
    if target_shape is not None and function is not losses.categorical_crossentropy:
        if len(target_shape) < len(output_shape) or target_shape[-1] == 1:
            return "sparse_categorical"
    return "categorical"


class FunctionMetric(MeanMetricWrapper):
    """The mean of what a user's function gives; several means if it gives a dict of values.

    Args:
        fn: function ``(y_true, y_pred)`` that gives values or a dict name -> values.
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, fn, name=None, dtype=None, **kwargs):
        super().__init__(fn, name, dtype, **kwargs)
        self.parts = []

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take a batch into account."""
        values = self._values(y_true, y_pred)
        if not isinstance(values, dict):
            self._update(values, sample_weight)
            return
        if not self.parts:
            self.parts = [Mean(name=key, dtype=self._dtype) for key in values]
        for part in self.parts:
            part.update_state(values[part.name], sample_weight)

    def result(self):
        if self.parts:
            return {part.name: part.result() for part in self.parts}
        return super().result()

    def get_config(self):
        return {**super().get_config(), "fn": registry.metrics.serialize(self._fn)}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        return cls(registry.metrics.get(config.pop("fn")), **config)

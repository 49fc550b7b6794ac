"""Metrics with state, and the ones that are sums or means of something."""

import numpy as np

from gpunet import config, initializers, ops, registry
from gpunet.context import snake_case, unique_name
from gpunet.errors import ShapeError
from gpunet.losses.base import align, align_weight, weight_from_mask
from gpunet.tensor import convert_to_tensor
from gpunet.variables import Variable

__all__ = ["Metric", "Sum", "Mean", "MeanMetricWrapper", "MeanTensor", "divide_no_nan"]

_register = registry.metrics.register


def divide_no_nan(x, y):
    """Return ``x / y``, 0 where ``y`` is 0."""
    empty = ops.equal(y, 0.0)
    return ops.where(empty, 0.0, x / ops.where(empty, 1.0, y))


def _dtype_name(dtype):
    """Return a dtype's name; None is the default float type, mixed policies keep state in it."""
    if isinstance(dtype, dict):  # a dtype policy, as Keras 3 writes it
        dtype = (dtype.get("config") or {}).get("name")
    if dtype is None:
        return config.floatx()
    name = getattr(dtype, "name", dtype)
    return "float32" if str(name).startswith("mixed_") else np.dtype(name).name


class Metric:
    """Base of metrics: state in variables, updated batch by batch.

    Subclasses make their state with `add_weight`, change it in place in ``update_state`` and
    compute a tensor, a number or a dict of them in ``result``.

    Args:
        name: str; the class's name in snake case by default.
        dtype: name of the float type of state and results.
        **kwargs: arguments of layers that have no meaning for metrics.
    """

    stateful = True
    built = True
    trainable = True

    def __init__(self, name=None, dtype=None, **kwargs):
        self.name = unique_name(snake_case(type(self).__name__)) if name is None else name
        self._dtype = _dtype_name(dtype)
        self._state = []

    @property
    def dtype(self):
        """str, the float type."""
        return self._dtype

    @property
    def _name(self):
        return self.name

    @_name.setter
    def _name(self, name):
        self.name = name

    # -- state --------------------------------------------------------------------------

    def add_weight(
        self,
        name=None,
        shape=(),
        initializer=None,
        dtype=None,
        aggregation=None,
        synchronization=None,
    ):
        """Make a variable of the metric's state.

        Args:
            name: str.
            shape: tuple of ints.
            initializer: identifier; zeros by default.
            dtype: name, the metric's by default.
            aggregation: ignored, as is ``synchronization``.

        Returns:
            Variable.
        """
        initializer = initializers.get("zeros" if initializer is None else initializer)
        dtype = self._dtype if dtype is None else np.dtype(getattr(dtype, "name", dtype)).name
        shape = tuple(int(n) for n in shape)
        start = initializers.bind(initializer, shape, dtype)
        made = Variable(start, shape, dtype, name=name or "Variable", trainable=False)
        self._state.append(made)
        return made

    @property
    def variables(self):
        """List of Variables: those of `add_weight`, and Variables and metrics set on self."""
        found = {id(v): v for v in self._state}
        for value in vars(self).values():
            for part in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(part, Variable):
                    found.setdefault(id(part), part)
                elif isinstance(part, Metric):
                    found.update({id(v): v for v in part.variables})
        return list(found.values())

    weights = non_trainable_weights = non_trainable_variables = variables

    @property
    def trainable_weights(self):
        """Empty list: optimizers have nothing to do with metrics."""
        return []

    trainable_variables = trainable_weights

    def get_weights(self):
        """Return the state as a list of numpy arrays."""
        return [v.numpy() for v in self.variables]

    def set_weights(self, weights):
        """Set the state from a list of arrays.

        Raises:
            ValueError: another number of arrays, or another shape.
        """
        variables = self.variables
        if len(weights) != len(variables):
            raise ValueError(
                f"Metric {self.name!r}: expected {len(variables)} arrays, got {len(weights)}"
            )
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(np.asarray(value))

    def reset_state(self):
        """Set all state to zero; called before each epoch."""
        if type(self).reset_states is not Metric.reset_states:
            self.reset_states()
        else:
            self._zero_state()

    def reset_states(self):
        """Set all state to zero; the name that Keras had first."""
        if type(self).reset_state is not Metric.reset_state:
            self.reset_state()
        else:
            self._zero_state()

    def _zero_state(self):
        for v in self.variables:
            array = v.array
            array[...] = 0

    def merge_state(self, metrics):
        """Add the state of other metrics of the same kind.

        Raises:
            ValueError: a metric with other state.
        """
        mine = self.variables
        for metric in metrics:
            theirs = metric.variables
            if [v.shape for v in theirs] != [v.shape for v in mine]:
                raise ValueError(f"Metric {self.name!r} can't take over the state of {metric!r}")
            for variable, other in zip(mine, theirs, strict=True):
                variable.assign_add(other)

    # -- use ------------------------------------------------------------------------------

    def update_state(self, *args, **kwargs):
        """Take another batch into account."""
        raise NotImplementedError(f"{type(self).__name__}: update_state isn't written")

    def result(self):
        """Return the metric's value over the batches since the last reset."""
        raise NotImplementedError(f"{type(self).__name__}: result isn't written")

    def __call__(self, *args, **kwargs):
        """Update the state and return the result."""
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self):
        """Return the constructor's arguments."""
        return {"name": self.name, "dtype": self._dtype}

    @classmethod
    def from_config(cls, config):
        """Make a metric from `get_config`."""
        return cls(**config)

    def __deepcopy__(self, memo):
        made = type(self).from_config(self.get_config())
        if len(made.variables) == len(self.variables):
            made.set_weights(self.get_weights())
        memo[id(self)] = made
        return made

    def __repr__(self):
        options = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({options})"


def as_dtype(value, dtype):
    """Return a value as a tensor of a dtype."""
    value = convert_to_tensor(value)
    return value if value.dtype == dtype else ops.cast(value, dtype=dtype)


def add(variable, delta):
    """Add a tensor or a Python number to a variable, in place and on its device."""
    variable.assign_add(delta)


class _Total(Metric):
    """A sum of values, weighted by the samples' weights."""

    def __init__(self, name, dtype):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_weight("total")

    def _weighted(self, values, sample_weight, shrink):
        """Return weighted values and the weights in their own shape.

        Args:
            values: tensor, array or number.
            sample_weight: weights of each sample or value, or None.
            shrink: op (sum or mean) for the axes that the values have more than the weights.
        """
        values = as_dtype(values, self._dtype)
        if sample_weight is None:
            return values, None
        weight = align_weight(values, as_dtype(sample_weight, self._dtype))
        if 0 < len(weight.shape) < len(values.shape):
            values = shrink(values, axis=tuple(range(len(weight.shape), len(values.shape))))
        try:
            return values * weight, weight
        except ValueError:
            raise ShapeError(
                f"Metric {self.name!r}: sample_weight of shape {weight.shape} doesn't fit "
                f"values of shape {values.shape}"
            ) from None


@_register()
class Sum(_Total):
    """The weighted sum of values.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="sum", dtype=None):
        super().__init__(name, dtype)

    def update_state(self, values, sample_weight=None):
        """Add values."""
        values, _ = self._weighted(values, sample_weight, ops.sum)
        add(self.total, ops.sum(values))

    def result(self):
        return self.total * 1.0


@_register()
class Mean(_Total):
    """The weighted mean of values: their weighted sum by the sum of the weights.

    Args:
        name: str.
        dtype: name of the float type.
    """

    def __init__(self, name="mean", dtype=None):
        super().__init__(name, dtype)
        self.count = self.add_weight("count")

    def update_state(self, values, sample_weight=None):
        """Take values into account.

        Args:
            values: tensor, array or number.
            sample_weight: weights that can be broadcast to the values.
        """
        values, weight = self._weighted(values, sample_weight, ops.mean)
        add(self.total, ops.sum(values))
        if weight is None:
            add(self.count, float(values.size))
        else:
            total = ops.sum(weight)
            repeats = values.size // max(1, weight.size)
            add(self.count, total if repeats == 1 else total * float(repeats))

    def result(self):
        return divide_no_nan(self.total, self.count)


class MeanMetricWrapper(Mean):
    """The mean of a function's values.

    Args:
        fn: function ``(y_true, y_pred, **kwargs)`` that gives one value for each sample.
        name: str.
        dtype: name of the float type.
        **kwargs: options of the function.
    """

    def __init__(self, fn, name=None, dtype=None, **kwargs):
        super().__init__(name=name, dtype=dtype)
        self._fn = fn
        self._options = kwargs

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take a batch into account.

        Args:
            y_true: targets.
            y_pred: predictions.
            sample_weight: weights that can be broadcast to the function's values.
        """
        self._update(self._values(y_true, y_pred), sample_weight)

    def _update(self, values, sample_weight):
        mask = getattr(values, "_keras_mask", None)
        if mask is not None:
            sample_weight = weight_from_mask(values, sample_weight, mask, rescale=False)
        Mean.update_state(self, values, sample_weight)

    def _values(self, y_true, y_pred):
        y_true, y_pred = align(as_dtype(y_true, self._dtype), as_dtype(y_pred, self._dtype))
        return self._fn(y_true, y_pred, **self._options)

    def get_config(self):
        config = super().get_config()
        if type(self) is MeanMetricWrapper:
            config["fn"] = registry.metrics.serialize(self._fn)
        return {**config, **self._options}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if cls is MeanMetricWrapper:
            config["fn"] = registry.metrics.get(config["fn"])
        else:  # files of later versions say there which function it is
            config.pop("fn", None)
        return cls(**config)


_register()(MeanMetricWrapper)


@_register()
class MeanTensor(Metric):
    """The weighted mean of tensors of one shape, element by element.

    Args:
        name: str.
        dtype: name of the float type.
        shape: tuple of ints; taken from the first values by default.
    """

    def __init__(self, name="mean_tensor", dtype=None, shape=None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.count = None
        if shape is not None:
            self._build(shape)

    def _build(self, shape):
        self.total = self.add_weight("total", shape)
        self.count = self.add_weight("count", shape)

    def update_state(self, values, sample_weight=None):
        """Take values into account.

        Raises:
            ShapeError: values of another shape than before.
        """
        values = as_dtype(values, self._dtype)
        if self.total is None:
            self._build(values.shape)
        if tuple(values.shape) != tuple(self.total.shape):
            raise ShapeError(
                f"Metric {self.name!r}: expected values of shape {self.total.shape}, "
                f"got {values.shape}"
            )
        if sample_weight is None:
            add(self.total, values)
            add(self.count, 1.0)
            return
        weight = align_weight(values, as_dtype(sample_weight, self._dtype))
        add(self.total, values * weight)
        add(self.count, ops.zeros_like(values) + weight)

    def result(self):
        if self.total is None:
            raise ValueError(f"Metric {self.name!r} has no value yet: no values were given")
        return divide_no_nan(self.total, self.count)

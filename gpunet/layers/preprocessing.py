"""Layers that prepare data: normalization by known statistics, encoding of categories, bins."""

import numpy as np

from gpunet import arrays, config, ops
from gpunet.errors import ShapeError
from gpunet.layers.arguments import positive_int
from gpunet.layers.base import Layer
from gpunet.layers.elementwise import SameShape
from gpunet.recording import effect
from gpunet.registry import layers as registered
from gpunet.tensor import Tensor

__all__ = ["Normalization", "CategoryEncoding", "Discretization"]


class _Adapting(Layer):
    """Base of the layers whose state comes from data and not from training."""

    def adapt(self, data, batch_size=None, steps=None):
        """Learn the state anew from data.

        Args:
            data: array, or iterable of batches.
            batch_size: int, how an array is cut into batches; 32 by default.
            steps: int, how many batches of an iterable are used; None for all.
        """
        if hasattr(data, "shape") or isinstance(data, (list, tuple)):
            data, size = np.asarray(arrays.to_host(getattr(data, "array", data))), batch_size or 32
            batches = (data[i : i + size] for i in range(0, len(data), size))
        else:
            batches = data
        self._start()
        for i, batch in enumerate(batches):
            if steps is not None and i >= steps:
                break
            batch = batch[0] if isinstance(batch, tuple) else batch
            batch = np.asarray(arrays.to_host(getattr(batch, "array", batch)))
            batch = batch[:, None] if batch.ndim == 1 else batch
            self._build_if_needed(Tensor(arrays.to_device(batch.astype(config.floatx()), None)))
            self._learn(batch.astype("float64"))
        self._finish()


@registered.register()
class Normalization(SameShape, _Adapting):
    """Returns ``(x - mean) / sqrt(variance)`` with a mean and a variance known from data.

    Args:
        axis: int, tuple of ints or None, the axes that have means of their own.
        mean, variance: floats or arrays; None learns them in `adapt`.
        invert: bool, whether the way back is computed.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same

    Raises:
        ValueError: only one of ``mean`` and ``variance``.
    """

    has_shape_rule = True

    def __init__(self, axis=-1, mean=None, variance=None, invert=False, **kwargs):
        super().__init__(**kwargs)
        single = isinstance(axis, int)
        self.axis = () if axis is None else (axis,) if single else tuple(axis)
        if (mean is None) != (variance is None):
            raise ValueError(
                "Normalization: expected mean and variance, or none of them, "
                f"got mean={mean!r}, variance={variance!r}"
            )
        self.mean, self.variance, self.invert = mean, variance, bool(invert)

    def build(self, input_shape):
        rank = len(input_shape)
        if not all(-rank <= a < rank for a in self.axis):
            raise ShapeError(
                f"{self._who}: axis {self.axis} doesn't exist in an input of rank {rank}"
            )
        kept = sorted(a % rank for a in self.axis)
        self._reduced = tuple(i for i in range(rank) if i not in kept)
        self._aligned = tuple(input_shape[i] if i in kept else 1 for i in range(rank))
        shape = tuple(input_shape[i] for i in kept)
        if None in shape:
            raise ShapeError(
                f"{self._who}: the sizes of axes {self.axis} must be known, got {input_shape}"
            )
        if self.mean is None:
            self.adapt_mean = self.add_weight("mean", shape, initializer="zeros", trainable=False)
            self.adapt_variance = self.add_weight(
                "variance", shape, initializer="ones", trainable=False
            )
            self.count = self.add_weight("count", (), "int64", "zeros", trainable=False)
        else:
            self._constants = [
                (np.asarray(v, self.compute_dtype) * np.ones(shape, self.compute_dtype)).reshape(
                    self._aligned
                )
                for v in (self.mean, self.variance)
            ]
        self.built = True

    def _start(self):
        if self.mean is not None:
            raise ValueError(
                f"{self._who}: adapt() can't change a mean and variance that are given"
            )
        self._count = 0
        self._mean = self._square = 0.0

    def _learn(self, batch):
        count = int(np.prod([batch.shape[a] for a in self._reduced], dtype=np.int64))
        mean = batch.mean(axis=self._reduced)
        apart = mean - self._mean
        total = self._count + count
        self._square = (
            self._square
            + batch.var(axis=self._reduced) * count
            + (apart**2 * self._count * count / total)
        )
        self._mean = self._mean + apart * count / total
        self._count = total

    def reset_state(self):
        """Forget what `adapt` learned."""
        if self.mean is None and self.built:
            self.adapt_mean.assign(0.0)
            self.adapt_variance.assign(1.0)
            self.count.assign(0)

    def _finish(self):
        self.adapt_mean.assign(self._mean)
        self.adapt_variance.assign(self._square / max(self._count, 1))
        self.count.assign(self._count)

    def call(self, inputs):
        x = self._float(inputs)
        if self.mean is None:
            mean, variance = (
                ops.reshape(w, self._aligned) for w in (self.adapt_mean, self.adapt_variance)
            )
        else:
            xp = arrays.module_of(x.array)
            mean, variance = (Tensor(xp.asarray(v)) for v in self._constants)
        deviation = ops.maximum(ops.sqrt(variance), config.epsilon())
        if self.invert:
            return ops.add(mean, ops.multiply(x, deviation))
        return ops.divide(ops.subtract(x, mean), deviation)


def _encoded(numbers, mode, depth, dtype):
    """Return numbers as ``'one_hot'``, ``'multi_hot'`` or ``'count'`` rows of a length.

    Args:
        numbers: integer tensor (N,), (N, T).
        mode: str.
        depth: int.
        dtype: name of the result's dtype.
    """
    if mode == "one_hot" and numbers.shape[-1:] != (1,):
        return ops.cast(ops.one_hot(numbers, num_classes=depth), dtype)
    hot = ops.one_hot(numbers, num_classes=depth)
    found = ops.sum(hot, axis=-2) if mode == "count" else ops.max(hot, axis=-2)
    return ops.cast(found, dtype)


def _encoded_shape(who, shape, mode, depth):
    shape = tuple(shape)
    separate = mode == "one_hot" and shape[-1:] != (1,)
    made = (*shape, depth) if separate else (*shape[:-1], depth)
    if len(made) > 2 or not shape:
        raise ShapeError(
            f"{who}: output_mode {mode!r} gives at most rank 2, the input has shape {shape}"
        )
    return made


@registered.register()
class CategoryEncoding(Layer):
    """Turns whole numbers into rows of zeros and ones, or of counts.

    Args:
        num_tokens: int > 0, how many numbers there are: 0 to ``num_tokens - 1``.
        output_mode: ``'multi_hot'`` (which numbers a sample has), ``'one_hot'`` (a row for each
            number) or ``'count'`` (how often a sample has each).
        **kwargs: see `Layer`.

    Shapes:
        (batch, numbers) -> (batch, num_tokens); one_hot: (batch,) -> (batch, num_tokens)
    """

    has_shape_rule = True
    built = True
    _autocast = False

    def __init__(self, num_tokens=None, output_mode="multi_hot", sparse=False, **kwargs):
        num_tokens = kwargs.pop("max_tokens", num_tokens)
        super().__init__(**kwargs)
        self.num_tokens = positive_int("CategoryEncoding", "num_tokens", num_tokens)
        self.output_mode = _mode("CategoryEncoding", output_mode, ())
        self.sparse = _not_sparse("CategoryEncoding", sparse)

    def call(self, inputs, count_weights=None):
        if isinstance(inputs.array, np.ndarray) and inputs.size:
            effect(self._check_numbers, inputs.array)
        numbers = inputs if inputs.dtype.kind in "iu" else ops.cast(inputs, "int32")
        if count_weights is None:
            return _encoded(numbers, self.output_mode, self.num_tokens, self.compute_dtype)
        hot = ops.one_hot(numbers, num_classes=self.num_tokens)
        weight = ops.expand_dims(ops.cast(count_weights, hot.dtype.name), -1)
        return ops.cast(ops.sum(ops.multiply(hot, weight), axis=-2), self.compute_dtype)

    def _check_numbers(self, numbers):
        low, high = numbers.min(), numbers.max()
        if not (low >= 0 and high < self.num_tokens):
            raise ValueError(
                f"{self._who}: expected numbers from 0 to {self.num_tokens - 1}, "
                f"got {low} to {high}"
            )

    def compute_output_shape(self, input_shape):
        return _encoded_shape(self._who, input_shape, self.output_mode, self.num_tokens)


@registered.register()
class Discretization(_Adapting):
    """Turns floats into the numbers of the bins that they fall into.

    Args:
        bin_boundaries: list of floats in rising order; None learns them in `adapt`.
        num_bins: int, how many bins `adapt` makes, each with about as many values.
        epsilon: float, how exact the boundaries are; here they are always exact quantiles of a
            summary of about ``1 / epsilon`` values.
        output_mode: ``'int'``, or one of those of `CategoryEncoding`.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same; other modes as `CategoryEncoding`
    """

    has_shape_rule = True

    def __init__(
        self,
        bin_boundaries=None,
        num_bins=None,
        epsilon=0.01,
        output_mode="int",
        sparse=False,
        **kwargs,
    ):
        kwargs.setdefault("dtype", "int64" if output_mode == "int" else None)
        if output_mode == "int" and not str(kwargs["dtype"]).startswith(("int", "uint")):
            kwargs["dtype"] = "int64"
        super().__init__(**kwargs)
        if num_bins is not None and (bin_boundaries is not None or num_bins < 1):
            raise ValueError(
                "Discretization: expected bin_boundaries or num_bins > 0, "
                f"got num_bins={num_bins!r}, bin_boundaries={bin_boundaries!r}"
            )
        self.bin_boundaries = None if bin_boundaries is None else list(map(float, bin_boundaries))
        self.num_bins, self.epsilon = num_bins, epsilon
        self.output_mode = _mode("Discretization", output_mode, ("int",))
        self.sparse = _not_sparse("Discretization", sparse)
        self._learned = None

    def _start(self):
        if self.bin_boundaries is not None:
            raise ValueError(f"{self._who}: adapt() can't change bin_boundaries that are given")
        self._summary = np.zeros((2, 0))

    def _learn(self, batch):
        values = np.sort(batch.reshape(-1))
        start = int(values.size / (1 / self.epsilon))
        step = max(start, 1)
        chosen = values[start::step]
        both = np.concatenate([np.stack([chosen, np.full(chosen.size, step)]), self._summary], 1)
        self._summary = _compressed(both[:, np.argsort(both[0], kind="stable")], self.epsilon)

    def _finish(self):
        self._learned = _compressed(self._summary, 1 / self.num_bins)[0, :-1].tolist()

    def reset_state(self):
        """Forget what `adapt` learned."""
        self._learned = None

    @property
    def boundaries(self):
        """List of floats, those given or learned."""
        found = self._learned if self.bin_boundaries is None else self.bin_boundaries
        if found is None:
            raise ValueError(f"{self._who}: call adapt() on data first, or give bin_boundaries")
        return found

    def call(self, inputs):
        xp = arrays.module_of(inputs.array)
        x = inputs.array if inputs.dtype.kind == "f" else inputs.array.astype("float32")
        limits = xp.asarray(np.asarray(self.boundaries, x.dtype))
        numbers = Tensor(xp.searchsorted(limits, x, side="right"))
        if self.output_mode == "int":
            return ops.cast(numbers, self.compute_dtype)
        return _encoded(numbers, self.output_mode, limits.size + 1, self.compute_dtype)

    def get_config(self):
        """Return the config; what `adapt` learned is written as ``bin_boundaries``."""
        found = super().get_config()
        found["bin_boundaries"] = self.bin_boundaries or self._learned
        found["num_bins"] = None if self._learned else self.num_bins
        names = ("epsilon", "output_mode", "sparse")
        return {**found, **{n: getattr(self, n) for n in names}}

    def compute_output_shape(self, input_shape):
        if self.output_mode == "int":
            return input_shape
        depth = len(self.boundaries) + 1
        return _encoded_shape(self._who, input_shape, self.output_mode, depth)


def _compressed(summary, epsilon):
    """Return a summary (values, weights) with about ``1 / epsilon`` values."""
    if summary.shape[1] * epsilon < 1:
        return summary
    shares = epsilon + np.arange(0.0, 1.0, epsilon)
    weights = summary[1].cumsum()
    values = np.interp(shares, weights / weights[-1], summary[0])
    weights = np.interp(shares, weights / weights[-1], weights)
    return np.stack([values, np.diff(weights, prepend=0.0)])


def _mode(layer, mode, more):
    mode = "multi_hot" if mode == "binary" else mode
    known = ("multi_hot", "one_hot", "count", *more)
    if mode not in known:
        raise ValueError(f"{layer}: expected output_mode to be one of {known}, got {mode!r}")
    return mode


def _not_sparse(layer, sparse):
    if sparse:
        raise ValueError(f"{layer}: sparse=True, which gives sparse tensors, isn't available")
    return False

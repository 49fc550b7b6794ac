"""Layers that give their inputs mean 0 and variance 1, or length 1, over some axes."""

import functools

from gpunet import constraints, initializers, ops, regularizers
from gpunet.errors import ShapeError
from gpunet.layers.base import InputSpec
from gpunet.layers.elementwise import SameShape
from gpunet.recording import effect
from gpunet.registry import layers as registered

__all__ = [
    "BatchNormalization",
    "LayerNormalization",
    "GroupNormalization",
    "UnitNormalization",
]


class _Normalization(SameShape):
    """Base of the layers with a learned scale and offset; see those for the arguments."""

    _casts_weights = False  # 16 bits are too few for statistics

    def __init__(
        self,
        epsilon=1e-3,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        beta_regularizer=None,
        gamma_regularizer=None,
        beta_constraint=None,
        gamma_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.epsilon = float(epsilon)
        self.center, self.scale = bool(center), bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)

    def _add_scale_and_offset(self, shape, dtype=None):
        self.gamma = self.add_weight("gamma", shape, dtype) if self.scale else None
        self.beta = self.add_weight("beta", shape, dtype) if self.center else None


def _checked_axis(layer, axis):
    """Return an axis, or a list of axes, as it was given; TypeError for anything else."""
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    if not all(isinstance(a, int) and not isinstance(a, bool) for a in axes) or not axes:
        raise TypeError(f"{layer}: expected axis to be an int or a list of ints, got {axis!r}")
    return list(axis) if isinstance(axis, (list, tuple)) else axis


def _axes_in(layer, input_shape):
    """Return a layer's axes counted from 0; their sizes must be known.

    Raises:
        ShapeError: an axis that the input doesn't have, twice the same one, or an unknown size.
    """
    rank = len(input_shape)
    given = layer.axis if isinstance(layer.axis, list) else [layer.axis]
    if not all(-rank <= a < rank for a in given):
        raise ShapeError(
            f"{layer._who}: axis {layer.axis} doesn't exist in an input of rank {rank} "
            f"(input shape {input_shape})"
        )
    axes = [a % rank for a in given]
    if len(set(axes)) < len(axes):
        raise ShapeError(f"{layer._who}: axis {layer.axis} names an axis twice")
    if any(input_shape[a] is None for a in axes):
        raise ShapeError(
            f"{layer._who}: the size of axis {layer.axis} must be known, "
            f"got input shape {input_shape}"
        )
    return axes


def _aligned(weight, shape):
    """Return a weight in the shape in which it broadcasts to the input; None stays None."""
    return weight if weight is None or weight.shape == shape else ops.reshape(weight, shape)


@registered.register("BatchNormalizationV1", "BatchNormalizationV2", "SyncBatchNormalization")
class BatchNormalization(_Normalization):
    """Normalizes each channel over the batch; in inference by averages kept from training.

    While it is frozen (``trainable=False``) it works as in inference.

    Args:
        axis: int or list of ints, the axis of the channels.
        momentum: float, what the moving averages keep in each step.
        epsilon: float, added to the variance.
        center, scale: bool, whether there is a learned offset, and a learned scale.
        beta_initializer, gamma_initializer, moving_mean_initializer,
            moving_variance_initializer: see `gpunet.initializers`.
        beta_regularizer, gamma_regularizer: see `gpunet.regularizers`.
        beta_constraint, gamma_constraint: see `gpunet.constraints`.
        **kwargs: see `Layer`; ``fused=False`` keeps the biased variance of images too;
            ``synchronized`` changes nothing on one device.

    Shapes:
        any -> the same

    Raises:
        ValueError: ``renorm``, ``virtual_batch_size`` or ``adjustment``, which aren't available.

    Reference:
        Ioffe and Szegedy, 2015, arXiv:1502.03167.
    """

    has_shape_rule = True

    def __init__(
        self,
        axis=-1,
        momentum=0.99,
        epsilon=1e-3,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        moving_mean_initializer="zeros",
        moving_variance_initializer="ones",
        beta_regularizer=None,
        gamma_regularizer=None,
        beta_constraint=None,
        gamma_constraint=None,
        **kwargs,
    ):
        for option in ("renorm", "renorm_clipping", "virtual_batch_size", "adjustment"):
            if kwargs.pop(option, None):
                raise ValueError(f"BatchNormalization: {option} isn't available")
        kwargs.pop("renorm_momentum", None)
        kwargs.pop("synchronized", None)
        self._fused = kwargs.pop("fused", None)
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        self.axis = _checked_axis("BatchNormalization", axis)
        self.momentum = float(momentum)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)

    @property
    def _weight_dtype(self):
        return "float32" if self.dtype == "float16" else self.dtype

    def build(self, input_shape):
        rank = len(input_shape)
        axes = _axes_in(self, input_shape)
        self._reduced = tuple(i for i in range(rank) if i not in axes)
        self._aligned_shape = tuple(input_shape[i] if i in axes else 1 for i in range(rank))
        shape = self._aligned_shape if len(axes) > 1 else (input_shape[axes[0]],)
        if axes == [rank - 1]:
            self._aligned_shape = shape  # broadcasts as it is
        # Keras's kernel for images keeps the unbiased variance.
        self._unbiased = (
            self._fused is not False
            and rank in (4, 5)
            and axes in ([1], [rank - 1])
            and self.dtype != "float64"
        )
        dtype = self._weight_dtype
        self._add_scale_and_offset(shape, dtype)
        self.moving_mean = self.add_weight("moving_mean", shape, dtype, trainable=False)
        self.moving_variance = self.add_weight("moving_variance", shape, dtype, trainable=False)
        self.input_spec = InputSpec(ndim=rank, axes={a: input_shape[a] for a in axes})
        self.built = True

    def call(self, inputs, training=None, mask=None):
        x = self._float(inputs)
        shape = self._aligned_shape
        gamma, beta = _aligned(self.gamma, shape), _aligned(self.beta, shape)
        if not training or not self._trainable:
            return self._infer_affine(x, gamma, beta)
        half = gamma is None is beta and x.dtype != self._weight_dtype
        wide = ops.cast(x, self._weight_dtype) if half else x
        # As in Keras, images don't look at masks.
        mask = None if self._unbiased or mask is None else ops.expand_dims(mask, -1)
        y, mean, variance = ops.normalize(
            wide, gamma, beta, mask, axes=self._reduced, epsilon=self.epsilon
        )
        effect(functools.partial(self._keep, x.size), mean.array, variance.array)
        return ops.cast(y, x.dtype) if half else y

    def _infer_affine(self, x, gamma, beta):
        shape = self._aligned_shape
        scale = ops.rsqrt(ops.add(_aligned(self.moving_variance, shape), self.epsilon))
        scale = scale if gamma is None else ops.multiply(scale, gamma)
        shift = ops.multiply(_aligned(self.moving_mean, shape), scale)
        shift = ops.negative(shift) if beta is None else ops.subtract(beta, shift)
        if x.dtype == scale.dtype:
            return ops.affine(x, scale, shift)
        return ops.cast(ops.affine(ops.cast(x, scale.dtype), scale, shift), x.dtype)

    def _keep(self, size, mean, variance):
        """Move the moving averages on, in place and without a look at values.

        Args:
            size: int, number of elements that the statistics are over.
            mean, variance: arrays.
        """
        count = size // max(1, mean.size)
        if not count:
            return  # an empty batch has no statistics
        step = 1 - self.momentum
        factor = count / max(1, count - 1) if self._unbiased else 1.0
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance * factor)):
            array = moving.array
            array -= (array - new.reshape(array.shape)) * step


@registered.register()
class LayerNormalization(_Normalization):
    """Normalizes each sample over some of its axes.

    Args:
        axis: int or list of ints, the axes over which the mean and the variance are taken.
        epsilon: float, added to the variance.
        center, scale: bool, whether there is a learned offset, and a learned scale, for each
            element along ``axis``.
        beta_initializer, gamma_initializer: see `gpunet.initializers`.
        beta_regularizer, gamma_regularizer: see `gpunet.regularizers`.
        beta_constraint, gamma_constraint: see `gpunet.constraints`.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same

    Reference:
        Ba et al., 2016, arXiv:1607.06450.
    """

    has_shape_rule = True

    def __init__(
        self,
        axis=-1,
        epsilon=1e-3,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        beta_regularizer=None,
        gamma_regularizer=None,
        beta_constraint=None,
        gamma_constraint=None,
        **kwargs,
    ):
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        self.axis = _checked_axis("LayerNormalization", axis)

    def build(self, input_shape):
        rank = len(input_shape)
        axes = _axes_in(self, input_shape)
        self._axes = tuple(sorted(axes))
        self._aligned_shape = tuple(input_shape[i] if i in axes else 1 for i in range(rank))
        shape = tuple(input_shape[a] for a in axes)
        if self._axes == tuple(range(rank - len(axes), rank)) == tuple(axes):
            self._aligned_shape = shape  # broadcasts as it is
        self._add_scale_and_offset(shape)
        self.input_spec = InputSpec(ndim=rank, axes={a: input_shape[a] for a in axes})
        self.built = True

    def call(self, inputs):
        x = self._float(inputs)
        gamma, beta = (_aligned(w, self._aligned_shape) for w in (self.gamma, self.beta))
        return ops.normalize(x, gamma, beta, axes=self._axes, epsilon=self.epsilon)[0]


@registered.register()
class GroupNormalization(_Normalization):
    """Normalizes each sample over groups of channels and all other axes.

    Args:
        groups: int, number of groups; -1 makes each channel one.
        axis: int, the axis of the channels.
        epsilon: float, added to the variance.
        center, scale: bool, whether there is a learned offset, and a learned scale, for each
            channel.
        beta_initializer, gamma_initializer: see `gpunet.initializers`.
        beta_regularizer, gamma_regularizer: see `gpunet.regularizers`.
        beta_constraint, gamma_constraint: see `gpunet.constraints`.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same

    Raises:
        ShapeError: the channels don't divide into that many groups.

    Reference:
        Wu and He, 2018, arXiv:1803.08494.
    """

    has_shape_rule = True

    def __init__(
        self,
        groups=32,
        axis=-1,
        epsilon=1e-3,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        beta_regularizer=None,
        gamma_regularizer=None,
        beta_constraint=None,
        gamma_constraint=None,
        **kwargs,
    ):
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        if not isinstance(groups, int) or (groups < 1 and groups != -1):
            raise ValueError(
                f"GroupNormalization: expected groups to be a positive int or -1, got {groups!r}"
            )
        if not isinstance(axis, int):
            raise TypeError(f"GroupNormalization: expected axis to be an int, got {axis!r}")
        self.groups, self.axis = groups, axis

    def build(self, input_shape):
        (axis,) = _axes_in(self, input_shape)
        size = input_shape[axis]
        self._groups = size if self.groups == -1 else self.groups
        if size % self._groups:
            raise ShapeError(
                f"{self._who}: {size} channels can't be divided into {self._groups} groups "
                f"(input shape {input_shape})"
            )
        self._channels = axis
        self._add_scale_and_offset((size,))
        self.input_spec = InputSpec(ndim=len(input_shape), axes={axis: size})
        self.built = True

    def _grouped(self, shape):
        axis = self._channels
        split = (self._groups, shape[axis] // self._groups)
        return (*shape[:axis], *split, *shape[axis + 1 :])

    def call(self, inputs, mask=None):
        x = self._float(inputs)
        shape = tuple(map(int, x.shape))
        aligned = self._grouped([n if i == self._channels else 1 for i, n in enumerate(shape)])
        gamma, beta = (_aligned(w, aligned) for w in (self.gamma, self.beta))
        if mask is not None:
            missing = (1,) * (len(shape) - len(mask.shape))
            mask = ops.broadcast_to(ops.reshape(mask, (*mask.shape, *missing)), shape)
            mask = ops.reshape(mask, self._grouped(shape))
        grouped = self._grouped(shape)
        axes = tuple(i for i in range(1, len(grouped)) if i != self._channels)
        x = ops.reshape(x, grouped)
        y, _, _ = ops.normalize(x, gamma, beta, mask, axes=axes, epsilon=self.epsilon)
        return ops.reshape(y, shape)


@registered.register()
class UnitNormalization(SameShape):
    """Scales each sample to Euclidean length 1 over some of its axes.

    Args:
        axis: int or list of ints.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same
    """

    has_shape_rule = True

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = _checked_axis("UnitNormalization", axis)

    def build(self, input_shape):
        rank = len(input_shape)
        for a in self.axis if isinstance(self.axis, list) else [self.axis]:
            if not -rank <= a < rank:
                raise ShapeError(
                    f"{self._who}: axis {a} doesn't exist in an input of rank {rank} "
                    f"(input shape {input_shape})"
                )
        self.built = True

    def call(self, inputs):
        return ops.l2_normalize(self._float(inputs), axis=self.axis)

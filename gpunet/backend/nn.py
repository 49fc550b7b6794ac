"""Layers' arithmetic as functions: convolution, pooling, normalization, focal losses."""

from gpunet import config, ops
from gpunet.backend.creation import layout
from gpunet.backend.expression import expression
from gpunet.backend.sizes import int_shape, ndim, resolved, size, symbolic
from gpunet.graph import SymbolicTensor
from gpunet.tensor import convert_to_tensor

__all__ = [
    "batch_normalization",
    "bias_add",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "conv1d",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
    "depthwise_conv2d",
    "identity",
    "in_top_k",
    "local_conv1d",
    "local_conv2d",
    "normalize_batch_in_training",
    "pool2d",
    "pool3d",
    "separable_conv1d",
    "separable_conv2d",
    "sparse_categorical_crossentropy",
    "sqrt",
    "stop_gradient",
]


def identity(x, name=None):
    """Return ``x`` as a new tensor."""
    return ops.identity(x)


@expression
def categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """Return ``-sum(target * log(output))``; see `gpunet.ops.categorical_crossentropy`."""
    return ops.categorical_crossentropy(target, output, from_logits=from_logits, axis=axis)


@expression
def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1, ignore_class=None):
    """Return ``-log`` of the right class; see `gpunet.ops.sparse_categorical_crossentropy`."""
    return ops.sparse_categorical_crossentropy(
        target, output, from_logits=from_logits, axis=axis, ignore_class=ignore_class
    )


def sqrt(x):
    """Return the square root, 0 for negative numbers."""
    return ops.sqrt(ops.maximum(x, 0.0))


def stop_gradient(variables):
    """Return a tensor, or a list of them, as constants: no gradient passes.

    Args:
        variables: tensor or list of tensors.
    """
    if isinstance(variables, (list, tuple)):
        return [ops.stop_gradient(v) for v in variables]
    return ops.stop_gradient(variables)


# -- convolution --------------------------------------------------------------------------


def _moved(x, data_format, back=False):
    """Return images with channels last, or the other way round with ``back``."""
    if layout(data_format) == "channels_last":
        return x
    rank = ndim(x)
    perm = (0, rank - 1, *range(1, rank - 1)) if back else (0, *range(2, rank), 1)
    return ops.transpose(x, perm=perm)


def _numbers(value):
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _conv(x, kernel, strides, padding, data_format, dilation_rate, groups=1):
    y = ops.conv(
        _moved(x, data_format),
        kernel,
        strides=_numbers(strides),
        padding=padding,
        dilation=_numbers(dilation_rate),
        groups=groups,
    )
    return _moved(y, data_format, back=True)


def conv1d(x, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """Return the convolution of sequences.

    Args:
        x: tensor (N, T, C), or (N, C, T) with ``'channels_first'``.
        kernel: tensor (K, C, F).
        strides: int.
        padding: ``'valid'``, ``'same'`` or ``'causal'``.
        data_format: ``'channels_last'``, ``'channels_first'``, or None for the configured one.
        dilation_rate: int.
    """
    return _conv(x, kernel, strides, padding, data_format, dilation_rate)


def conv2d(x, kernel, strides=(1, 1), padding="valid", data_format=None, dilation_rate=(1, 1)):
    """Return the convolution of images (four axes); see `conv1d`, with pairs of ints."""
    return _conv(x, kernel, strides, padding, data_format, dilation_rate)


def conv3d(
    x, kernel, strides=(1, 1, 1), padding="valid", data_format=None, dilation_rate=(1, 1, 1)
):
    """Return the convolution of volumes (five axes); see `conv1d`, with triples of ints."""
    return _conv(x, kernel, strides, padding, data_format, dilation_rate)


@expression
def _conv_transpose(x, kernel, output_shape, strides, padding, data_format, dilation_rate):
    sizes = resolved(output_shape)
    size = sizes[2:] if layout(data_format) == "channels_first" else sizes[1:-1]
    if symbolic(output_shape) and None in size:
        batch, channels = x.shape[0], kernel.shape[-2]
        first = layout(data_format) == "channels_first"
        return SymbolicTensor((batch, channels, *size) if first else (batch, *size, channels),
                              x.dtype)  # fmt: skip
    y = ops.conv_transpose(
        _moved(x, data_format),
        kernel,
        strides=_numbers(strides),
        padding=padding,
        dilation=_numbers(dilation_rate),
        size=size,
    )
    return _moved(y, data_format, back=True)


def conv2d_transpose(
    x,
    kernel,
    output_shape,
    strides=(1, 1),
    padding="valid",
    data_format=None,
    dilation_rate=(1, 1),
):
    """Return the transposed convolution of images.

    Args:
        x: tensor with four axes.
        kernel: tensor (*kernel, channels of the result, channels of ``x``).
        output_shape: tuple of ints and sizes, the result's whole shape.
        strides, padding, data_format, dilation_rate: see `conv2d`.
    """
    return _conv_transpose(x, kernel, output_shape, strides, padding, data_format, dilation_rate)


def conv3d_transpose(x, kernel, output_shape, strides=(1, 1, 1), padding="valid", data_format=None):
    """Return the transposed convolution of volumes; see `conv2d_transpose`."""
    return _conv_transpose(x, kernel, output_shape, strides, padding, data_format, 1)


def _depthwise(x, kernel, strides, padding, data_format, dilation_rate):
    *cells, channels, times = int_shape(kernel)
    kernel = ops.reshape(kernel, shape=(*cells, 1, channels * times))
    return _conv(x, kernel, strides, padding, data_format, dilation_rate, channels)


def depthwise_conv2d(
    x, depthwise_kernel, strides=(1, 1), padding="valid", data_format=None, dilation_rate=(1, 1)
):
    """Return the convolution of each channel of images with kernels of its own.

    Args:
        x: tensor with four axes.
        depthwise_kernel: tensor (*kernel, C, multiplier).
        strides, padding, data_format, dilation_rate: see `conv2d`.
    """
    return _depthwise(x, depthwise_kernel, strides, padding, data_format, dilation_rate)


def separable_conv1d(
    x,
    depthwise_kernel,
    pointwise_kernel,
    strides=1,
    padding="valid",
    data_format=None,
    dilation_rate=1,
):
    """Return a depthwise convolution of sequences, then a mix of all channels.

    Args:
        x: tensor with three axes.
        depthwise_kernel: tensor (K, C, multiplier).
        pointwise_kernel: tensor (1, C * multiplier, F).
        strides, padding, data_format, dilation_rate: see `conv1d`.
    """
    y = _depthwise(x, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return _conv(y, pointwise_kernel, 1, "valid", data_format, 1)


def separable_conv2d(
    x,
    depthwise_kernel,
    pointwise_kernel,
    strides=(1, 1),
    padding="valid",
    data_format=None,
    dilation_rate=(1, 1),
):
    """Return a depthwise convolution of images, then a mix; see `separable_conv1d`."""
    y = _depthwise(x, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return _conv(y, pointwise_kernel, 1, "valid", data_format, 1)


def _local(inputs, kernel, kernel_size, strides, data_format):
    # The order of a window's elements in the kernel is (cells, C), whatever the layout.
    y = ops.local_conv(
        _moved(inputs, data_format),
        kernel,
        kernel_size=tuple(kernel_size),
        strides=_numbers(strides),
    )
    return _moved(y, data_format, back=True)


def local_conv1d(inputs, kernel, kernel_size, strides, data_format=None):
    """Return a convolution of sequences with a kernel of its own at each place.

    Args:
        inputs: tensor with three axes.
        kernel: tensor (places, K * C, F).
        kernel_size: tuple of an int.
        strides: tuple of an int.
        data_format: see `conv1d`.
    """
    return _local(inputs, kernel, kernel_size, strides, data_format)


def local_conv2d(inputs, kernel, kernel_size, strides, output_shape, data_format=None):
    """Return a convolution of images with a kernel of its own at each place.

    Args:
        inputs: tensor with four axes.
        kernel: tensor (places, cells * C, F).
        kernel_size: pair of ints.
        strides: pair of ints.
        output_shape: pair of ints, which follow from the others.
        data_format: see `conv1d`.
    """
    return _local(inputs, kernel, kernel_size, strides, data_format)


# -- pooling and bias ---------------------------------------------------------------------


def _pool(x, pool_size, strides, padding, data_format, pool_mode, rank):
    if len(pool_size) != rank or len(strides) != rank:
        raise ValueError(f"`pool_size` and `strides` must be tuples of {rank} integers.")
    if pool_mode not in ("max", "avg"):
        raise ValueError(f"Invalid pooling mode: {pool_mode}")
    return (ops.max_pool if pool_mode == "max" else ops.average_pool)(
        x,
        pool_size=tuple(pool_size),
        strides=tuple(strides),
        padding=padding,
        data_format=layout(data_format),
    )


def pool2d(x, pool_size, strides=(1, 1), padding="valid", data_format=None, pool_mode="max"):
    """Return the largest element, or the mean, of each window over images.

    Args:
        x: tensor with four axes.
        pool_size: pair of ints.
        strides: pair of ints.
        padding: ``'valid'`` or ``'same'``.
        data_format: see `conv1d`.
        pool_mode: ``'max'`` or ``'avg'``.
    """
    return _pool(x, pool_size, strides, padding, data_format, pool_mode, 2)


def pool3d(x, pool_size, strides=(1, 1, 1), padding="valid", data_format=None, pool_mode="max"):
    """Return the largest element, or the mean, of each window over volumes; see `pool2d`."""
    return _pool(x, pool_size, strides, padding, data_format, pool_mode, 3)


def bias_add(x, bias, data_format=None):
    """Return ``x`` with a bias added to each sample.

    Args:
        x: tensor.
        bias: tensor of as many elements as there are channels, or of the shape of a sample with
            channels last.
        data_format: see `conv1d`.
    """
    shape, rank = int_shape(bias), ndim(x)
    if len(shape) not in (1, rank - 1):
        raise ValueError(
            f"Unexpected bias dimensions {len(shape)}, expect to be 1 or {rank - 1} dimensions"
        )
    if layout(data_format) == "channels_first" and rank > 2:
        # As Keras has it: the elements of a larger bias are taken in order, not transposed.
        middle = shape[:-1] if len(shape) > 1 else (1,) * (rank - 2)
        bias = ops.reshape(bias, shape=(shape[-1], *middle))
    return ops.add(x, bias)


# -- normalization ------------------------------------------------------------------------


def normalize_batch_in_training(x, gamma, beta, reduction_axes, epsilon=0.001):
    """Return (normalized ``x``, mean, variance), the statistics being those of the batch.

    As in Keras, the variance of images over all axes but the channels is an estimate: the sum of
    squares is divided by one less than their number.

    Args:
        x: tensor.
        gamma: tensor or None.
        beta: tensor or None.
        reduction_axes: list of ints.
        epsilon: float.
    """
    axes = tuple([a % ndim(x) for a in reduction_axes])
    kept = tuple([1 if i in axes else n for i, n in enumerate(int_shape(x))])
    parts = [None if p is None else ops.reshape(p, shape=kept) for p in (gamma, beta)]
    y, mean, variance = ops.normalize(x, *parts, axes=axes, epsilon=epsilon)
    if ndim(x) == 4 and sorted(axes) in ([0, 1, 2], [0, 2, 3]):
        count = ops.cast(size(x), dtype=y.dtype) / ops.cast(size(mean), dtype=y.dtype)
        variance = variance * (count / (count - 1))
    return y, ops.squeeze(mean, axis=axes), ops.squeeze(variance, axis=axes)


def batch_normalization(x, mean, var, beta, gamma, axis=-1, epsilon=0.001):
    """Return ``(x - mean) / sqrt(var + epsilon) * gamma + beta``.

    Args:
        x: tensor.
        mean, var: tensors that broadcast to ``x``, or with one element for each channel.
        beta, gamma: the same, or None.
        axis: int, that of the channels.
        epsilon: float.
    """
    rank = ndim(x)
    axis %= rank

    def placed(part):
        part = convert_to_tensor(part)
        if ndim(part) != 1 or axis == rank - 1:
            return part
        return ops.reshape(part, shape=(*[1] * axis, -1, *[1] * (rank - axis - 1)))

    scale = ops.rsqrt(placed(var) + epsilon)
    if gamma is not None:
        scale = scale * placed(gamma)
    y = (x - placed(mean)) * scale
    return y if beta is None else y + placed(beta)


# -- losses and scores --------------------------------------------------------------------


def in_top_k(predictions, targets, k):
    """Return, for each row, whether the target's score is among the k highest.

    Args:
        predictions: tensor (N, classes).
        targets: integer tensor (N,).
        k: int.
    """
    classes = int_shape(predictions)[-1]
    hot = ops.cast(ops.one_hot(targets, num_classes=classes), dtype=predictions.dtype)
    score = ops.sum(predictions * hot, axis=-1, keepdims=True)
    above = ops.sum(ops.cast(ops.greater(predictions, score), dtype="int32"), axis=-1)
    known = ops.equal(ops.sum(hot, axis=-1), 1)
    return ops.logical_and(ops.less(above, k), known)


def binary_focal_crossentropy(
    target, output, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False
):
    """Return the crossentropy of probabilities, elements that are right already counting less.

    Args:
        target: tensor of zeros and ones.
        output: tensor of probabilities.
        apply_class_balancing: bool, whether ones weigh ``alpha`` and zeros ``1 - alpha``.
        alpha: float.
        gamma: float, how much less.
        from_logits: bool, whether ``output`` holds logits.

    Reference:
        Lin et al., 2017, arXiv:1708.02002.
    """
    p = ops.sigmoid(output) if from_logits else convert_to_tensor(output)
    target = ops.cast(convert_to_tensor(target), dtype=p.dtype)
    right = target * p + (1 - target) * (1 - p)
    loss = ops.power(1 - right, gamma) * ops.binary_crossentropy(target, p)
    if apply_class_balancing:
        loss = loss * (target * alpha + (1 - target) * (1 - alpha))
    return loss


def categorical_focal_crossentropy(
    target, output, alpha=0.25, gamma=2.0, from_logits=False, axis=-1
):
    """Return the crossentropy of class probabilities, what is right already counting less.

    Args:
        target: tensor, one-hot.
        output: tensor of probabilities.
        alpha: float, or one for each class.
        gamma: float, how much less.
        from_logits: bool, whether ``output`` holds logits.
        axis: int, that of the classes.

    Reference:
        Lin et al., 2017, arXiv:1708.02002.
    """
    p = ops.softmax(output, axis=axis) if from_logits else convert_to_tensor(output)
    p = p / ops.sum(p, axis=axis, keepdims=True)
    p = ops.clip(p, config.epsilon(), 1 - config.epsilon())
    loss = ops.power(1 - p, gamma) * alpha * target * -ops.log(p)
    return ops.sum(loss, axis=axis)

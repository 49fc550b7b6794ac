"""tf.nn: activations, losses on logits, convolution and pooling."""

from gpunet import backend as K
from gpunet import ops
from gpunet.dropin.tf.arguments import plain, table, tensor
from gpunet.dropin.tf.creation import gather
from gpunet.dropin.tf.math import (
    in_top_k,
    l2_normalize,
    log_sigmoid,
    log_softmax,
    reduce_mean,
    sigmoid,
    softmax,
    softplus,
    tanh,
)

_ACTIVATIONS = {
    "elu": ops.elu,
    "relu": ops.relu,
    "selu": ops.selu,
    "silu": ops.swish,
    "softsign": ops.softsign,
    "swish": ops.swish,
}
globals().update(table(_ACTIVATIONS))

__all__ = [
    *_ACTIVATIONS,
    "avg_pool",
    "avg_pool2d",
    "batch_normalization",
    "bias_add",
    "conv1d",
    "conv2d",
    "depthwise_conv2d",
    "dropout",
    "embedding_lookup",
    "gelu",
    "in_top_k",
    "l2_loss",
    "l2_normalize",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "max_pool",
    "max_pool2d",
    "moments",
    "relu6",
    "sigmoid",
    "sigmoid_cross_entropy_with_logits",
    "softmax",
    "softmax_cross_entropy_with_logits",
    "softplus",
    "sparse_softmax_cross_entropy_with_logits",
    "tanh",
]


def leaky_relu(features, alpha=0.2, name=None):
    """Return ``x``, times ``alpha`` where it is negative."""
    return ops.relu(tensor(features), alpha=alpha)


@plain
def relu6(features):
    """Return ``x`` moved into the interval from 0 to 6."""
    return ops.relu(features, max_value=6.0)


def gelu(features, approximate=False, name=None):
    """Return ``x`` times the probability that a normal variable stays below it."""
    return ops.gelu(tensor(features), approximate=approximate)


def dropout(x, rate, noise_shape=None, seed=None, name=None):
    """Return ``x`` with a random share of its elements set to 0 and the others scaled up."""
    return K.dropout(tensor(x), rate, noise_shape, seed)


def l2_loss(t, name=None):
    """Return half of the sum of squares."""
    return ops.sum(ops.square(tensor(t))) * 0.5


def moments(x, axes, shift=None, keepdims=False, name=None):
    """Return (mean, variance) over axes."""
    mean = reduce_mean(x, axes, keepdims=True)
    variance = reduce_mean(ops.square(tensor(x) - mean), axes, keepdims=keepdims)
    return (mean if keepdims else reduce_mean(x, axes)), variance


def batch_normalization(x, mean, variance, offset, scale, variance_epsilon, name=None):
    """Return ``x`` with the given mean and variance brought to ``offset`` and ``scale``."""
    factor = ops.rsqrt(tensor(variance) + variance_epsilon)
    factor = factor if scale is None else factor * tensor(scale)
    y = (tensor(x) - tensor(mean)) * factor
    return y if offset is None else y + tensor(offset)


def bias_add(value, bias, data_format=None, name=None):
    """Return ``value`` plus one number for each channel."""
    return K.bias_add(tensor(value), tensor(bias), _layout(data_format))


def embedding_lookup(params, ids, max_norm=None, name=None):
    """Return the rows of a table that ids name."""
    return gather(params, ids)


# -- losses -------------------------------------------------------------------------------


def sigmoid_cross_entropy_with_logits(labels, logits, name=None):
    """Return the cross-entropy of each element."""
    return ops.binary_crossentropy(tensor(labels), tensor(logits), from_logits=True)


def softmax_cross_entropy_with_logits(labels, logits, axis=-1, name=None):
    """Return the cross-entropy of each sample, with probabilities as labels."""
    return ops.categorical_crossentropy(tensor(labels), tensor(logits), from_logits=True, axis=axis)


def sparse_softmax_cross_entropy_with_logits(labels, logits, name=None):
    """Return the cross-entropy of each sample, with classes as labels."""
    return ops.sparse_categorical_crossentropy(tensor(labels), tensor(logits), from_logits=True)


# -- windows ------------------------------------------------------------------------------


def _layout(data_format):
    return "channels_first" if str(data_format).startswith("NC") else "channels_last"


def _window(size, data_format, n=2):
    """Return the ``n`` sizes among those for all axes, or one repeated."""
    size = [size] if isinstance(size, int) else list(size)
    if len(size) == n + 2:
        size = size[2:] if _layout(data_format) == "channels_first" else size[1:-1]
    return tuple(size * n) if len(size) == 1 else tuple(size)


def conv2d(input, filters, strides, padding, data_format="NHWC", dilations=None, name=None):
    """Return a convolution of images."""
    return K.conv2d(
        tensor(input),
        tensor(filters),
        _window(strides, data_format),
        padding.lower(),
        _layout(data_format),
        _window(dilations or 1, data_format),
    )


def conv1d(input, filters, stride, padding, data_format="NWC", dilations=None, name=None):
    """Return a convolution of sequences."""
    stride = _window(stride, data_format, 1)[0]
    rate = _window(dilations or 1, data_format, 1)[0]
    return K.conv1d(
        tensor(input), tensor(filters), stride, padding.lower(), _layout(data_format), rate
    )


def depthwise_conv2d(
    input, filter, strides, padding, data_format="NHWC", dilations=None, name=None
):
    """Return a convolution of each channel by itself."""
    return K.depthwise_conv2d(
        tensor(input),
        tensor(filter),
        _window(strides, data_format),
        padding.lower(),
        _layout(data_format),
        _window(dilations or 1, data_format),
    )


def _pool(mode, input, ksize, strides, padding, data_format):
    size, steps = _window(ksize, data_format), _window(strides, data_format)
    return K.pool2d(tensor(input), size, steps, padding.lower(), _layout(data_format), mode)


def max_pool2d(input, ksize, strides, padding, data_format="NHWC", name=None):
    """Return the largest element of each window."""
    return _pool("max", input, ksize, strides, padding, data_format)


def avg_pool2d(input, ksize, strides, padding, data_format="NHWC", name=None):
    """Return the mean of each window."""
    return _pool("avg", input, ksize, strides, padding, data_format)


max_pool, avg_pool = max_pool2d, avg_pool2d

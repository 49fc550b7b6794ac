"""Cross-entropies: softmax or clipping, logarithm and sum as one op each."""

from gpunet import config
from gpunet.autodiff import differentiable, taped
from gpunet.errors import ShapeError
from gpunet.ops.elementwise import as_float
from gpunet.ops.index import one_hot_of
from gpunet.ops.infer import axis_of, broadcast, reduced
from gpunet.ops.nonlinear import sigmoid_of
from gpunet.ops.norm import log_softmax_of
from gpunet.ops.products import row_sums

__all__ = [
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "binary_crossentropy",
]


def _clipped(xp, p):
    """Return probabilities limited to epsilon..1 - epsilon, and where they were inside."""
    low = config.epsilon()
    inside = xp.logical_and(p >= low, p <= 1 - low)
    return xp.minimum(xp.maximum(p, low), 1 - low), inside


def _spread_out(xp, gy, axis):
    """Return a gradient of sums with the axis that was summed over, of size 1."""
    last = axis in (-1, gy.ndim)  # there a reshape does, in a tenth of the time
    return gy.reshape((*gy.shape, 1)) if last else xp.expand_dims(gy, axis)


def _like(target, output):
    return target if target.dtype == output.dtype else target.astype(output.dtype)


def _logs(xp, output, logs, axis):
    """Return the logarithm of the softmax; a second derivative has to follow its computation."""
    return log_softmax_of(xp, output, axis) if logs is None or xp is taped else logs


def _infer_categorical(target, output, logs=(), axis=-1, **_):
    return reduced(broadcast(target, output), axis=axis)


@differentiable(infer=_infer_categorical)
def categorical_crossentropy(xp, target, output, logs=None, /, from_logits=False, axis=-1):
    """Return ``-sum(target * log(output))`` over the classes.

    Args:
        target: tensor (..., classes), probabilities.
        output: tensor of the same shape; probabilities, which are scaled to a sum of 1 and
            clipped, or logits.
        logs: `log_softmax` of logits where it is known already, or None.  All of the gradient
            goes to ``output``.
        from_logits: bool, whether ``output`` is logits.  The gradient then takes it that the
            targets of a sample add up to 1, as TensorFlow's does.
        axis: int, axis of the classes.

    Returns:
        Tensor without that axis.
    """
    output = as_float(output)
    target = _like(target, output)
    if from_logits:
        logs = _logs(xp, output, logs, axis)
        saved = (target, logs, None, None, None, axis)
    else:
        total = output.sum(axis=axis, keepdims=True)
        share = output / total
        clipped, inside = _clipped(xp, share)
        logs = xp.log(clipped)
        saved = (target, logs, share, inside, total, axis)
    product = target * logs
    last = axis in (-1, product.ndim - 1)
    return -(row_sums(xp, product) if last else product.sum(axis=axis)), saved


@categorical_crossentropy.backward
def categorical_crossentropy_backward(xp, saved, gy, needs):
    target, logs, share, inside, total, axis = saved
    gy = _spread_out(xp, gy, axis)
    gtarget = -gy * logs if needs[0] else None
    gx = None
    if needs[1]:
        if share is None:
            gx = gy * (xp.exp(logs) - target)
        else:
            gshare = xp.where(inside, -gy * target / xp.where(inside, share, 1.0), 0.0)
            gx = (gshare - (gshare * share).sum(axis=axis, keepdims=True)) / total
    return gtarget, gx


def _infer_sparse(target, output, logs=(), axis=-1, **_):
    return reduced(output, axis=axis)


@differentiable(infer=_infer_sparse)
def sparse_categorical_crossentropy(
    xp, target, output, logs=None, /, from_logits=False, axis=-1, ignore_class=None
):
    """Return ``-log`` of the probability of the right class.

    Args:
        target: integer tensor (...), or (..., 1); a number that is no class gives NaN.
        output: tensor (..., classes); probabilities, which are clipped and then scaled to a
            sum of 1, or logits.
        logs: see `categorical_crossentropy`.
        from_logits: bool, whether ``output`` is logits.
        axis: int, axis of the classes.
        ignore_class: int, a target whose loss and gradient are 0, or None.

    Returns:
        Tensor without that axis.
    """
    output = as_float(output)
    axis = axis_of(axis, output.ndim)
    classes = int(output.shape[axis])
    kept = tuple([int(n) for i, n in enumerate(output.shape) if i != axis])
    if _size(target.shape) != _size(kept):
        raise ShapeError(
            f"sparse_categorical_crossentropy: expected targets of shape {kept}, "
            f"got {tuple(target.shape)}"
        )
    target = target.reshape(kept)
    if target.dtype.kind != "i":
        target = target.astype("int64")
    hot = one_hot_of(xp, target, classes, axis)
    if from_logits:
        clipped, inside = None, None
        logs = _logs(xp, output, logs, axis)
    else:
        clipped, inside = _clipped(xp, output)
        logs = log_softmax_of(xp, xp.log(clipped), axis)
    y = -(xp.where(hot, logs, 0.0).sum(axis=axis))
    y = xp.where(xp.logical_and(target >= 0, target < classes), y, float("nan"))
    counted = None
    if ignore_class is not None:
        counted = target != ignore_class
        y = xp.where(counted, y, 0.0)
    return y, (hot, logs, clipped, inside, counted, axis)


def _size(shape):
    n = 1
    for size in shape:
        n *= int(size)
    return n


@sparse_categorical_crossentropy.backward
def sparse_categorical_crossentropy_backward(xp, saved, gy, needs):
    hot, logs, clipped, inside, counted, axis = saved
    if counted is not None:
        gy = xp.where(counted, gy, 0.0)
    gy = _spread_out(xp, gy, axis)
    share = xp.exp(logs)
    gx = gy * xp.where(hot, share - 1, share)
    if clipped is not None:
        gx = xp.where(inside, gx / clipped, 0.0)
    return None, gx


@differentiable(infer=broadcast)
def binary_crossentropy(xp, target, output, /, from_logits=False):
    """Return ``-target * log(output) - (1 - target) * log(1 - output)``, elementwise.

    Args:
        target: tensor, probabilities.
        output: tensor of the same shape; probabilities, which are clipped, or logits.
        from_logits: bool, whether ``output`` is logits.
    """
    output = as_float(output)
    target = _like(target, output)
    if from_logits:
        y = xp.maximum(output, 0.0) - output * target + xp.log1p(xp.exp(-xp.abs(output)))
        return y, (target, output, None)
    low = config.epsilon()
    clipped, inside = _clipped(xp, output)
    y = -(target * xp.log(clipped + low) + (1 - target) * xp.log(1 - clipped + low))
    return y, (target, clipped, inside)


@binary_crossentropy.backward
def binary_crossentropy_backward(xp, saved, gy, needs):
    target, output, inside = saved
    gtarget = gx = None
    if inside is None:
        if needs[0]:
            gtarget = -gy * output
        if needs[1]:
            gx = gy * (sigmoid_of(xp, output) - target)
        return gtarget, gx
    low = config.epsilon()
    yes, no = output + low, 1 - output + low
    if needs[0]:
        gtarget = gy * (xp.log(no) - xp.log(yes))
    if needs[1]:
        gx = xp.where(inside, gy * ((1 - target) / no - target / yes), 0.0)
    return gtarget, gx

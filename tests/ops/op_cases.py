"""One table of calls for every op: inputs, options and a reference that isn't ours.

The number 3 as the first size of an input stands for a batch; symbolic checks make it unknown.
"""

import math

import numpy as np
import scipy.special as sp

from gpunet import ops
from gpunet.ops import philox, random


class Case:
    """One call of an op.

    Args:
        op: Op.
        inputs: list of functions ``rng -> array`` or constants.
        reference: function of numpy arrays and the options; None where another test has it.
        smooth: bool, whether a second derivative can be checked by finite differences.
        loose: factor on the tolerances of low precision.
        label: str, part of the test's name.
        options: the op's options.
    """

    def __init__(self, op, inputs, reference, smooth=True, loose=1, label="", **options):
        self.op, self.inputs, self.reference = op, inputs, reference
        self.smooth, self.loose, self.options = smooth, loose, options
        self.name = op.name + (f"-{label}" if label else "")

    def arrays(self, dtype="float64", seed=0):
        """Return the inputs; arrays of floats in the given type."""
        rng = np.random.default_rng(seed)
        made = [make(rng) if callable(make) else make for make in self.inputs]
        return [a.astype(dtype) if _is_float(a) else a for a in made]

    def expected(self, arrays):
        """Return what the reference gives, as a tuple of arrays."""
        y = self.reference(*arrays, **self.options)
        return tuple(map(np.asarray, y)) if isinstance(y, (tuple, list)) else (np.asarray(y),)

    def floats(self, arrays):
        """Return the numbers of the inputs that can have a gradient."""
        return [i for i, a in enumerate(arrays) if _is_float(a)]


def _is_float(a):
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def real(*shape):
    return lambda rng: rng.standard_normal(shape)


def positive(*shape):
    return lambda rng: rng.uniform(0.5, 2, shape)


def share(*shape):
    return lambda rng: rng.uniform(0.05, 0.95, shape)


def apart(*shape):
    """Numbers from -2.1 to 2.2, all different, none near a whole number or 0."""

    def make(rng):
        n = math.prod(shape)
        return rng.permutation(np.linspace(-2.13, 2.17, n + n % 2)[:n]).reshape(shape)

    return make


def whole(high, *shape, dtype="int32"):
    return lambda rng: rng.integers(0, high, shape).astype(dtype)


def flags(*shape):
    return lambda rng: rng.random(shape) < 0.5


def summing_to_one(*shape):
    return lambda rng: sp.softmax(rng.standard_normal(shape), axis=-1)


KEY = np.array([11, 2, 5], np.uint64)
X = real(3, 4)
EPS = 1e-7


def relu(x, alpha=0.0, max_value=None, threshold=0.0):
    line = alpha * (x - threshold)
    top = np.inf if max_value is None else max_value
    return np.where(x >= top, top, np.where(x > threshold, x, line))


def bce(t, p, from_logits=False):
    if from_logits:
        p = sp.expit(p)
        return -sp.xlogy(t, p) - sp.xlog1py(1 - t, -p)
    return -t * np.log(p + EPS) - (1 - t) * np.log(1 - p + EPS)


def cce(t, p, from_logits=False, axis=-1):
    p = sp.softmax(p, axis=axis) if from_logits else p / p.sum(axis=axis, keepdims=True)
    return -sp.xlogy(t, p).sum(axis=axis)


def scce(t, p, from_logits=False, axis=-1, ignore_class=None):
    p = sp.softmax(p, axis=axis) if from_logits else p / p.sum(axis=axis, keepdims=True)
    p = np.moveaxis(p, axis, -1)
    t = t.reshape(p.shape[:-1])
    y = -np.log(np.take_along_axis(p, np.maximum(t, 0)[..., None], axis=-1)[..., 0])
    return y if ignore_class is None else np.where(t == ignore_class, 0, y)


def batch_dot(x, y, axes=None):
    axes = (axes, axes) if isinstance(axes, int) else axes or (x.ndim - 1, max(y.ndim - 2, 1))
    a, b = axes[0] % x.ndim, axes[1] % y.ndim
    z = np.stack([np.tensordot(p, q, (a - 1, b - 1)) for p, q in zip(x, y)])
    return z.reshape(-1, 1) if z.ndim == 1 else z


def l2(x, axis=None):
    axis = tuple(axis) if isinstance(axis, list) else axis
    return x / np.sqrt((x * x).sum(axis=axis, keepdims=True))


def unary(op, reference, make=X, **more):
    return [Case(op, [make], reference, **more)]


def placed(y, *indices, shape, key):
    x = np.zeros(shape, y.dtype)
    rest = iter(indices)
    np.add.at(x, tuple(next(rest) if isinstance(k, str) else k for k in key), y)
    return x


def placed_rows(rows, indices, shape):
    x = np.zeros(shape, rows.dtype)
    np.add.at(x, indices, rows)
    return x


ARITHMETIC = [
    Case(ops.add, [X, real(4)], np.add),
    Case(ops.add, [X, 2.5], np.add, label="number"),
    Case(ops.subtract, [X, real(1, 4)], np.subtract),
    Case(ops.multiply, [X, real(3, 1)], np.multiply),
    Case(ops.multiply, [real(5, 1, 4), X], np.multiply, label="both"),
    Case(ops.divide, [X, positive(4)], np.divide),
    Case(ops.divide, [1, positive(3, 4)], np.divide, label="number"),
    Case(ops.power, [positive(3, 4), real(4)], np.power),
    Case(ops.power, [X, 2], np.power, label="square"),
    Case(ops.power, [X, 3], np.power, label="cube"),
    Case(ops.power, [X, 0], np.power, label="zeroth"),
    Case(ops.power, [2.0, X], np.power, label="of_number"),
    Case(ops.floor_mod, [apart(3, 4), 0.7], np.mod, smooth=False),
    Case(ops.maximum, [apart(3, 4), real(4)], np.maximum),
    Case(ops.minimum, [apart(3, 4), 0.01], np.minimum),
    Case(ops.clip, [apart(3, 4), -1.0, 1.0], np.clip),
    Case(ops.clip, [apart(3, 4), None, share(4)], np.clip, label="tensor"),
    Case(ops.clip, [apart(3, 4), share(4), None], np.clip, label="tensor_below"),
    *unary(ops.negative, np.negative),
    *unary(ops.abs, np.abs, apart(3, 4)),
    *unary(ops.sign, np.sign, apart(3, 4)),
    *unary(ops.round, np.round, apart(3, 4)),
    *unary(ops.floor, np.floor, apart(3, 4)),
    *unary(ops.ceil, np.ceil, apart(3, 4)),
    *unary(ops.square, np.square),
    *unary(ops.sqrt, np.sqrt, positive(3, 4)),
    *unary(ops.rsqrt, lambda x: x**-0.5, positive(3, 4)),
    *unary(ops.reciprocal, lambda x: 1 / x, positive(3, 4)),
    *unary(ops.exp, np.exp),
    *unary(ops.expm1, np.expm1),
    *unary(ops.log, np.log, positive(3, 4)),
    *unary(ops.log1p, np.log1p, positive(3, 4)),
    *unary(ops.sin, np.sin),
    *unary(ops.cos, np.cos),
    *unary(ops.tan, np.tan, share(3, 4)),
    *unary(ops.arctan, np.arctan),
    *unary(ops.sinh, np.sinh),
    *unary(ops.cosh, np.cosh),
    *unary(ops.tanh, np.tanh),
]

NONLINEAR = [
    *unary(ops.sigmoid, sp.expit),
    *unary(ops.hard_sigmoid, lambda x: np.clip(0.2 * x + 0.5, 0, 1), lambda r: 4 * apart(3, 4)(r)),
    *unary(ops.relu, relu, apart(3, 4)),
    *unary(ops.relu, relu, apart(3, 4), label="leaky", alpha=0.2),
    *unary(ops.relu, relu, apart(3, 4), label="six", max_value=6),
    *unary(ops.relu, relu, apart(3, 4), label="all", alpha=0.2, max_value=1.5, threshold=0.5),
    *unary(ops.elu, lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x)), alpha=0.5),
    *unary(
        ops.selu,
        lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    ),
    *unary(ops.softplus, lambda x: np.logaddexp(x, 0)),
    *unary(ops.softsign, lambda x: x / (1 + np.abs(x)), apart(3, 4)),
    *unary(ops.swish, lambda x: x * sp.expit(x)),
    *unary(ops.mish, lambda x: x * np.tanh(np.logaddexp(x, 0))),
    *unary(ops.gelu, lambda x: x * sp.ndtr(x)),
    *unary(
        ops.gelu,
        lambda x, approximate: x * sp.expit(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
        label="tanh",
        approximate=True,
    ),
    *unary(ops.erf, sp.erf),
    *unary(ops.softmax, sp.softmax, axis=-1),
    *unary(ops.softmax, sp.softmax, real(3, 4, 5), label="axis1", axis=1),
    *unary(ops.log_softmax, sp.log_softmax, axis=-1),
    Case(
        ops.softmax_and_log,
        [real(3, 4)],
        lambda x, axis: (sp.softmax(x, axis=axis), sp.log_softmax(x, axis=axis)),
        axis=-1,
    ),
    *unary(ops.logsumexp, sp.logsumexp),
    *unary(ops.logsumexp, sp.logsumexp, label="kept", axis=1, keepdims=True),
    *unary(ops.l2_normalize, l2, axis=1),
    *unary(ops.l2_normalize, l2, real(3, 4, 5), label="axes", axis=[0, 2]),
]

LOGIC = [
    Case(ops.equal, [whole(3, 3, 4), whole(3, 4)], np.equal),
    Case(ops.not_equal, [whole(3, 3, 4), 1], np.not_equal),
    Case(ops.greater, [X, real(4)], np.greater),
    Case(ops.greater_equal, [X, 0.0], np.greater_equal),
    Case(ops.less, [X, real(4)], np.less),
    Case(ops.less_equal, [X, real(4)], np.less_equal),
    Case(ops.logical_and, [flags(3, 4), flags(4)], np.logical_and),
    Case(ops.logical_or, [flags(3, 4), flags(4)], np.logical_or),
    *unary(ops.logical_not, np.logical_not, flags(3, 4)),
    *unary(ops.isnan, np.isnan),
    *unary(ops.isinf, np.isinf),
    *unary(ops.isfinite, np.isfinite),
    Case(ops.where, [flags(3, 4), X, real(4)], np.where),
    Case(ops.where, [flags(3, 1), X, 1.5], np.where, label="number"),
    *unary(ops.cast, lambda x, dtype: x.astype(dtype), dtype="float64"),
    *unary(ops.identity, lambda x: x),
    *unary(ops.stop_gradient, lambda x: x),
]

REDUCE = [
    case
    for op, reference, make in [
        (ops.sum, np.sum, real(3, 4, 5)),
        (ops.mean, np.mean, real(3, 4, 5)),
        (ops.max, np.max, apart(3, 4, 5)),
        (ops.min, np.min, apart(3, 4, 5)),
        (ops.prod, np.prod, positive(3, 2, 2)),
        (ops.var, np.var, real(3, 4, 5)),
        (ops.std, np.std, real(3, 4, 5)),
        (ops.any, np.any, flags(3, 4, 5)),
        (ops.all, np.all, flags(3, 4, 5)),
    ]
    for case in [
        Case(op, [make], reference, loose=4),
        Case(op, [make], reference, label="axis", axis=-1),
        Case(op, [make], reference, label="axes", axis=(0, 2), keepdims=True),
    ]
] + [
    *unary(ops.argmax, np.argmax, apart(3, 4, 5), axis=-1),
    *unary(ops.argmin, np.argmin, apart(3, 4, 5), axis=1),
    *unary(ops.cumsum, np.cumsum, axis=0),
    *unary(ops.cumprod, np.cumprod, positive(3, 4), axis=1),
]

SHAPE = [
    *unary(ops.reshape, lambda x, shape: x.reshape(shape), shape=(2, -1)),
    *unary(ops.batch_flatten, lambda x: x.reshape(len(x), -1), real(3, 4, 5)),
    *unary(ops.expand_dims, np.expand_dims, axis=1),
    *unary(ops.squeeze, np.squeeze, real(3, 1, 4), axis=1),
    *unary(ops.transpose, lambda x: x.T),
    *unary(ops.transpose, lambda x, perm: x.transpose(perm), real(3, 4, 5), label="perm",
           perm=(1, -1, 0)),
    *unary(ops.broadcast_to, np.broadcast_to, real(1, 4), shape=(5, 2, 4)),
    Case(ops.concat, [X, real(3, 2), real(3, 1)], lambda *x, axis: np.concatenate(x, axis),
         axis=-1),
    Case(ops.concat, [real(4, 2), real(5, 2)], lambda *x, axis: np.concatenate(x, axis),
         label="axis0", axis=0),
    Case(ops.concat, [real(4, 2)] * 70, lambda *x, axis: np.concatenate(x, axis), label="many",
         axis=1),
    Case(ops.pack, [X] * 11, lambda *x, axis: np.stack(x, axis), label="many", axis=-1),
    *unary(ops.unstack, lambda x, axis: [x[:, i] for i in range(11)], real(3, 11), label="many",
           axis=1),
    Case(ops.pack, [X, X, X], lambda *x, axis: np.stack(x, axis), axis=1),
    *unary(ops.unstack, lambda x, axis: [x[:, i] for i in range(4)], axis=1),
    *unary(ops.split, lambda x, parts, axis: np.split(x, parts, axis), real(3, 6), label="equal",
           parts=3, axis=1),
    *unary(ops.split, lambda x, parts, axis: np.split(x, [2, 3], 1), real(3, 6), parts=[2, -1, 3],
           axis=1),
    *unary(ops.pad, lambda x, paddings: np.pad(x, paddings), paddings=((0, 0), (2, 1))),
    *unary(ops.pad, lambda x, paddings, constant_values:
           np.pad(x, paddings, constant_values=constant_values),
           label="ones", paddings=((0, 0), (2, 1)), constant_values=1.0),
    *unary(ops.tile, lambda x, n: np.tile(x, n), real(2, 4), n=(3, 2)),
    *unary(ops.repeat_elements, lambda x, rep, axis: np.repeat(x, rep, axis), rep=3, axis=1),
    *unary(ops.reverse, lambda x, axes: np.flip(x, axes), real(3, 4, 5), axes=(1, 2)),
    *unary(ops.zeros_like, np.zeros_like),
    *unary(ops.ones_like, np.ones_like),
    Case(ops.take_slice, [real(3, 4, 5)], lambda x, key: x[key],
         key=(Ellipsis, slice(None, None, -2), None)),
    Case(ops.take_slice, [real(3, 4, 5)], lambda x, key: x[key], label="int",
         key=(slice(None), 2, slice(1, 4))),
    Case(ops.take_slice, [real(3, 4, 5), whole(4, 2, 3)], lambda x, i, key: x[:, i, 1:],
         label="index", key=(slice(None), "index", slice(1, None))),
    Case(ops.take_slice, [real(3, 4, 5), whole(4, 6), whole(5, 6)], lambda x, i, j, key: x[:, i, j],
         label="indices", key=(slice(None), "index", "index")),
    Case(ops.put_slice, [real(4, 2)], placed, shape=(4, 5), key=(slice(None), slice(1, 3))),
    Case(ops.put_slice, [real(6, 2), whole(4, 6)], placed, label="index", shape=(4, 2),
         key=("index", slice(None))),
    Case(ops.gather, [real(5, 4), whole(5, 3, 6)], lambda x, i: x[i]),
    Case(ops.rows_in_order, [real(5, 4), whole(5, 6), lambda rng: np.array([2])],
         lambda x, order, place, rows: x[order[2 : 2 + rows]], rows=3),
    Case(ops.gather, [real(5), whole(5, 6)], lambda x, i: x[i], label="vector"),
    Case(ops.put_rows, [real(6, 2), whole(4, 6)], placed_rows, shape=(4, 2)),
    Case(ops.one_hot, [whole(5, 3, 4)], lambda i, num_classes: np.eye(num_classes)[i],
         num_classes=5),
]  # fmt: skip

LINALG = [
    Case(ops.matmul, [X, real(4, 5)], np.matmul),
    Case(ops.matmul, [real(3, 2, 4), real(4, 5)], np.matmul, label="broadcast"),
    Case(ops.matmul, [real(3, 2, 4), real(3, 4, 5)], np.matmul, label="batch"),
    Case(ops.matmul, [real(4), real(3, 4, 5)], np.matmul, label="vector_batch"),
    Case(ops.matmul, [real(3, 2, 4), real(4)], np.matmul, label="batch_vector"),
    Case(ops.matmul, [real(4), real(4)], np.matmul, label="vectors"),
    Case(ops.dense, [X, real(4, 5), real(5)], lambda x, k, b: x @ k + b),
    Case(ops.dense, [real(3, 2, 4), real(4, 5), real(5)], lambda x, k, b: x @ k + b, label="3d"),
    Case(ops.dense, [real(3, 2, 4), real(4, 5)], lambda x, k: x @ k, label="no_bias"),
    Case(
        ops.dense,
        [real(3, 2, 4), real(4, 5), real(5)],
        lambda x, k, b, relu: np.maximum(x @ k + b, 0),
        label="relu",
        relu=True,
    ),
    Case(ops.dot, [X, real(4, 5)], np.dot),
    Case(ops.dot, [real(3, 2, 4), real(5, 4, 2)], np.dot, label="3d"),
    Case(ops.dot, [real(3, 2, 4), real(4)], np.dot, label="vector"),
    Case(ops.tensordot, [real(3, 4, 5), real(5, 4, 2)], np.tensordot, axes=((1, 2), (1, 0))),
    Case(ops.tensordot, [real(3, 4), real(4, 2)], np.tensordot, axes=1, label="int"),
    Case(ops.batch_dot, [real(3, 4), real(3, 4)], batch_dot),
    Case(ops.batch_dot, [real(3, 2, 4), real(3, 4, 5)], batch_dot, label="3d"),
    Case(ops.batch_dot, [real(3, 4), real(3, 4, 5)], batch_dot, label="2d_3d", axes=(1, 1)),
    Case(ops.batch_dot, [real(3, 4, 2), real(3, 4)], batch_dot, label="3d_2d", axes=1),
    Case(ops.batch_dot, [real(3, 2, 4, 5), real(3, 4, 2)], batch_dot, label="4d", axes=(2, 1)),
]

LOSS = [
    Case(ops.categorical_crossentropy, [share(3, 4), share(3, 4)], cce),
    Case(ops.categorical_crossentropy, [share(3, 4, 2), share(3, 4, 2)], cce, label="axis", axis=1),
    # As a function of the logits alone: the op counts on targets that add up to 1.
    Case(ops.categorical_crossentropy, [np.eye(4, dtype="int32")[[0, 3, 1]], X], cce,
         label="logits", from_logits=True),
    Case(ops.sparse_categorical_crossentropy, [whole(4, 3), share(3, 4)], scce),
    Case(ops.sparse_categorical_crossentropy, [whole(4, 3, 5, 1), real(3, 5, 4)], scce,
         label="logits", from_logits=True),
    Case(ops.sparse_categorical_crossentropy, [whole(4, 3, 5), real(3, 4, 5)], scce,
         label="ignored", from_logits=True, axis=1, ignore_class=2),
    Case(ops.binary_crossentropy, [share(3, 4), share(3, 4)], bce, loose=2),
    Case(ops.binary_crossentropy, [share(3, 4), X], bce, label="logits", from_logits=True),
]  # fmt: skip

RANDOM = [
    Case(philox.random_bits, [KEY], None, n=13),
    Case(philox.random_bits, [KEY], None, label="32", n=13, width=32),
    Case(philox.random_bits, [KEY], None, label="16", n=13, width=16),
    Case(random.random_uniform, [KEY], None, shape=(3, 5), minval=-1.0, maxval=2.0),
    Case(random.random_normal, [KEY], None, shape=(3, 5), mean=1.0, stddev=2.0),
    Case(random.random_truncated_normal, [KEY], None, shape=(3, 5)),
    Case(random.random_binomial, [KEY], None, shape=(3, 5), p=0.3),
    Case(random.random_randint, [KEY], None, shape=(3, 5), low=-2, high=5),
    Case(random.random_dropout, [X, KEY], None, rate=0.4),
    Case(random.random_dropout, [X, KEY], None, label="rows", rate=0.4, noise_shape=(None, 1)),
]

CASES = ARITHMETIC + NONLINEAR + LOGIC + REDUCE + SHAPE + LINALG + LOSS + RANDOM

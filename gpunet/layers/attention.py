"""Attention: sums of values, weighted by how well keys fit queries."""

import math

from gpunet import arrays, constraints, initializers, ops, regularizers
from gpunet.autodiff import no_tape
from gpunet.context import name_scope
from gpunet.errors import ShapeError
from gpunet.layers.arguments import fraction, int_tuple, positive_int
from gpunet.layers.base import Layer, placeholders
from gpunet.layers.core import Dropout
from gpunet.layers.masks import mask_of
from gpunet.registry import layers as registered
from gpunet.tensor import Tensor

__all__ = ["Attention", "AdditiveAttention", "MultiHeadAttention"]


def _causal(length, other, like):
    """Return which of ``other`` steps each of ``length`` steps may see: those up to itself."""
    xp = arrays.module_of(like.array)
    return Tensor(xp.arange(length).reshape((length, 1)) >= xp.arange(other))


def _both(mask, other):
    """Return where two masks hold; None holds everywhere."""
    if mask is None or other is None:
        return other if mask is None else mask
    return ops.logical_and(mask, other)


def _weights(scores, mask, axis=-1):
    """Return the softmax of scores; where a mask doesn't hold they get a large negative number."""
    if mask is not None:
        low = -3e4 if scores.dtype == "float16" else -1e9  # a sum of it must stay finite
        off = ops.subtract(1.0, ops.cast(mask, scores.dtype.name))
        scores = ops.add(scores, ops.multiply(off, low))
    return ops.softmax(scores, axis=axis)


class _DenseAttention(Layer):
    """Base of the layers that are called on [query, value] or [query, value, key]."""

    has_shape_rule = True
    supports_masking = True

    def __init__(self, dropout=0.0, seed=None, causal=False, **kwargs):
        super().__init__(**kwargs)
        self.dropout = fraction(type(self).__name__, "dropout", dropout)
        self.causal = bool(causal)
        self._drop = Dropout(self.dropout, seed=seed)

    def scores(self, query, key):
        """Return how well each key fits each query, (N, Tq, Tv)."""
        raise NotImplementedError(f"{type(self).__name__} doesn't define scores(query, key)")

    def _check_inputs(self, inputs):
        if not isinstance(inputs, (list, tuple)) or not 2 <= len(inputs) <= 3:
            raise ValueError(
                f"{self._who}: expected a list [query, value] or [query, value, key], "
                f"got {inputs!r}"
            )
        query, value, key = (*inputs, inputs[1])[:3] if len(inputs) == 2 else inputs
        shapes = [tuple(t.shape) for t in (query, value, key)]
        known = [s[-1] for s in (shapes[0], shapes[2]) if len(s) == 3 and s[-1] is not None]
        if any(len(s) != 3 for s in shapes) or len(set(known)) > 1:
            raise ShapeError(
                f"{self._who}: expected query (N, Tq, dim), value (N, Tv, dim) and key "
                f"(N, Tv, dim), got shapes {shapes}"
            )

    def call(
        self,
        inputs,
        mask=None,
        training=None,
        return_attention_scores=False,
        use_causal_mask=False,
    ):
        query, value = inputs[0], inputs[1]
        key = inputs[2] if len(inputs) > 2 else value
        query_mask, value_mask = (mask[0], mask[1]) if mask else (None, None)
        scores = self.scores(query, key)
        seen = None if value_mask is None else ops.expand_dims(value_mask, -2)
        if self.causal or use_causal_mask:
            seen = _both(seen, _causal(*scores.shape[1:], scores))
        weights = _weights(scores, seen)
        y = ops.matmul(self._drop.call(weights, training=training), value)
        if query_mask is not None:
            y = ops.multiply(y, ops.cast(ops.expand_dims(query_mask, -1), y.dtype.name))
        return (y, weights) if return_attention_scores else y

    def compute_output_shape(self, input_shape):
        query, value = input_shape[0], input_shape[1]
        return (query[0], query[1], value[-1])

    def _infer(self, args, kwargs):
        shapes = [t.shape for t in args[0]]
        y = placeholders(self.compute_output_shape(shapes), self.compute_dtype)
        if not kwargs.get("return_attention_scores"):
            return y
        return y, placeholders((shapes[0][0], shapes[0][1], shapes[1][1]), self.compute_dtype)

    def compute_mask(self, inputs, mask=None):
        return mask[0] if mask else None

    @property
    def makes_masks(self):
        """bool, False: it only hands the query's on."""
        return False

    _own_mask_rule = False


@registered.register()
class Attention(_DenseAttention):
    """Attention whose scores are products of queries and keys.

    Args:
        use_scale: bool, whether the scores have a learned factor.
        score_mode: ``'dot'``, or ``'concat'`` for sums of ``tanh(query + key)``.
        **kwargs: see `Layer`; ``dropout``, part of the weights that is dropped in training;
            ``causal``, whether steps don't see later ones.

    Shapes:
        [(batch, Tq, dim), (batch, Tv, dim_v), (batch, Tv, dim)] -> (batch, Tq, dim_v)

    Reference:
        Luong et al., 2015, arXiv:1508.04025.
    """

    has_shape_rule = True

    def __init__(self, use_scale=False, score_mode="dot", **kwargs):
        super().__init__(**kwargs)
        if score_mode not in ("dot", "concat"):
            raise ValueError(
                f"Attention: expected score_mode 'dot' or 'concat', got {score_mode!r}"
            )
        self.use_scale, self.score_mode = bool(use_scale), score_mode

    def build(self, input_shape):
        self.scale = self.concat_score_weight = None
        if self.use_scale:
            self.scale = self.add_weight("scale", (), initializer="ones")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(
                "concat_score_weight", (), initializer="ones"
            )
        self.built = True

    def scores(self, query, key):
        if self.score_mode == "dot":
            scores = ops.matmul(query, ops.transpose(key, perm=(0, 2, 1)))
            return scores if self.scale is None else ops.multiply(scores, self.scale)
        both = ops.add(ops.expand_dims(query, -2), ops.expand_dims(key, -3))
        both = both if self.scale is None else ops.multiply(both, self.scale)
        return ops.multiply(ops.sum(ops.tanh(both), axis=-1), self.concat_score_weight)

    def get_config(self):
        found = {**super().get_config(), "dropout": self.dropout}
        return {**found, "use_scale": self.use_scale, "score_mode": self.score_mode}


@registered.register()
class AdditiveAttention(_DenseAttention):
    """Attention whose scores are sums of ``tanh(query + key)``.

    Args:
        use_scale: bool, whether there is a learned factor for each feature.
        **kwargs: see `Layer`; ``dropout``, part of the weights that is dropped in training;
            ``causal``, whether steps don't see later ones.

    Shapes:
        [(batch, Tq, dim), (batch, Tv, dim_v), (batch, Tv, dim)] -> (batch, Tq, dim_v)

    Reference:
        Bahdanau et al., 2014, arXiv:1409.0473.
    """

    has_shape_rule = True

    def __init__(self, use_scale=True, **kwargs):
        super().__init__(**kwargs)
        self.use_scale = bool(use_scale)

    def build(self, input_shape):
        size = (input_shape[1][-1],)
        self.scale = self.add_weight("scale", size) if self.use_scale else None
        self.built = True

    def scores(self, query, key):
        both = ops.tanh(ops.add(ops.expand_dims(query, -2), ops.expand_dims(key, -3)))
        both = both if self.scale is None else ops.multiply(both, self.scale)
        return ops.sum(both, axis=-1)

    def get_config(self):
        return {**super().get_config(), "dropout": self.dropout, "use_scale": self.use_scale}


class _Projection(Layer):
    """Affine map from the last axes of its input to new last axes.

    Args:
        size: tuple, the new axes.
        bound: int, how many axes of the input are summed over.
        options: dict, initializers and so on of kernel and bias.
    """

    has_shape_rule = True

    def __init__(self, size, bound, use_bias, options, **kwargs):
        super().__init__(**kwargs)
        self.size, self.bound, self.use_bias = size, bound, use_bias
        vars(self).update(options)

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (*input_shape[-self.bound :], *self.size))
        self.bias = self.add_weight("bias", self.size) if self.use_bias else None
        self.built = True

    def call(self, inputs):
        shape = tuple(map(int, inputs.shape))
        width = math.prod(shape[-self.bound :])
        rest = shape[: -self.bound]
        kernel = ops.reshape(self.kernel, (width, math.prod(self.size)))
        bias = None if self.bias is None else ops.reshape(self.bias, (math.prod(self.size),))
        y = ops.dense(ops.reshape(inputs, (*rest, width)), kernel, bias)
        return ops.reshape(y, (*rest, *self.size))

    def compute_output_shape(self, input_shape):
        return (*tuple(input_shape)[: -self.bound], *self.size)


@registered.register()
class MultiHeadAttention(Layer):
    """Several attentions side by side, each on projections of its own, and a last projection.

    It is called as ``layer(query, value, key=value, attention_mask=None,
    return_attention_scores=False, use_causal_mask=False)``.

    Args:
        num_heads: int > 0.
        key_dim: int > 0, size of each head's queries and keys.
        value_dim: int > 0, size of each head's values; ``key_dim`` by default.
        dropout: float in [0, 1), part of the weights that is dropped in training.
        use_bias: bool.
        output_shape: int or tuple, the last axes of the output; the query's by default.
        attention_axes: int or tuple, over which axes attention goes; by default over all but
            the batch and the features.
        kernel_initializer, bias_initializer: see `gpunet.initializers`.
        kernel_regularizer, bias_regularizer, activity_regularizer: see `gpunet.regularizers`.
        kernel_constraint, bias_constraint: see `gpunet.constraints`.
        softmax_robust_masking: changes nothing here.
        **kwargs: see `Layer`.

    Shapes:
        query (batch, Tq, dim), value (batch, Tv, dim_v) -> (batch, Tq, dim), scores (batch,
        num_heads, Tq, Tv)

    Reference:
        Vaswani et al., 2017, arXiv:1706.03762.
    """

    has_shape_rule = True
    supports_masking = True

    def __init__(
        self,
        num_heads,
        key_dim,
        value_dim=None,
        dropout=0.0,
        use_bias=True,
        output_shape=None,
        attention_axes=None,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        softmax_robust_masking=False,
        **kwargs,
    ):
        shapes = [kwargs.pop(f"{n}_shape", None) for n in ("query", "value", "key")]
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.num_heads = positive_int("MultiHeadAttention", "num_heads", num_heads)
        self.key_dim = positive_int("MultiHeadAttention", "key_dim", key_dim)
        self.value_dim = positive_int("MultiHeadAttention", "value_dim", value_dim or key_dim)
        self.dropout = fraction("MultiHeadAttention", "dropout", dropout)
        self.use_bias = bool(use_bias)
        self._output_size = (
            None
            if output_shape is None
            else int_tuple("MultiHeadAttention", "output_shape", output_shape)
        )
        self.attention_axes = (
            None
            if attention_axes is None
            else int_tuple("MultiHeadAttention", "attention_axes", attention_axes)
        )
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.softmax_robust_masking = bool(softmax_robust_masking)
        if None not in shapes:
            self._build_from(*shapes)

    # -- building ---------------------------------------------------------------------------

    def __call__(self, query, value, key=None, **kwargs):
        """Apply the layer; see the class for the arguments."""
        if key is None:
            key = value
        shapes = [getattr(t, "shape", None) for t in (query, value, key)]
        if None in shapes:
            raise TypeError(f"{self._who}: expected tensors or arrays as query, value and key")
        self._build_from(*shapes)
        return super().__call__(query, value, key, **kwargs)

    def _build_from(self, query, value, key):
        query, value, key = map(tuple, (query, value, key))
        if value[:-1] != key[:-1] or len(query) < 3 or len(query) != len(value):
            raise ShapeError(
                f"{self._who}: expected a query (N, Tq, dim), and a value and a key (N, Tv, dim) "
                f"of as many axes, got shapes {query}, {value} and {key}"
            )
        if self.built:
            return
        self._shapes = {"query_shape": query, "key_shape": key, "value_shape": value}
        rank = len(query)
        self._axes = (
            tuple(range(1, rank - 1))
            if self.attention_axes is None
            else tuple(a % rank for a in self.attention_axes)
        )
        heads = self.num_heads
        size = self._output_size or query[-1:]
        self._query_dense = self._projection("query", (heads, self.key_dim), 1, query)
        self._key_dense = self._projection("key", (heads, self.key_dim), 1, key)
        self._value_dense = self._projection("value", (heads, self.value_dim), 1, value)
        self._drop = Dropout(self.dropout)
        inner = (*query[:-1], heads, self.value_dim)
        self._output_dense = self._projection("attention_output", size, 2, inner)
        self.built = True

    def _projection(self, name, size, bound, shape):
        kinds = ("initializer", "regularizer", "constraint")
        options = {f"{w}_{k}": getattr(self, f"{w}_{k}") for w in ("kernel", "bias") for k in kinds}
        layer = _Projection(size, bound, self.use_bias, options, name=name, dtype=self.dtype_policy)
        with no_tape(), name_scope(self.name):
            layer._build_if_needed(placeholders(shape, self.compute_dtype))
        return layer

    # -- running ----------------------------------------------------------------------------

    def call(
        self,
        query,
        value,
        key=None,
        attention_mask=None,
        return_attention_scores=False,
        training=None,
        use_causal_mask=False,
    ):
        key = value if key is None else key
        mask = self._mask(query, value, key, attention_mask, use_causal_mask)
        value, key = self.cast_inputs(value), self.cast_inputs(key)
        query = ops.multiply(self._query_dense.call(query), 1 / math.sqrt(self.key_dim))
        key, value = self._key_dense.call(key), self._value_dense.call(value)
        rank = query.ndim
        outer = [i for i in range(rank - 1) if i not in self._axes]  # the heads are the last
        order = (*outer, *self._axes, rank - 1)
        query, key, value = (ops.transpose(t, perm=order) for t in (query, key, value))
        batch = tuple(map(int, query.shape[: len(outer)]))
        steps, others = (tuple(map(int, t.shape[len(outer) : -1])) for t in (query, value))
        query, key, value = (
            ops.reshape(t, (*batch, -1 if t.size else math.prod(n), t.shape[-1]))
            for t, n in ((query, steps), (key, others), (value, others))
        )
        last = (*range(len(batch)), len(batch) + 1, len(batch))
        scores = ops.matmul(query, ops.transpose(key, perm=last))
        weights = self._softmax(scores, mask, (*batch, *steps, *others))
        y = ops.matmul(self._drop.call(weights, training=training), value)
        y = ops.reshape(y, (*batch, *steps, self.value_dim))
        y = self._output_dense.call(ops.transpose(y, perm=[order.index(i) for i in range(rank)]))
        if not return_attention_scores:
            return y
        return y, ops.reshape(weights, (*batch, *steps, *others))

    def _softmax(self, scores, mask, shape):
        """Return the softmax of scores (..., Tq, Tv) under a mask over all axes of ``shape``."""
        if mask is not None:
            for _ in range(len(shape) - len(mask.shape)):
                mask = ops.expand_dims(mask, -2 * len(self._axes) - 1)
            mask = ops.reshape(ops.broadcast_to(mask, shape), tuple(scores.shape))
        return _weights(scores, mask)

    @staticmethod
    def _mask(query, value, key, mask, causal):
        query_mask, value_mask, key_mask = map(mask_of, (query, value, key))
        mask = None if mask is None else ops.cast(mask, "bool")
        if query_mask is not None:
            mask = _both(mask, ops.expand_dims(query_mask, -1))
        for steps in (value_mask, key_mask):
            if steps is not None:
                mask = _both(mask, ops.expand_dims(steps, -2))
        if causal:
            mask = _both(mask, _causal(query.shape[1], value.shape[1], query))
            mask = ops.expand_dims(mask, 0) if len(mask.shape) == 2 else mask
        return mask

    def compute_output_shape(self, input_shape):
        """Return the shape of the output for that of the query."""
        return (*tuple(input_shape)[:-1], *(self._output_size or tuple(input_shape)[-1:]))

    def _infer(self, args, kwargs):
        query, value = (tuple(t.shape) for t in args[:2])
        y = placeholders(self.compute_output_shape(query), self.compute_dtype)
        if not kwargs.get("return_attention_scores"):
            return y
        outer = [n for i, n in enumerate(query[:-1]) if i not in self._axes]
        steps = [s[a] for s in (query, value) for a in self._axes]
        return y, placeholders((*outer, self.num_heads, *steps), self.compute_dtype)

    def get_config(self):
        found = self._base_config()
        names = ("num_heads", "key_dim", "value_dim", "dropout", "use_bias")
        found.update((n, getattr(self, n)) for n in names)
        found.update(output_shape=self._output_size, attention_axes=self.attention_axes)
        for kind, module in (
            ("initializer", initializers),
            ("regularizer", regularizers),
            ("constraint", constraints),
        ):
            for weight in ("kernel", "bias"):
                name = f"{weight}_{kind}"
                found[name] = module.serialize(getattr(self, name))
        found["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        found["softmax_robust_masking"] = self.softmax_robust_masking
        shapes = {"query_shape": None, "key_shape": None, "value_shape": None}
        found.update(self._shapes if self.built else shapes)
        return found

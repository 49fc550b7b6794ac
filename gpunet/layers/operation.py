"""Ops called on symbolic tensors: each call becomes a layer of its own in the graph."""

import functools

import numpy as np

from gpunet.autodiff import Op
from gpunet.autodiff.autocast import dtype_seen
from gpunet.context import tracing, unique_name
from gpunet.graph import SymbolicTensor
from gpunet.layers.base import Layer
from gpunet.stand_ins import current
from gpunet.tensor import Operators, convert_to_tensor

__all__ = ["GraphCall", "OpLayer"]


class GraphCall(Layer):
    """Base of the layers behind functions that were called on symbolic tensors.

    Attributes:
        function: what was called.
    """

    built = True
    class_label = "TFOpLambda"  # Keras's class of such layers, for summaries
    named = staticmethod(lambda function: None)  # set by gpunet.saving: what Keras calls a function
    _autocast = _casts_weights = False

    def __init__(self, function, **kwargs):
        base = self.named(function)
        if base is not None and kwargs.get("name") is None:
            kwargs["name"] = unique_name(base)
        super().__init__(**kwargs)
        self.function = function

    def _to_tensors(self, inputs):
        return inputs

    def _clone(self):
        if getattr(self.function, "is_bound", False):
            raise NotImplementedError(
                f"{self._who}: it is bound to the weights of its model and can't be cloned"
            )
        return type(self)(self.function, **self._clone_options(), **self._base_config())

    def _clone_options(self):
        return {}

    def get_config(self):
        """Raise NotImplementedError: only a model's config can hold its functions."""
        called = getattr(self.function, "__name__", None) or repr(self.function)
        raise NotImplementedError(
            f"{self.name!r} is the function {called!r} called on symbolic tensors; it is written "
            "with the config of its model"
        )


class OpLayer(GraphCall):
    """A layer that applies one op.

    Args:
        op: the Op.
        options: dict of its options.
    """

    def __init__(self, op, options, **kwargs):
        super().__init__(op, **kwargs)
        self.options = options

    def call(self, *args):
        if self.function.variadic:  # these take no numbers, which is what sizes of tensors are
            args = [convert_to_tensor(a) for a in args]
        return self.function(*args, **self.options)

    def _clone_options(self):
        return {"options": self.options}

    def _trace(self, args, kwargs):
        return infer(self.function, args, self.options)


def infer(op, args, options):
    """Return what an op gives on symbolic tensors: shape and dtype, no values.

    Args:
        op: Op.
        args: tuple of symbolic tensors, tensors and Python numbers.
        options: dict of the op's options.

    Returns:
        SymbolicTensor, or a tuple of them for an op with several results.
    """
    if op.infer is None:
        raise TypeError(
            f"op {op.name!r} can't be used on symbolic tensors; put it in a Lambda layer"
        )
    shapes = [tuple(getattr(a, "shape", ())) for a in args]
    shape = op.infer(*shapes, **options)
    dtypes = _dtypes(op, args, shapes, options)
    if isinstance(shape, list):
        return tuple(SymbolicTensor(s, d) for s, d in zip(shape, dtypes, strict=True))
    return SymbolicTensor(shape, dtypes)


def _dtypes(op, args, shapes, options):
    if op.keeps_dtype and hasattr(args[0], "dtype"):
        return args[0].dtype
    kinds = tuple(
        str(dtype_seen(a)) if hasattr(a, "dtype") else a if isinstance(a, (int, float)) else None
        for a in args
    )
    try:
        return _run_for_dtype(op, kinds, tuple(shapes), tuple(sorted(options.items())))
    except TypeError:  # an option that can't be hashed
        return _run_for_dtype.__wrapped__(op, kinds, tuple(shapes), tuple(options.items()))


@functools.lru_cache(maxsize=4096)
def _run_for_dtype(op, kinds, shapes, options):
    """Run the op on zeros, free sizes being 1, and look at the dtype of the result."""
    values = [
        np.zeros([1 if n is None else n for n in shape], kind) if isinstance(kind, str) else kind
        for kind, shape in zip(kinds, shapes, strict=True)
    ]
    with np.errstate(all="ignore"):
        y = op(*values, **dict(options))
    return tuple(t.dtype for t in y) if isinstance(y, tuple) else y.dtype


def _on_symbolic(op, args, options):
    args = tuple([a if a is None or _fits(a) else convert_to_tensor(a) for a in args])
    stand_ins = current()
    if stand_ins is not None:
        args = stand_ins.resolve(args)
        if not tracing():
            return op(*args, **options)
    if tracing():
        return infer(op, args, options)
    return OpLayer(op, options)(*args)


def _fits(value):
    """Return whether an op takes a value as it is: a tensor or a number."""
    return isinstance(value, (Operators, int, float))


Op.on_symbolic = staticmethod(_on_symbolic)

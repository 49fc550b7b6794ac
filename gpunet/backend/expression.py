"""Functions that aren't ops, called on symbolic tensors: the whole call becomes one node."""

import functools
import inspect

from gpunet.context import learning_phase_scope, trace_scope, tracing, unique_name
from gpunet.graph import SymbolicTensor
from gpunet.layers.operation import GraphCall
from gpunet.nest import flatten
from gpunet.stand_ins import current

__all__ = ["Expression", "expression", "on_graph"]


class Expression(GraphCall):
    """A layer that calls a function on whatever it is given, tensors and plain values.

    Args:
        function: function that works on Tensors, and on symbolic tensors while it is traced.
        **kwargs: see `Layer`.
    """

    def call(self, *args, **kwargs):
        return self.function(*args, **kwargs)

    def _trace(self, args, kwargs):
        with trace_scope():
            return self.function(*args, **kwargs)

    def _output(self, t, keep_mask):
        made = super()._output(t, keep_mask)
        if not isinstance(t, SymbolicTensor) or type(t) is SymbolicTensor:
            return made
        return type(t)(made.name)  # a size stays a size

    def _invoke(self, args, kwargs, training):
        # Sizes stay Python's ints, which no device has to hand back.
        with learning_phase_scope(training):
            y = self.function(*args, **kwargs)
        if any(isinstance(t, SymbolicTensor) for t in flatten(y)):
            raise TypeError(
                f"{self._who}: its function uses a symbolic tensor from around it, which has no "
                "value when the graph runs; give it to the function as an argument"
            )
        return y


def on_graph(*nest):
    """Return whether symbolic tensors are among nested values, and a graph is being built."""
    return not tracing() and any(isinstance(t, SymbolicTensor) for t in flatten(nest))


def expression(function):
    """Decorator: called on tensors of a graph, a function becomes a node of it."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def run(*args, **kwargs):
        stand_ins = current()
        if stand_ins is not None:
            args, kwargs = stand_ins.resolve((args, kwargs))
        if on_graph(args, kwargs):
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            name = unique_name(function.__name__.strip("_"))
            return Expression(function, name=name)(*given.args)
        return function(*args, **kwargs)

    return run

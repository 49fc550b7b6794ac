"""What depends on training or a condition, and gradients and functions of a graph."""

import numpy as np

from gpunet import arrays, ops
from gpunet.autodiff import GradientTape
from gpunet.backend.expression import Expression, expression, on_graph
from gpunet.context import learning_phase, learning_phase_scope, unique_name
from gpunet.errors import GraphError
from gpunet.graph import Graph, SymbolicTensor
from gpunet.layers.input import Input, InputLayer
from gpunet.nest import flatten, pack
from gpunet.stand_ins import current
from gpunet.tensor import Tensor, convert_to_tensor
from gpunet.variables import Variable

__all__ = ["function", "gradients", "in_test_phase", "in_train_phase", "switch"]


# -- choices ------------------------------------------------------------------------------


def _value(x):
    return x() if callable(x) else x


@expression
def _by_phase(x, alt):
    return convert_to_tensor(x if learning_phase() else alt)


def in_train_phase(x, alt, training=None):
    """Return ``x`` while a model is trained, else ``alt``.

    Args:
        x: tensor, or function that returns one.
        alt: tensor, or function that returns one.
        training: bool or int in place of the learning phase; a tensor chooses when it is
            computed.
    """
    if training is not None and not isinstance(training, (bool, int, np.bool_, np.integer)):
        return switch(training, x, alt)
    if training is not None:
        return _value(x if training else alt)
    phase = learning_phase()
    chosen, other = (_value(x), alt) if phase else (_value(alt), x)
    if not on_graph(chosen, other):
        return chosen
    other = _value(other)
    return _by_phase(chosen, other) if phase else _by_phase(other, chosen)


def in_test_phase(x, alt, training=None):
    """Return ``x`` unless a model is trained, then ``alt``; see `in_train_phase`."""
    return in_train_phase(alt, x, training)


def switch(condition, then_expression, else_expression):
    """Return one expression where a condition holds and the other elsewhere.

    Both are computed, since looking at the condition would make a device wait.

    Args:
        condition: bool, or tensor with at most as many axes as the expressions: its axes are
            their first ones.
        then_expression: tensor, or function that returns one.
        else_expression: tensor, or function that returns one.

    Raises:
        ValueError: a condition with more axes.
    """
    if isinstance(condition, (bool, int, np.bool_)):
        return _value(then_expression if condition else else_expression)
    condition = convert_to_tensor(condition)
    x, y = convert_to_tensor(_value(then_expression)), convert_to_tensor(_value(else_expression))
    rank, wanted = len(condition.shape), max(len(x.shape), len(y.shape))
    if rank > wanted:
        raise ValueError(
            "Rank of `condition` should be less than or equal to rank of `then_expression` and "
            f"`else_expression`. ndim(condition)={rank}, ndim(then_expression)={wanted}"
        )
    if rank:
        for _ in range(wanted - rank):
            condition = ops.expand_dims(condition, axis=-1)
    return ops.where(condition, x, y)


# -- a part of a graph as a function ------------------------------------------------------


class _Part(Graph):
    """Graph from any tensors to others, for one use of its values.

    Args:
        inputs: list of symbolic tensors, in the middle of a graph or at its start.
        outputs: list of symbolic tensors.
        name: str, for error texts.
    """

    def __init__(self, inputs, outputs, name):
        aliases = {
            t: Input(batch_shape=t.shape, dtype=t.dtype.name, name=unique_name(f"{name}_input"))
            for t in inputs
            if not isinstance(getattr(t.node, "layer", None), InputLayer)
        }
        super().__init__([aliases.get(t, t) for t in inputs], outputs, name, aliases)


def _check(given, what, name):
    for t in given:
        if not isinstance(t, SymbolicTensor) or t.node is None:
            raise GraphError(
                f"{name}: expected tensors of a graph as {what}, got {t!r}. Inside the call of a "
                "layer or a Lambda, GradientTape gives gradients."
            )


class Function:
    """A part of a graph that is fed arrays and gives arrays; made by `function`."""

    def __init__(self, inputs, outputs, updates, name):
        self.inputs = flatten(inputs)
        self.outputs, self.name = outputs, name
        self._single = not isinstance(inputs, (list, tuple, dict))
        pairs = [u for u in updates if isinstance(u, (list, tuple))]
        self._targets = [x for x, _ in pairs]
        wanted = [*flatten(outputs), *[new for _, new in pairs]]
        wanted += [u for u in updates if not isinstance(u, (list, tuple))]
        self._wanted = wanted
        symbolic = [t for t in wanted if isinstance(t, SymbolicTensor)]
        starts = [t for t in self.inputs if isinstance(t, SymbolicTensor)]
        _check(starts + symbolic, "inputs and outputs", "K.function")
        self._starts = starts
        self._graph = _Part(starts, symbolic, name) if symbolic else None

    def __call__(self, inputs=()):
        """Return the outputs as NumPy arrays, in the structure in which they were given.

        Args:
            inputs: list of arrays; a number in place of the learning phase.
        """
        given = [inputs] if self._single else _fed(inputs)
        if len(given) != len(self.inputs):
            raise ValueError(
                f"K.function {self.name!r}: expected {len(self.inputs)} inputs, got {len(given)}"
            )
        values, phase = [], None
        for t, value in zip(self.inputs, given):
            if isinstance(t, SymbolicTensor):
                values.append(convert_to_tensor(value, t.dtype))
            else:
                phase = int(np.asarray(value))
        with learning_phase_scope(phase):
            results = self._run(values)
        count = len(flatten(self.outputs))
        for x, new in zip(self._targets, results[count:]):
            x.assign(new)
        return pack(self.outputs, [_host(y) for y in results[:count]])

    def _run(self, values):
        made = iter(())
        if self._graph is not None:
            made = iter(self._graph.run(values, bool(learning_phase())))
        return [next(made) if isinstance(t, SymbolicTensor) else t for t in self._wanted]


def _fed(inputs):
    """Return what a function is fed as a list; arrays, and lists of numbers, are single values."""
    if isinstance(inputs, dict):
        return list(inputs.values())
    return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]


def _host(y):
    return arrays.to_host(y.array).copy() if isinstance(y, Tensor) else np.asarray(y)


def function(inputs, outputs, updates=None, name=None, **kwargs):
    """Return a Python function of a part of a graph.

    Args:
        inputs: list of symbolic tensors, at the start of a graph or anywhere in it.
            `K.learning_phase()` among them stands for the phase, 0 or 1, that is fed.
        outputs: list of symbolic tensors and variables, or one alone.
        updates: list of (variable, symbolic tensor that is written into it), or of what
            `K.update` gave; done after the outputs were computed.
        name: str.
        **kwargs: nothing; arguments of TensorFlow's sessions are refused.

    Returns:
        Function of a list of arrays that gives NumPy arrays.

    Raises:
        GraphError: outputs that can't be computed from the inputs.
    """
    if kwargs:
        raise ValueError(f"K.function: unknown argument(s) {sorted(kwargs)}")
    return Function(inputs, outputs, updates or [], name or unique_name("function"))


# -- gradients ----------------------------------------------------------------------------


def _ancestors(tensors):
    """Return all tensors that some tensors of a graph are made from, and themselves, in order."""
    found, waiting = {}, list(tensors)
    while waiting:
        t = waiting.pop()
        if t not in found:
            found[t] = None
            waiting += t.node.inputs
    return list(found)


class _Gradient:
    """Function of a variable and the inputs around it that gives one gradient.

    Args:
        losses: list of symbolic tensors.
        variable: symbolic tensor that they are made from, or a Variable.
        roots: list of the graph's inputs.
    """

    is_bound = True  # to the layers of the graph, of which a clone would have others

    def __init__(self, losses, variable, roots):
        self.variable = variable if isinstance(variable, Variable) else None
        starts = roots if self.variable is not None else [variable, *roots]
        self.graph = _Part(starts, losses, "gradients")
        self.shape, self.dtype = tuple(variable.shape), variable.dtype

    def __call__(self, *values):
        if any(isinstance(v, SymbolicTensor) for v in values):
            shape = self.shape if self.variable is not None else values[0].shape
            return SymbolicTensor(shape, self.dtype)
        values = list(values)
        with GradientTape() as tape:
            if self.variable is None:
                # A tensor of its own, so that an outer tape sees through this one.
                values[0] = source = ops.identity(values[0])
            else:
                source = self.variable
            tracked = source.tracked
            tape.watch(source)
            losses = self.graph.run(values, bool(learning_phase()))
        try:
            return tape.gradient(losses, source, unconnected_gradients="zero")
        finally:
            if self.variable is not None:
                source.tracked = tracked


def gradients(loss, variables):
    """Return the gradients of a loss, tensors of the graph themselves.

    What lies between a variable and the loss is computed once more for its gradient; random
    numbers in there are drawn anew.

    Args:
        loss: symbolic tensor, or a list of them, all of whose elements are added up.
        variables: symbolic tensor anywhere in the graph, Variable, or a list of them.

    Returns:
        List of symbolic tensors; None for a tensor of integers, and for one that the loss isn't
        made from.

    Raises:
        GraphError: a loss that isn't a tensor of a graph.
    """
    losses = flatten(loss)
    stand_ins = current()
    if stand_ins is not None:
        single = not isinstance(variables, (list, tuple))
        return stand_ins.gradients(losses, [variables] if single else list(variables))
    _check(losses, "the loss", "K.gradients")
    listed = list(variables) if isinstance(variables, (list, tuple)) else [variables]
    made_from = _ancestors(losses)
    roots = [t for t in made_from if isinstance(t.node.layer, InputLayer)]
    found = []
    for v in listed:
        if not isinstance(v, Variable):
            _check([v], "variables", "K.gradients")
            if v not in made_from or v.dtype.kind != "f":
                found.append(None)
                continue
        around = [t for t in roots if t is not v]
        given = around if isinstance(v, Variable) else [v, *around]
        layer = Expression(_Gradient(losses, v, around), name=unique_name("gradients"))
        found.append(layer(*given))
    return found

"""Symbolic tensors in losses and metrics, for which the values of the batch stand in.

A loss or metric may use tensors of the graph beside its arguments, as that of a variational
autoencoder does.  Which ones is found beforehand (`mentioned`, `Survey`); the graph then keeps
their values, and while losses are computed every function that meets such a tensor takes its value.
"""

import functools
import types
from contextvars import ContextVar

from gpunet.autodiff import Tape
from gpunet.context import trace_scope
from gpunet.errors import GraphError
from gpunet.graph import SymbolicTensor
from gpunet.nest import flatten, map_nest
from gpunet.tensor import Tensor

__all__ = ["StandIns", "Survey", "current", "may_reach", "mentioned"]

# Names by which code comes to tensors of a graph that it doesn't hold.
_WAYS = {"gradients", "input", "output", "get_layer", "get_output_at"}

_current = ContextVar("gpunet_stand_ins", default=None)


def current():
    """Return the `StandIns` or `Survey` at work, or None."""
    return _current.get()


class _Active:
    def __enter__(self):
        self._token = _current.set(self)
        return self

    def __exit__(self, *_):
        _current.reset(self._token)


class StandIns(_Active):
    """The values of some symbolic tensors in the batch that is worked on.

    Args:
        tensors: list of SymbolicTensors.
        watched: set of those that gradients are taken with respect to.

    Attributes:
        values: list of Tensors, in the order of ``tensors``.
        tape: Tape of what led to the outputs, if gradients are taken; else None.
    """

    def __init__(self, tensors, watched):
        self.tensors = list(tensors)
        self.watched = watched
        self._places = {t: i for i, t in enumerate(self.tensors)}
        self.values = self.tape = None

    def record(self):
        """Begin to record, if a loss takes gradients."""
        if self.watched:
            self.tape = Tape()
            self.tape.start()

    def __exit__(self, *_):
        super().__exit__()
        if self.tape is not None:
            self.tape.stop()
            self.tape = None

    def resolve(self, nest):
        """Return nested arguments with values in the place of symbolic tensors."""
        return map_nest(self._value, nest)

    def _value(self, leaf):
        if not isinstance(leaf, SymbolicTensor) or leaf.node is None:
            return leaf
        place = self._places.get(leaf)
        if place is None or self.values is None:
            raise GraphError(
                f"a loss or metric uses {leaf!r}, for which there is no value here; make it an "
                "output of the model, or give the function the tensor itself, as a variable from "
                "around it or by functools.partial"
            )
        return self.values[place]

    def gradients(self, losses, variables):
        """Return the gradients of values of losses with respect to symbolic tensors or others."""
        if self.tape is None:
            raise GraphError(
                "K.gradients: gradients can be taken in losses, whose tensors are known before"
            )
        sources = [self._value(v) for v in variables]
        seeds = {}
        for loss in losses:
            one = Tensor(_ones(self._value(loss).array))
            seeds[id(self._value(loss))] = one
        walk = Tape()
        walk.entries = list(self.tape.entries)
        return walk.pull(seeds, sources, True)


def _ones(array):
    ones = array * 0  # in the memory of its own device
    ones += 1
    return ones


class Survey(_Active):
    """Finds the symbolic tensors of a graph that a function uses, while it is traced.

    Attributes:
        used: dict SymbolicTensor -> None, in order.
        watched: set of those that gradients are taken with respect to.
    """

    def __init__(self):
        self.used, self.watched = {}, set()

    def resolve(self, nest):
        """Note the tensors of the graph in nested arguments; return these as they are."""
        for leaf in flatten(nest):
            if isinstance(leaf, SymbolicTensor) and leaf.node is not None:
                self.used[leaf] = None
        return nest

    def gradients(self, losses, variables):
        """Note what gradients are taken of, and return tensors of their shapes."""
        self.resolve([losses, variables])
        self.watched.update(v for v in variables if isinstance(v, SymbolicTensor))
        return [SymbolicTensor(v.shape, v.dtype) for v in variables]

    def trace(self, function, *tensors):
        """Call a function for the sake of what it uses; return whether it ran to its end."""
        try:
            with self, trace_scope():
                function(*tensors)
        except Exception:  # it looks at values, which there aren't
            return False
        return True


def mentioned(function):
    """Return the symbolic tensors that a function holds on to: from around it, or in its object.

    Args:
        function: function, method, partial, or object with ``call`` or ``update_state``.

    Returns:
        dict SymbolicTensor -> None, in order.
    """
    found = {}
    _search(function, found, 3, set())
    return found


def may_reach(function):
    """Return whether a function's code asks layers or models for tensors of their graph."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code is not None and not _WAYS.isdisjoint(code.co_names)


def _search(value, found, depth, seen):
    if isinstance(value, SymbolicTensor):
        if value.node is not None:
            found[value] = None
        return
    if depth < 0 or id(value) in seen:
        return
    seen.add(id(value))
    for part in _parts(value):
        _search(part, found, depth - 1, seen)


def _parts(value):
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, types.MethodType):
        own = getattr(value.__self__, "__dict__", {})
        # A layer knows the graph around it; its loss needs what it put on itself.
        return [value.__func__, [v for k, v in own.items() if not k.startswith("_")]]
    if isinstance(value, types.FunctionType):
        names = value.__code__.co_names
        cells = [_content(c) for c in value.__closure__ or ()]
        return [
            cells,
            value.__defaults__ or (),
            value.__kwdefaults__ or {},
            [value.__globals__[n] for n in names if n in value.__globals__],
        ]
    methods = [getattr(type(value), n, None) for n in ("call", "update_state", "fn")]
    if callable(value) and type(value).__module__.partition(".")[0] != "builtins":
        return [*[m for m in methods if isinstance(m, types.FunctionType)], vars_of(value)]
    return []


def vars_of(value):
    """Return an object's own attributes as a list; a layer's or a model's aren't looked into."""
    if hasattr(value, "_inbound_nodes"):
        return []
    return list(getattr(value, "__dict__", {}).values())


def _content(cell):
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None

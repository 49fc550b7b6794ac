"""The functional graph: symbolic tensors, the calls that join them, and running it.

A `Node` is one call of a layer.  A `Graph` finds the nodes between given inputs and outputs,
orders them once, and runs them on real tensors as a flat list of steps.
"""

import collections

import numpy as np

from gpunet.context import trace_scope
from gpunet.errors import GraphError
from gpunet.nest import flatten, pack
from gpunet.tensor import Shape, Symbolic

__all__ = ["SymbolicTensor", "Node", "Graph", "history_of"]

History = collections.namedtuple("History", "layer node_index tensor_index")


class SymbolicTensor(Symbolic):
    """A tensor of a graph under construction: shape and dtype, no values.

    Attributes:
        shape: Shape, None for sizes that aren't known yet.
        dtype: numpy.dtype.
        name: str.
        node: Node that produces it, None inside the ``call`` of a layer being traced.
    """

    def __init__(self, shape, dtype, name=None):
        self.shape = Shape(shape)
        self.dtype = np.dtype(dtype)
        self.name = name
        self.node = None
        self.tensor_index = 0
        self._keras_mask = None

    @property
    def _keras_history(self):
        if self.node is None:
            raise AttributeError("this symbolic tensor belongs to no graph")
        return History(self.node.layer, self.node.index, self.tensor_index)

    @property
    def ndim(self):
        """int, number of axes."""
        return len(self.shape)

    @property
    def op(self):
        """Node that produces it."""
        return self.node

    def __len__(self):
        if not self.shape or self.shape[0] is None:
            raise TypeError(f"{self!r} has no known length")
        return int(self.shape[0])

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def _no_values(self, *_, **__):
        raise TypeError(
            f"{self!r} is symbolic: it has a shape and no values. Use the functions of "
            "gpunet.backend in place of NumPy's and of Python's float(), bool() and if."
        )

    __array__ = __bool__ = __float__ = __int__ = __index__ = numpy = item = _no_values

    def __repr__(self):
        return f"<SymbolicTensor {self.name or '?'} {self.shape} {self.dtype}>"


class Node:
    """One call of a layer on symbolic tensors.

    Args:
        layer: the layer.
        args: tuple, the positional arguments: nested tensors and plain values.
        kwargs: dict, the arguments given by name.
        outputs: nested SymbolicTensors.

    Attributes:
        inputs: flat list of the SymbolicTensors among the arguments.
        outputs: flat list.
        index: int, which call of the layer this is.
    """

    def __init__(self, layer, args, kwargs, outputs):
        self.layer = layer
        self.args, self.kwargs = args, kwargs
        self.inputs = [t for t in flatten([args, kwargs]) if isinstance(t, SymbolicTensor)]
        self.structure = outputs
        self.outputs = flatten(outputs)
        self.index = len(layer._inbound_nodes)
        layer._inbound_nodes.append(self)
        for i, tensor in enumerate(self.outputs):
            tensor.node, tensor.tensor_index = self, i
        for parent in self.parents:
            parent.layer._outbound_nodes.append(self)

    @property
    def parents(self):
        """List of the Nodes that produce the inputs, each once."""
        return list({id(t.node): t.node for t in self.inputs}.values())

    @property
    def first(self):
        """What the layer was called on: the first argument."""
        return self.args[0] if self.args else None

    # Names that scripts which walk a Keras graph use.
    input_tensors = property(lambda self: self.inputs)
    output_tensors = property(lambda self: self.outputs)
    outbound_layer = property(lambda self: self.layer)
    inbound_layers = property(lambda self: [t.node.layer for t in self.inputs])
    node_indices = property(lambda self: [t.node.index for t in self.inputs])
    tensor_indices = property(lambda self: [t.tensor_index for t in self.inputs])

    def __repr__(self):
        return f"<Node {self.index} of {self.layer.name}>"


def history_of(tensor, what):
    """Return the Node that produces a tensor.

    Raises:
        GraphError: not a tensor of a graph.
    """
    if not isinstance(tensor, SymbolicTensor) or tensor.node is None:
        raise GraphError(
            f"{what}: expected a tensor made by Input() or by calling a layer on one, "
            f"got {tensor!r}"
        )
    return tensor.node


class Graph:
    """The part of a graph that lies between inputs and outputs.

    Args:
        inputs: flat list of SymbolicTensors.
        outputs: flat list of SymbolicTensors.
        name: str, the model's name for error texts.

    Attributes:
        nodes: list of Nodes, each after those that it needs.
        layers: list of layers in the order of `Model.layers`.
        depths: dict Node -> int, distance from the outputs.

    Raises:
        GraphError: an output that can't be computed from the inputs, or two layers of one name.
    """

    def __init__(self, inputs, outputs, name):
        self.inputs, self.outputs, self.name = inputs, outputs, name
        for t in inputs:
            history_of(t, f"inputs of model {name!r}")
        for t in outputs:
            history_of(t, f"outputs of model {name!r}")
        self.nodes, rank = _post_order(inputs, outputs, name)
        self.depths, layer_depths = _depths(self.nodes, inputs, rank)
        self.layers = sorted(layer_depths, key=lambda x: (-layer_depths[x], rank[x]))
        _check_names(self.layers)
        self._steps = None

    # -- running --------------------------------------------------------------------------

    def run(self, values, training):
        """Compute the outputs.

        Args:
            values: list of Tensors, one for each input.
            training: bool, handed to the layers that ask for it.

        Returns:
            Flat list of Tensors, one for each output.
        """
        if self._steps is None:
            self._compile()
        slots = [None] * self._count
        for slot, value in zip(self._input_slots, values, strict=True):
            slots[slot] = value
        masked = self._masked or any(getattr(v, "_keras_mask", None) is not None for v in values)
        for step in self._steps:
            step(slots, training, masked)
        return [slots[s] for s in self._output_slots]

    def replay(self, tensors):
        """Return what the outputs would be for other inputs: shapes, dtypes and masks.

        Args:
            tensors: list of SymbolicTensors, one for each input.
        """
        known = {id(t): new for t, new in zip(self.inputs, tensors, strict=True)}
        with trace_scope():
            for node in self.nodes:
                if all(id(t) in known for t in node.outputs):
                    continue
                leaves = [known.get(id(x), x) for x in flatten([node.args, node.kwargs])]
                args, kwargs = pack([node.args, node.kwargs], leaves)
                made = flatten(node.layer(*args, **kwargs))
                known.update((id(t), new) for t, new in zip(node.outputs, made, strict=True))
        return [known[id(t)] for t in self.outputs]

    def _compile(self):
        slot = {}
        for node in self.nodes:
            for t in node.outputs:
                slot[id(t)] = len(slot)
        for t in self.inputs:
            slot.setdefault(id(t), len(slot))
        given = {id(t) for t in self.inputs}
        self._count = len(slot)
        self._input_slots = [slot[id(t)] for t in self.inputs]
        self._output_slots = [slot[id(t)] for t in self.outputs]
        self._masked = any(layer.makes_masks for layer in self.layers)
        self._steps = [
            _make_step(node, slot)
            for node in self.nodes
            if not all(id(t) in given for t in node.outputs)
        ]


def _make_step(node, slot):
    """Return a function (slots, training, masked) that runs a node."""
    layer = node.layer
    invoke = layer._invoke
    out = [slot[id(t)] for t in node.outputs]
    single = len(out) == 1 and isinstance(node.structure, SymbolicTensor)
    o = out[0] if single else None

    if single and len(node.args) == 1 and not node.kwargs and isinstance(node.first, SymbolicTensor):
        i = slot[id(node.first)]
        plain = layer.plain_call()
        if plain is None:

            def step(slots, training, masked):
                slots[o] = invoke((slots[i],), {}, training)

            return step
        call, takes_training = plain

        def step(slots, training, masked):
            if masked:
                slots[o] = invoke((slots[i],), {}, training)
            elif takes_training:
                slots[o] = call(slots[i], training=training)
            else:
                slots[o] = call(slots[i])

        return step

    def fetch(leaf):
        return slot[id(leaf)] if isinstance(leaf, SymbolicTensor) else None

    leaves = flatten([node.args, node.kwargs])
    where = [(n, fetch(leaf)) for n, leaf in enumerate(leaves) if fetch(leaf) is not None]

    def step(slots, training, masked):
        filled = list(leaves)
        for n, s in where:
            filled[n] = slots[s]
        args, kwargs = pack([node.args, node.kwargs], filled)
        y = invoke(tuple(args), kwargs, training)
        if single:
            slots[o] = y
        else:
            for s, part in zip(out, flatten(y), strict=True):
                slots[s] = part

    return step


def _post_order(inputs, outputs, name):
    """Return the nodes, each after those it needs, and the order in which layers were met."""
    given = {id(t) for t in inputs}
    order, done, rank = [], set(), {}
    for output in outputs:
        # Depth first with an explicit stack: graphs can be thousands of layers deep.
        stack = [(output.node, None)]
        while stack:
            node, waiting = stack.pop()
            if waiting is None:
                if node in done:
                    continue
                done.add(node)
                rank.setdefault(node.layer, len(rank))
                stops = all(id(t) in given for t in node.outputs)
                waiting = iter([] if stops else node.inputs)
                if not stops and not node.inputs and node.outputs:
                    _disconnected(node, order, name)
            for t in waiting:
                if t.node not in done:
                    stack.append((node, waiting))
                    stack.append((t.node, None))
                    break
            else:
                order.append(node)
    for t in inputs:
        if t.node not in done:
            order.insert(0, t.node)
            done.add(t.node)
            rank.setdefault(t.node.layer, -1)
    return order, rank


def _disconnected(node, order, name):
    seen = [n.layer.name for n in order]
    raise GraphError(
        f"Graph disconnected: model {name!r} needs the tensor {node.outputs[0]!r} of layer "
        f"{node.layer.name!r}, which isn't among its inputs and can't be computed from them. "
        f"The following layers were reached without issue: {seen}"
    )


def _depths(nodes, inputs, rank):
    depths, layer_depths = {}, {}
    for node in reversed(nodes):
        depth = max(depths.setdefault(node, 0), layer_depths.get(node.layer, 0))
        depths[node] = layer_depths[node.layer] = depth
        for parent in node.parents:
            depths[parent] = max(depth + 1, depths.get(parent, 0))
    kept = set(nodes)
    return {n: d for n, d in depths.items() if n in kept}, layer_depths


def _check_names(layers):
    counts = collections.Counter(layer.name for layer in layers)
    for name, count in counts.items():
        if count > 1:
            raise GraphError(
                f'The name "{name}" is used {count} times in the model. '
                "All layer names should be unique."
            )


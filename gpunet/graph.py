"""The functional graph: symbolic tensors, the calls that join them, and running it.

A `Node` is one call of a layer.  A `Graph` finds the nodes between given inputs and outputs,
orders them once, and runs them on real tensors as a flat list of steps.
"""

import collections

import numpy as np

from gpunet.context import trace_scope
from gpunet.errors import GraphError
from gpunet.nest import flatten, pack
from gpunet.tensor import Shape, Symbolic, Tensor

__all__ = ["SymbolicTensor", "Node", "Graph", "node_of", "source_inputs"]

History = collections.namedtuple("History", "layer node_index tensor_index")


class SymbolicTensor(Symbolic):
    """A tensor of a graph under construction: shape and dtype, no values.

    Attributes:
        shape: Shape, None for sizes that aren't known yet.
        dtype: numpy.dtype.
        name: str.
        node: Node that produces it, None inside the ``call`` of a layer being traced.
        tensor_index: int, which of the node's outputs it is.
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
        outputs: nested SymbolicTensors that no other node has made.

    Attributes:
        inputs: flat list of the SymbolicTensors among the arguments.
        outputs: flat list.
        structure: the outputs as they were given.
        index: int, which of the layer's nodes this is.

    Raises:
        GraphError: an input that belongs to no graph.
    """

    def __init__(self, layer, args, kwargs, outputs):
        self._describe(layer, args, kwargs, outputs)
        for t in self.inputs:
            node_of(t, f"{type(layer).__name__} {layer.name!r}")
        self.index = len(layer._inbound_nodes)
        layer._inbound_nodes.append(self)
        for i, tensor in enumerate(self.outputs):
            tensor.node, tensor.tensor_index = self, i
        for parent in self.parents:
            parent.layer._outbound_nodes.append(self)

    def _describe(self, layer, args, kwargs, outputs):
        self.layer, self.args, self.kwargs = layer, args, kwargs
        self.inputs = [t for t in flatten([args, kwargs]) if isinstance(t, SymbolicTensor)]
        self.structure = outputs
        self.outputs = flatten(outputs)

    @classmethod
    def of_model(cls, model, inputs, outputs):
        """Make node 0 of a functional model: the model itself, from its inputs to its outputs.

        As in Keras 2, the model's first call as a layer is therefore node 1.
        """
        self = cls.__new__(cls)
        self._describe(model, (inputs,), {}, outputs)
        self.index = 0
        model._inbound_nodes[:1] = [self]
        return self

    @property
    def call_index(self):
        """int, which call of the layer this is; a model's node 0 isn't one."""
        return self.index - (getattr(self.layer, "_graph", None) is not None)

    @property
    def parents(self):
        """List of the Nodes that produce the inputs, each once."""
        return list({t.node: None for t in self.inputs})

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


def node_of(tensor, what):
    """Return the Node that produces a tensor.

    Args:
        tensor: what should be a tensor of a graph.
        what: str, who asks, for the error text.

    Raises:
        GraphError: not a tensor of a graph.
    """
    if not isinstance(tensor, SymbolicTensor) or tensor.node is None:
        raise GraphError(
            f"{what}: expected a tensor made by Input() or by calling a layer on one, "
            f"got {tensor!r}"
        )
    return tensor.node


def source_inputs(tensor):
    """Return the list of tensors that a tensor of a graph comes from in the end.

    Args:
        tensor: SymbolicTensor.

    Raises:
        GraphError: not a tensor of a graph.
    """
    found, done, stack = [], set(), [node_of(tensor, "source_inputs")]
    while stack:
        node = stack.pop()
        if node in done:
            continue
        done.add(node)
        if not node.inputs:
            found += node.outputs
        stack += [t.node for t in reversed(node.inputs)]
    return found


class Graph:
    """The part of a graph that lies between inputs and outputs.

    Args:
        inputs: flat list of SymbolicTensors.
        outputs: flat list of SymbolicTensors.
        name: str, the model's name for error texts.
        aliases: dict tensor -> tensor that is used in its place, for models that begin in the
            middle of another graph.
        watched: set of tensors of which tapes record what is done with them.

    Attributes:
        nodes: list of Nodes, each after those that it needs.
        layers: list of layers in the order of `Model.layers`: by distance from the outputs,
            then as a walk from the outputs meets them.
        depths: dict Node -> int, distance from the outputs.

    Raises:
        GraphError: an output that can't be computed from the inputs, or two layers of one name.
    """

    def __init__(self, inputs, outputs, name, aliases=None, watched=()):
        self.inputs, self.outputs, self.name = inputs, outputs, name
        self.aliases = aliases or {}
        self.watched = {self.source(t) for t in watched}
        for what, tensors in (("inputs", inputs), ("outputs", outputs)):
            for t in tensors:
                node_of(t, f"{what} of model {name!r}")
        self.nodes, met = self._walk()
        self.depths, layer_depths = self._measure()
        self.layers = sorted(layer_depths, key=lambda x: (-layer_depths[x], met[x]))
        _check_names(self.layers)
        self._plans = {}

    def source(self, tensor):
        """Return the tensor that this graph uses for one among a node's inputs."""
        return self.aliases.get(tensor, tensor)

    # -- order ----------------------------------------------------------------------------

    def _walk(self):
        """Return the nodes, each after those it needs, and the order in which layers were met."""
        given = set(self.inputs)
        order, done, met = [], set(), {}
        for output in self.outputs:
            # Depth first with an explicit stack: graphs can be thousands of layers deep.
            stack = [(self.source(output).node, None)]
            while stack:
                node, waiting = stack.pop()
                if waiting is None:
                    if node in done:
                        continue
                    done.add(node)
                    met.setdefault(node.layer, len(met))
                    if not node.inputs and not given.issuperset(node.outputs):
                        self._disconnected(node, order)
                    waiting = iter(node.inputs)
                for t in waiting:
                    parent = self.source(t).node
                    if parent not in done:
                        stack += [(node, waiting), (parent, None)]
                        break
                else:
                    order.append(node)
        # Inputs that no output needs.
        unused = [t.node for t in self.inputs if t.node not in done]
        met.update((node.layer, -1) for node in unused)
        return unused + order, met

    def _disconnected(self, node, order):
        raise GraphError(
            f"Graph disconnected: model {self.name!r} needs the tensor {node.outputs[0]!r} of "
            f"layer {node.layer.name!r}, which isn't among its inputs and can't be computed from "
            "them. The following layers were reached without issue: "
            f"{[n.layer.name for n in order]}"
        )

    def _measure(self):
        """Return the distance of each node and of each layer from the outputs."""
        depths, layer_depths = {}, {}
        for node in reversed(self.nodes):
            # A shared layer counts where it is farthest away.
            depth = max(depths.get(node, 0), layer_depths.get(node.layer, 0))
            depths[node] = layer_depths[node.layer] = depth
            for t in node.inputs:
                parent = self.source(t).node
                depths[parent] = max(depth + 1, depths.get(parent, 0))
        return depths, layer_depths

    # -- running --------------------------------------------------------------------------

    def run(self, values, training):
        """Compute the outputs.

        Args:
            values: list of Tensors, one for each input.
            training: bool, handed to the layers that ask for it.

        Returns:
            Flat list of Tensors, one for each output.
        """
        masked = any(getattr(v, "_keras_mask", None) is not None for v in values)
        plan = self._plans.get(masked)
        if plan is None:
            plan = self._plans[masked] = self._plan(masked)
        count, into, watched, steps, results = plan
        slots = [None] * count
        for slot, value in zip(into, values, strict=True):
            slots[slot] = value
        for slot in watched:
            slots[slot] = Tensor(slots[slot].array, True)
        for step, finished in steps:
            step(slots, training)
            for s in finished:
                slots[s] = None
        return [slots[s] for s in results]

    def _plan(self, masked):
        """Return (number of slots, slots of the inputs, of those watched, steps, of the outputs).

        A slot holds the value of a tensor from the step that makes it to the last that needs it.
        """
        slot = {t: n for n, t in enumerate(self.inputs)}
        nodes = [node for node in self.nodes if not slot.keys() >= set(node.outputs)]
        for node in nodes:
            for t in node.outputs:
                slot.setdefault(t, len(slot))
        for t, alias in self.aliases.items():
            slot[t] = slot[alias]
        results = [slot[self.source(t)] for t in self.outputs]
        masked = masked or any(layer.makes_masks for layer in self.layers)
        needed, steps = set(results), []
        for node in reversed(nodes):
            used = {slot[t] for t in (*node.inputs, *node.outputs)}
            step = _make_step(node, slot, masked)
            watched = [slot[t] for t in node.outputs if t in self.watched]
            if watched:
                step = _watching(step, watched)
            steps.append((step, tuple(used - needed)))
            needed |= used
        begun = [slot[t] for t in self.inputs if t in self.watched]
        return len(slot), [slot[t] for t in self.inputs], begun, steps[::-1], results

    def replay(self, tensors, call=lambda layer, args, kwargs: layer(*args, **kwargs)):
        """Return what the outputs would be for other inputs: shapes, dtypes and masks.

        Args:
            tensors: list of SymbolicTensors, one for each input; or of Tensors, on which the
                layers are run.
            call: function (layer, args, kwargs) that calls a layer.
        """
        known = dict(zip(self.inputs, tensors, strict=True))
        known.update((t, known[alias]) for t, alias in self.aliases.items())
        with trace_scope():
            for node in self.nodes:
                if known.keys() >= set(node.outputs):
                    continue
                nest = [node.args, node.kwargs]
                leaves = [
                    known[leaf] if isinstance(leaf, SymbolicTensor) else leaf
                    for leaf in flatten(nest)
                ]
                args, kwargs = pack(nest, leaves)
                made = flatten(call(node.layer, args, kwargs))
                known.update(zip(node.outputs, made, strict=True))
        return [known[self.source(t)] for t in self.outputs]


def _watching(step, watched):
    """Return a step whose results in some slots are recorded by tapes from then on."""

    def run(slots, training):
        step(slots, training)
        for s in watched:
            t = slots[s]
            if not t.tracked:
                mask = getattr(t, "_keras_mask", None)
                t = slots[s] = Tensor(t.array, True)
                if mask is not None:
                    t._keras_mask = mask

    return run


def _make_step(node, slot, masked):
    """Return a function (slots, training) that runs a node."""
    single = isinstance(node.structure, SymbolicTensor)
    simple = single and len(node.args) == 1 and not node.kwargs
    if simple and not node.layer.casts(node.first):
        plain = None if masked else node.layer.plain_call()
        if isinstance(node.first, SymbolicTensor):
            return _step_on_one(node, slot, plain)
        if plain is not None and type(node.first) is list:
            return _step_on_list(node, slot, plain)
    return _step_on_nest(node, slot, single)


def _step_on_one(node, slot, plain):
    i, o = slot[node.first], slot[node.outputs[0]]
    if plain is None:
        invoke = node.layer._invoke

        def step(slots, training):
            slots[o] = invoke((slots[i],), {}, training)

        return step
    call, takes_training = plain
    if takes_training:

        def step(slots, training):
            slots[o] = call(slots[i], training=training)

    else:

        def step(slots, training):
            slots[o] = call(slots[i])

    return step


def _step_on_list(node, slot, plain):
    where, o = [slot[t] for t in node.first], slot[node.outputs[0]]
    call, takes_training = plain

    def step(slots, training):
        options = {"training": training} if takes_training else {}
        slots[o] = call([slots[s] for s in where], **options)

    return step


def _step_on_nest(node, slot, single):
    invoke, nest = node.layer._invoke, [node.args, node.kwargs]
    cast = node.layer.cast_inputs if node.layer.casts(node.first) else None
    out = [slot[t] for t in node.outputs]
    leaves = flatten(nest)
    where = [(n, slot[t]) for n, t in enumerate(leaves) if isinstance(t, SymbolicTensor)]

    def step(slots, training):
        filled = list(leaves)
        for n, s in where:
            filled[n] = slots[s]
        args, kwargs = pack(nest, filled)
        if cast is not None:
            args = (cast(args[0]), *args[1:])
        y = invoke(args, kwargs, training)
        for s, part in zip(out, [y] if single else flatten(y), strict=True):
            slots[s] = part

    return step


def _check_names(layers):
    counts = collections.Counter(layer.name for layer in layers)
    for name, count in counts.items():
        if count > 1:
            raise GraphError(
                f'The name "{name}" is used {count} times in the model. '
                "All layer names should be unique."
            )

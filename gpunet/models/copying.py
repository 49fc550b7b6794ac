"""Copies and pickles of models: layers with their weights, and the calls that join them."""

from gpunet.graph import Graph, SymbolicTensor
from gpunet.layers.input import InputLayer
from gpunet.nest import flatten, map_nest

__all__ = ["Copied", "recipe", "follow"]

# What a model makes anew: its graph and what follows from it.
_MADE = (
    "_graph", "_made_graph", "inputs", "outputs", "_input_nest", "_output_nest", "_objective",
    "_plan", "history", "_data_nest", "_whole", "_again",
)  # fmt: skip


class _Place:
    """Stands for a symbolic tensor: output ``index`` of call ``number``."""

    def __init__(self, number, index):
        self.number, self.index = number, index


def recipe(graph, inputs, outputs):
    """Return the calls of a graph without their tensors, for `follow`.

    Args:
        graph: Graph.
        inputs, outputs: nests of its tensors.
    """
    places = {
        t: _Place(number, i)
        for number, node in enumerate(graph.nodes)
        for i, t in enumerate(node.outputs)
    }

    def place(leaf):
        return places[graph.source(leaf)] if isinstance(leaf, SymbolicTensor) else leaf

    calls = [(n.layer, map_nest(place, n.args), map_nest(place, n.kwargs)) for n in graph.nodes]
    return calls, map_nest(place, inputs), map_nest(place, outputs)


def follow(steps, given=None):
    """Return (inputs, outputs), nested symbolic tensors, of a graph made as a recipe says.

    Args:
        steps: what `recipe` returned.
        given: dict InputLayer -> list of the one tensor that is used in place of its own.
    """
    given = given or {}
    calls, inputs, outputs = steps
    made = []

    def tensor(leaf):
        return made[leaf.number][leaf.index] if isinstance(leaf, _Place) else leaf

    for layer, args, kwargs in calls:
        if isinstance(layer, InputLayer):
            made.append(given.get(layer) or layer._inbound_nodes[0].outputs)
        else:
            made.append(flatten(layer(*map_nest(tensor, args), **map_nest(tensor, kwargs))))
    return map_nest(tensor, inputs), map_nest(tensor, outputs)


class Copied:
    """Mixin that lets models be deep-copied and pickled, with their optimizer's state."""

    _whole = None

    def _added(self):
        """Return (losses, metrics) that were added to the graph: tensors, and pairs with names."""
        losses = [loss for loss in self._losses if isinstance(loss, SymbolicTensor)]
        return losses, self._reports

    def _whole_graph(self):
        """Return (graph that gives what was added to it behind the outputs, losses, metrics)."""
        graph, (losses, metrics) = self._graph, self._added()
        extra = [*losses, *[t for _, t in metrics]]
        if not extra:
            return graph, losses, metrics
        kept, known = self._whole or (None, None)
        if known != (graph, extra):
            kept = Graph(graph.inputs, graph.outputs + extra, self.name, graph.aliases)
            self._whole = kept, (graph, extra)
        return kept, losses, metrics

    def __getstate__(self):
        state = super().__getstate__()
        steps = slots = None
        if self._graph is not None:
            graph, losses, metrics = self._whole_graph()
            ends = [self._output_nest, losses, [t for _, t in metrics]]
            steps = (*recipe(graph, self._input_nest, ends), [name for name, _ in metrics])
        if hasattr(self.optimizer, "state_of") and int(self.optimizer.iterations):
            slots = [w.numpy() for w in self.optimizer.state_of(self.trainable_weights)[1]]
        return {k: v for k, v in state.items() if k not in _MADE}, steps, slots

    def __setstate__(self, state):
        attributes, steps, slots = state
        super().__setstate__(attributes)
        if steps is not None:
            *steps, names = steps
            inputs, (outputs, losses, metrics) = follow(steps)
            self._set_graph(inputs, outputs)
            self._losses += losses
            self._reports += zip(names, metrics)
        if self._compiled is not None:
            self.compile(self.optimizer, run_eagerly=self.run_eagerly, **self._compiled)
        if slots is not None:
            self.optimizer.build(self.trainable_weights)
            self.optimizer.set_weights(slots)

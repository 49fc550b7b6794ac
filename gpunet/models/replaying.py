"""Calling a model with a graph: from the third time on, a recording of what its layers do.

`predict` does the same, see `gpunet.training.step`; here the results are tensors, and whatever a
call may leave behind beside them has to be as if the layers had run.
"""

import functools

import numpy as np

from gpunet import threads
from gpunet.autodiff import Recorded, recording, watcher
from gpunet.layers.losses import collected
from gpunet.layers.masks import mask_of
from gpunet.recording import current
from gpunet.tensor import Tensor
from gpunet.training.origin import foreign

__all__ = ["Replayed"]


class Replayed:
    """Mixin that runs a model's graph, as a recording where nobody can tell."""

    _again = None  # pair (graph, Recorded or None)

    def _run_graph(self, graph, values, training):
        """Return the flat list of a graph's outputs; see `Graph.run`."""
        recorded = None if training or not self._may_replay(graph, values) else self._recorded()
        if recorded is None or recorded.reason is not None:
            return graph.run(values, training)
        # Views, so that no array comes twice: a recording knows its inputs by what they are.
        views = [Tensor(v.array.view()) for v in values]
        with threads.steady():
            return [Tensor(a) for a in recorded(*views)]

    def _may_replay(self, graph, values):
        return not (
            self.run_eagerly
            or graph is not self._graph  # losses were added to it
            or graph.watched
            or recording()  # a gradient may be asked for
            or current() is not None
            or watcher.get() is not None
            or any(type(v.array) is not np.ndarray or mask_of(v) is not None for v in values)
        )

    def _recorded(self):
        graph = self._graph
        if self._again is None or self._again[0] is not graph:
            name = f"calling {type(self).__name__} {self.name!r}"
            function = functools.partial(_run, graph)
            # What a user's layers, or masks, add to the tensors themselves would be lost.
            plain = not self._refusal() and not any(layer.makes_masks for layer in graph.layers)
            self._again = graph, Recorded(function, name, self._refusal) if plain else None
        return self._again[1]

    def _refusal(self):
        return foreign([self, *self._nested_layers()])


def _run(graph, *x):
    before = collected()
    results = graph.run(list(x), False)
    if collected() != before and (recorder := current()) is not None:
        recorder.give_up("a layer adds a loss or a metric")
    return results

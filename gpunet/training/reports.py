"""Metrics that layers and graphs add by themselves, and the losses that use tensors of a graph."""

import contextlib

from gpunet import losses
from gpunet.autodiff import no_tape
from gpunet.graph import SymbolicTensor
from gpunet.losses import functions
from gpunet.metrics import Mean
from gpunet.metrics.lookup import FunctionMetric
from gpunet.stand_ins import Survey, may_reach, mentioned

__all__ = ["Reporting", "is_built_in"]


def is_built_in(function):
    """Return whether a loss function is one of gpunet's own."""
    return getattr(function, "__module__", None) == functions.__name__


class Reporting:
    """The part of `Objective` that is about what comes from layers and graphs.

    Attributes:
        symbols: context in which tensors of the graph have values; None before `Plan.stand_in`.
        reported: list of (name, value) that the model's last run added.
        means: dict name -> Mean of what was reported since the last reset.
    """

    symbols = None
    reported = ()

    def __init__(self):
        self.means = {}

    def around(self):
        """Return the context to compute losses and metrics in."""
        return contextlib.nullcontext() if self.symbols is None else self.symbols

    def take_reports(self):
        """Bring the means up to date with what the model's last run reported."""
        for name, value in self.reported:
            mean = self.means.get(name)
            if mean is None:
                mean = self.means[name] = Mean(name=name)
            with no_tape():
                mean.update_state(value)
        self.reported = ()

    def symbols_used(self, roots):
        """Return what losses and metrics use of the graph beside their arguments.

        Args:
            roots: set of the graph's inputs.

        Returns:
            (list of symbolic tensors, set of those that gradients are taken with respect to).
        """
        used, survey = {}, Survey()
        for function, i in self._own_functions():
            held = mentioned(function)
            if not held and not may_reach(function):
                continue
            one = Survey()
            y_true, y_pred = (SymbolicTensor(self.shapes[i], "float32") for _ in range(2))
            traced = one.trace(function, y_true, y_pred)
            if traced:
                used.update(one.used)
            else:  # all that can be had: it may need them
                used.update((t, None) for t in held if _roots_of(t) <= roots)
            survey.watched |= one.watched
        return list(used), survey.watched

    def _own_functions(self):
        """Return (function, number of the output) of the losses and metrics that users wrote."""
        found = []
        for i, loss, _ in self._terms:
            function = losses.function_of(loss)
            if not is_built_in(function):
                found.append((loss.call if function is loss else function, i))
        for m in self.measures:
            if isinstance(m.metric, FunctionMetric):
                function = m.metric._fn
                if not getattr(function, "__module__", "").startswith("gpunet."):
                    found.append((function, m.output))
            elif not type(m.metric).__module__.startswith("gpunet."):
                found.append((m.metric, m.output))
        return found


def _roots_of(tensor):
    """Return the tensors without parents that a tensor of a graph is made from."""
    found, waiting, roots = {tensor}, [tensor], set()
    while waiting:
        t = waiting.pop()
        if not t.node.inputs:
            roots.add(t)
        new = [p for p in t.node.inputs if p not in found]
        found.update(new)
        waiting += new
    return roots

"""Losses that layers add to the one that training minimises."""

from contextvars import ContextVar

from gpunet.context import tracing
from gpunet.errors import GraphError
from gpunet.tensor import Symbolic

__all__ = ["LossOwner", "loss_scope"]

# Who collects the losses that layers add while a model runs.
_collector = ContextVar("gpunet_loss_collector", default=None)


class loss_scope:
    """Context that collects the losses and metrics which layers add while it is active."""

    def __enter__(self):
        self.added = []  # (layer, scalar tensor)
        self.metrics = []  # (name, tensor)
        self._token = _collector.set(self)
        return self

    def __exit__(self, *_):
        _collector.reset(self._token)

    @property
    def losses(self):
        """List of scalar tensors."""
        return [loss for _, loss in self.added]


def collecting():
    """Return whether a `loss_scope` is active."""
    return _collector.get() is not None


def collected():
    """Return how many losses and metrics the active `loss_scope` has so far."""
    scope = _collector.get()
    return 0 if scope is None else len(scope.added) + len(scope.metrics)


class LossOwner:
    """Mixin with what a layer does about losses and metrics of its own."""

    def add_loss(self, losses, inputs=None):
        """Add scalar losses to those that training minimises.

        Args:
            losses: tensor, list of tensors, or function without arguments that returns one.
            inputs: accepted as in Keras 2.3, not needed.

        Raises:
            GraphError: a symbolic tensor given to something else than a functional model.
        """
        if tracing():
            return
        collector = _collector.get()
        for loss in losses if isinstance(losses, (list, tuple)) else [losses]:
            if isinstance(loss, Symbolic) and getattr(self, "_graph", None) is None:
                raise GraphError(
                    f"add_loss: {type(self).__name__} {self.name!r} got {loss!r}; give it to the "
                    "functional model, or add it in the layer's call()"
                )
            if collector is None or callable(loss):
                self._losses.append(loss)
            else:
                collector.added.append((self, loss))

    @property
    def losses(self):
        """List of the regularization losses of weights and those given to `add_loss`."""
        found = [loss for layer in self._nested_layers() for loss in layer._present_losses()]
        return [loss() if callable(loss) else loss for loss in found] + self._weight_losses()

    def _present_losses(self):
        """Return what was added; tensors of the graph give way to those of the last call."""
        values = [loss for loss in self._losses if not isinstance(loss, Symbolic)]
        return values if any(not callable(v) for v in values) else self._losses

    def add_metric(self, value, name=None, aggregation="mean", **kwargs):
        """Report a value of each batch under a name, as its mean over the epoch.

        Args:
            value: tensor, in ``call``; or a tensor of the graph, for a functional model.
            name: str.
            aggregation: ``'mean'``, or None for what a metric object has added up already.
            **kwargs: arguments of later versions of Keras that change nothing here.

        Raises:
            ValueError: no name, or another aggregation.
            GraphError: a symbolic tensor given to something else than a functional model.
        """
        if name is None:
            raise ValueError(
                f"add_metric: {type(self).__name__} {self.name!r} needs a name for the metric, "
                "like add_metric(value, name='mean_activation')"
            )
        if aggregation not in ("mean", None):
            raise ValueError(
                f"add_metric: expected aggregation 'mean' or None, got {aggregation!r}"
            )
        if tracing():
            return
        collector = _collector.get()
        if isinstance(value, Symbolic):
            if getattr(self, "_graph", None) is None:
                raise GraphError(
                    f"add_metric: {type(self).__name__} {self.name!r} got {value!r}; give it to "
                    "the functional model, or add it in the layer's call()"
                )
            self._reports.append((name, value))
        elif collector is not None:
            collector.metrics.append((name, value))

    def _weight_losses(self):
        owned = (w for layer in self._nested_layers() for w in layer._own_weights())
        regularized = {id(w): w for w in owned if w.regularizer is not None}
        return [w.regularizer(w) for w in regularized.values()]

    def get_losses_for(self, inputs=None):
        """Return the losses of the last call, or those that need no input.

        Args:
            inputs: tensor; None for the losses of weights and of functions given to `add_loss`.
        """
        found = [loss for layer in self._nested_layers() for loss in layer._present_losses()]
        if inputs is not None:
            return [loss for loss in found if not callable(loss)]
        return [loss() for loss in found if callable(loss)] + self._weight_losses()

    @property
    def updates(self):
        """Empty list: state is updated in place as the layer runs."""
        return []

    def _keep_losses(self, scope):
        """Keep what one call of this layer added, in place of what the call before added."""
        for layer in self.__dict__.pop("_loss_holders", ()):
            layer._losses[:] = [x for x in layer._losses if callable(x) or isinstance(x, Symbolic)]
        if scope.added:
            self._loss_holders = [layer for layer, _ in scope.added]
            for layer, loss in scope.added:
                layer._losses.append(loss)

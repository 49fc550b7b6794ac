"""What later versions of Keras let one ask of a layer."""

from dataclasses import dataclass

from gpunet.context import tracing
from gpunet.layers.weights import found_in
from gpunet.metrics.base import Metric
from gpunet.nest import map_nest
from gpunet.tensor import Shape

__all__ = ["DTypePolicy", "LaterMembers"]


@dataclass(frozen=True)
class DTypePolicy:
    """The dtypes that a layer works with; here they are always the same.

    Attributes:
        name: str.
    """

    name: str

    @property
    def compute_dtype(self):
        """str, the dtype of results."""
        return self.name

    @property
    def variable_dtype(self):
        """str, the dtype of weights."""
        return self.name


class LaterMembers:
    """Mixin with the members that later versions of Keras gave to layers."""

    _build_shape = None

    @property
    def dtype_policy(self):
        """`DTypePolicy` of the layer."""
        return DTypePolicy(self.dtype)

    @property
    def compute_dtype(self):
        """str, the dtype that float inputs are cast to."""
        return self.dtype

    @property
    def variable_dtype(self):
        """str, the dtype that weights have by default."""
        return self.dtype

    @property
    def submodules(self):
        """Tuple of all layers inside this one."""
        return tuple(self._nested_layers()[1:])

    @property
    def metrics(self):
        """List of the metric objects held by the layer and the layers inside it."""
        found = {}
        for layer in self._nested_layers():
            found.update(found_in(layer, Metric))
        return list(found.values())

    def get_build_config(self):
        """Return ``{"input_shape": shape}``, or None if the layer wasn't built on an input."""
        return None if self._build_shape is None else {"input_shape": self._build_shape}

    def build_from_config(self, config):
        """Create the weights as for the layer that `get_build_config` was asked of.

        Args:
            config: dict with ``input_shape``, or None.
        """
        shape = (config or {}).get("input_shape")
        if shape is not None:
            self._build_if_needed(self._placeholders(shape))

    def add_update(self, updates, inputs=None):
        """Run updates of the layer's state.

        Args:
            updates: function without arguments, pair (variable, new value), or what the ``K``
                functions return that have updated a variable already; or a list of them.
            inputs: accepted as in Keras 2.3, not needed.
        """
        if tracing():
            return
        for update in updates if isinstance(updates, list) else [updates]:
            if isinstance(update, tuple):
                variable, value = update
                variable.assign(value)
            elif callable(update):
                update()

    def _keep_build_shape(self, inputs):
        self._build_shape = map_nest(lambda t: Shape(t.shape), inputs)

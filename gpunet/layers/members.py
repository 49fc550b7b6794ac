"""What later versions of Keras let one ask of a layer."""

from gpunet.context import tracing
from gpunet.layers.arguments import dtype_name
from gpunet.layers.weights import found_in
from gpunet.metrics.base import Metric
from gpunet.mixed_precision.policy import Policy, computed_in, policy_of
from gpunet.nest import map_nest
from gpunet.tensor import Shape

__all__ = ["LaterMembers"]


class LaterMembers:
    """Mixin with the members that later versions of Keras gave to layers."""

    _build_shape = None
    _computes_in = None  # name of a type other than that of the weights

    def _take_policy(self, dtype):
        """Take the argument ``dtype``: a type or a policy."""
        who = f"{type(self).__name__} {self.name!r}: dtype"
        self._policy = policy_of(dtype, lambda value: dtype_name(value, who))
        self.dtype = self._policy.variable_dtype
        self._computes_in = computed_in(self._policy)

    @property
    def dtype_policy(self):
        """`gpunet.mixed_precision.Policy` of the layer."""
        policy = self.__dict__.get("_policy")
        # A layer's dtype may be assigned.
        return policy if policy is not None and policy.is_mixed else Policy(self.dtype)

    def _written_dtype(self):
        """Return what a config says about it: a name, or a policy as Keras writes it."""
        policy = self.dtype_policy
        if not policy.is_mixed:
            return self.dtype
        return {
            "module": "keras.mixed_precision",
            "class_name": "Policy",
            "config": policy.get_config(),
            "registered_name": None,
        }

    @property
    def compute_dtype(self):
        """str, the dtype of results, which float inputs and weights are cast to."""
        return self._computes_in or self.dtype

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

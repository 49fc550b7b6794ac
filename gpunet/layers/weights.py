"""The weights of layers: made, found in attributes, sorted, read and written."""

import functools

import numpy as np

from gpunet import constraints, initializers, regularizers
from gpunet.context import scoped_name
from gpunet.errors import ShapeError
from gpunet.layers.arguments import dtype_name
from gpunet.recording import edited
from gpunet.tensor import Shape
from gpunet.variables import Variable

__all__ = ["WeightOwner", "found_in"]

# Attributes that hold layers or variables which aren't parts of the layer.
_PRIVATE = frozenset(
    ("_inbound_nodes", "_outbound_nodes", "_losses", "_loss_holders", "_reports", "_constructor",
     "_weights", "_initial_weights", "optimizer", "history", "_graph", "inputs", "outputs",
     "_compiled", "_whole")
)  # fmt: skip
# Attributes that no step depends on.
_UNUSED = frozenset(("history", "stop_training", "optimizer", "loss", "run_eagerly", "built"))


def _shape_may_come_first(add_weight):
    """Take ``add_weight(shape)`` and ``add_weight(shape, name)`` too, as old programs have them."""

    @functools.wraps(add_weight)
    def taken(self, *args, **kwargs):
        if args and isinstance(args[0], (tuple, list)):
            kwargs["shape"], *args = args
            if args:
                kwargs["name"], *args = args
        return add_weight(self, *args, **kwargs)

    return taken


class WeightOwner:
    """Mixin with the weights of a layer and of the layers inside it.

    Layers and variables belong to the layer that holds them in an attribute, also inside lists,
    tuples and dicts.
    """

    @_shape_may_come_first
    def add_weight(self, name=None, shape=None, dtype=None, initializer=None, regularizer=None,
                   trainable=True, constraint=None, **kwargs):  # fmt: skip
        """Create a weight.

        Args:
            name: str; what is left out below is looked up as ``<name>_initializer``,
                ``<name>_regularizer``, ``<name>_constraint`` on the layer.
            shape: tuple of ints; None means a scalar.
            dtype: name; the layer's by default.
            initializer: see `gpunet.initializers`; Glorot uniform for floats by default.
            regularizer: see `gpunet.regularizers`.
            trainable: bool, True by default.
            constraint: see `gpunet.constraints`.
            **kwargs: arguments of later versions of Keras that change nothing here.

        Returns:
            Variable.
        """
        given, who = name, f"{type(self).__name__} {self.name!r}"
        name = self._unused_weight_name(name or "weight")
        if shape is None:
            shape = ()
        shape = Shape(shape if isinstance(shape, (list, tuple)) else (shape,))
        if None in shape:
            raise ShapeError(
                f"{who}: weight {name!r} needs a known shape, got {shape}; the layer was built on "
                "an input of unknown size"
            )
        shape = tuple(map(int, shape))
        dtype = dtype_name(dtype or self.dtype, f"{who}: weight {name!r}")
        if given is not None:
            initializer = initializer or getattr(self, given + "_initializer", None)
            regularizer = regularizer or getattr(self, given + "_regularizer", None)
            constraint = constraint or getattr(self, given + "_constraint", None)
        if initializer is None:
            initializer = "glorot_uniform" if dtype.startswith("float") else "zeros"
        weight = Variable(
            initializers.bind(initializers.get(initializer), shape, dtype),
            shape=shape,
            dtype=dtype,
            name=f"{self._weight_scope()}{name}:0",
            trainable=trainable is None or trainable,
            constraint=constraints.get(constraint),
            regularizer=regularizers.get(regularizer),
        )
        self._weights.append(weight)
        return weight

    def _weight_scope(self):
        # Inside build() the layer's own scope is active already.
        scope, own = scoped_name(""), f"{self.name}/"
        return scope if f"/{scope}".endswith(f"/{own}") else scope + own

    def _unused_weight_name(self, name):
        taken = {w.name.rpartition("/")[2].removesuffix(":0") for w in self._weights}
        if name not in taken:
            return name
        return next(f"{name}_{n}" for n in range(1, len(taken) + 2) if f"{name}_{n}" not in taken)

    # -- finding --------------------------------------------------------------------------

    def _sublayers(self):
        """Return the layers held in attributes, lists, tuples and dicts, each once."""
        found = found_in(self, WeightOwner)
        found.pop(id(self), None)
        return list(found.values())

    def _nested_layers(self):
        """Return this layer and all layers inside it, each once, the outer ones first."""
        found, waiting = {}, [self]
        while waiting:
            layer = waiting.pop()
            if id(layer) not in found:
                found[id(layer)] = layer
                waiting.extend(reversed(layer._sublayers()))
        return list(found.values())

    def _own_weights(self):
        found = {id(w): w for w in self._weights}
        return list((found | found_in(self, Variable)).values())

    def _split_weights(self, above=()):
        """Return (weights that are trained, other weights), own and nested, in Keras's order.

        Args:
            above: tuple of the layers around; one that holds a layer around it stops there.
        """
        own = self._own_weights()
        trained = [w for w in own if w.trainable]
        others = [w for w in own if not w.trainable]
        inner = self._split_inner(above)
        if self._trainable:
            for more_trained, more_others in inner:
                trained += more_trained
                others += more_others
            return trained, others
        return [], trained + others + [w for parts in inner for part in parts for w in part]

    def _split_inner(self, above):
        above = (*above, self)
        return [
            layer._split_weights(above)
            for layer in self._sublayers()
            if not any(layer is outer for outer in above)
        ]

    # -- seeing ---------------------------------------------------------------------------

    @property
    def trainable_weights(self):
        """List of the Variables that training changes."""
        return _unique(self._split_weights()[0])

    @property
    def non_trainable_weights(self):
        """List of the Variables that training leaves alone."""
        trained, others = self._split_weights()
        found = {id(w): w for w in others}
        for w in trained:  # a shared layer may be frozen in one place and not in another
            found.pop(id(w), None)
        return list(found.values())

    @property
    def weights(self):
        """List of all Variables: the trained ones, then the others."""
        trained, others = self._split_weights()
        return _unique(trained + others)

    # The names that later versions of Keras use; lambdas, so that overriding one reaches both.
    variables = property(lambda self: self.weights)
    trainable_variables = property(lambda self: self.trainable_weights)
    non_trainable_variables = property(lambda self: self.non_trainable_weights)

    @property
    def trainable(self):
        """bool, whether its weights are trained; setting it reaches nested layers."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        value = bool(value)
        for layer in self._nested_layers():
            if layer._trainable != value:
                layer._trainable = value
                edited()

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)
        # Recorded steps took the options of built-in layers for granted; others aren't recorded.
        if name[0] != "_" and name not in _UNUSED and self.built:
            if type(self).__module__.startswith("gpunet."):
                edited()

    def count_params(self):
        """Return the number of elements of all weights."""
        if not self.built:
            raise ValueError(
                f"count_params: {type(self).__name__} {self.name!r} isn't built yet, so it has "
                "no weights; call it on data or build(input_shape) first"
            )
        return sum(w.size for w in self.weights)

    def get_weights(self):
        """Return copies of the weights as a list of numpy arrays."""
        return [w.numpy() for w in self.weights]

    def set_weights(self, weights):
        """Write all weights.

        Args:
            weights: list of arrays in the order of `weights`.

        Raises:
            ValueError: a wrong number or shape; nothing is written then.
        """
        weights, own = list(weights), self.weights
        who = f"{type(self).__name__} {self.name!r}"
        if len(weights) != len(own):
            raise ValueError(f"set_weights: {who} has {len(own)} weights, got {len(weights)}")
        for w, value in zip(own, weights, strict=True):
            if tuple(np.shape(value)) != tuple(w.shape):
                raise ShapeError(
                    f"set_weights: weight {w.name!r} of {who} has shape {w.shape}, "
                    f"got {Shape(np.shape(value))}"
                )
        for w, value in zip(own, weights, strict=True):
            w.assign(value)


def found_in(owner, kind):
    """Return id -> object for what an object's attributes hold of a kind."""
    found = {}
    for attribute, value in vars(owner).items():
        if attribute not in _PRIVATE:
            _find(value, kind, found)
    return found


def _find(value, kind, found):
    if isinstance(value, kind):
        found.setdefault(id(value), value)
    elif isinstance(value, dict):
        for part in value.values():
            _find(part, kind, found)
    elif isinstance(value, (list, tuple)) and type(value) is not Shape:
        for part in value:
            _find(part, kind, found)


def _unique(weights):
    return list({id(w): w for w in weights}.values())

"""Optimizers whose authors wrote the whole step, as Keras had it written over the years.

``get_updates(loss, params)``, up to Keras 2.3, makes variables and says what is written into them;
it is run anew at each step, see `gpunet.repeated`.  ``update_step(gradient, variable)``, since
2.11, changes one weight; ``build(var_list)`` makes what it keeps.
"""

import functools
import inspect

import numpy as np

from gpunet import arrays, initializers
from gpunet.autodiff import GradientTape, no_tape
from gpunet.repeated import Repeated
from gpunet.tensor import Tensor, convert_to_tensor, value_of
from gpunet.variables import Variable

__all__ = ["OwnSteps", "is_own_step"]


@functools.cache
def is_own_step(cls):
    """Return whether a class of optimizers defines its step as a whole."""
    return any(getattr(cls, n, None) is not getattr(OwnSteps, n, None) for n in _WAYS)


class _StepLoss:
    """The loss of a step whose gradients are known, as `get_updates` gets it.

    Args:
        weights: list of Variables.
        grads: list of arrays.
    """

    def __init__(self, weights, grads):
        self._grads = {id(w): Tensor(g) for w, g in zip(weights, grads, strict=True)}

    def gradients(self, name, params):
        missing = [w.name for w in params if id(w) not in self._grads]
        if missing:
            raise ValueError(f"{name}.get_gradients: this step has no gradients of {missing}")
        return [self._grads[id(w)] for w in params]


class OwnSteps:
    """The part of `Optimizer` that runs such steps."""

    _listed = None  # what the author's code assigned to `weights`
    _repeated = None  # of `get_updates`
    _kept = ()  # Variables made for `update_step`
    built = False

    @property
    def has_own_step(self):
        """bool, whether the class defines its step as a whole."""
        return is_own_step(type(self))

    @property
    def _by_updates(self):
        return type(self).get_updates is not OwnSteps.get_updates

    def _apply_own(self, weights, grads):
        """Make one step; see `apply`.

        Args:
            weights: list of Variables.
            grads: list of arrays of their shapes.
        """
        xp = arrays.module_of(grads[0])
        grads = [g.copy() for g in grads]  # the author's code may keep them
        self._bound(xp, grads, grads)
        self._make_own(weights)
        with no_tape():
            if self._by_updates:
                self._run_updates(weights, grads).finish()
            else:
                self._run_update_steps(xp, weights, grads)
        return self.iterations

    def _make_own(self, weights):
        """Have the author's code make its variables, once."""
        if self._by_updates and self._repeated is None:
            self._repeated = Repeated()
            with no_tape():  # what it wants written is forgotten
                self._run_updates(weights, [w.array * 0 for w in weights])
        elif not self._by_updates and not self.built:
            self.build(weights)
            self.built = True

    # -- get_updates ------------------------------------------------------------------------

    def _run_updates(self, weights, grads):
        """Run `get_updates`; return the `Repeated` that knows what it wants written."""
        names = inspect.signature(self.get_updates).parameters
        given = {"loss": _StepLoss(weights, grads), "params": weights, "constraints": {}}
        with self._repeated as repeated:
            updates = self.get_updates(**{k: v for k, v in given.items() if k in names})
        for update in updates or ():
            if isinstance(update, (list, tuple)):
                variable, value = update
                repeated.later(variable.assign, value)
        return repeated

    def get_gradients(self, loss, params):
        """Return the gradients of a loss, a list of tensors.

        Args:
            loss: function without arguments that returns a tensor, or what `get_updates` got.
            params: list of Variables.

        Raises:
            ValueError: a tensor as loss, or a weight without influence on it.
        """
        if isinstance(loss, _StepLoss):
            return loss.gradients(self.name, params)
        if not callable(loss):
            raise ValueError(
                f"{self.name}: get_gradients needs the loss as a function; for a tensor use "
                "GradientTape.gradient"
            )
        with GradientTape() as tape:
            loss = loss()
        grads = tape.gradient(loss, list(params))
        for g, w in zip(grads, params):
            if g is None:
                raise ValueError(f"Variable {w.name!r} has no gradient: the loss doesn't use it")
        return grads

    def get_updates(self, loss, params):
        """Make one step and return what was updated; see `get_gradients` for the arguments."""
        self.apply(params, self.get_gradients(loss, params))
        return [self.iterations, *params]

    # -- update_step ------------------------------------------------------------------------

    def _run_update_steps(self, xp, weights, grads):
        rate = convert_to_tensor(self._rate(xp, self.exact(xp, self.iterations)), "float32")
        takes_rate = len(inspect.signature(self.update_step).parameters) > 2
        for w, g in zip(weights, grads):
            if self.weight_decay and self._decays(w):
                w.assign(w - w * rate * self.weight_decay)
            self.update_step(Tensor(g), w, *([rate] if takes_rate else []))
            if w.constraint is not None:
                w.assign(w.constraint(w))
        self.iterations.assign_add(1)

    def _build_learning_rate(self, learning_rate):
        """Take the learning rate, as authors' constructors hand it over, and return it."""
        self.learning_rate = learning_rate
        return self.learning_rate

    def add_variable_from_reference(self, model_variable, variable_name, shape=None,
                                    initial_value=None):  # fmt: skip
        """Return a new Variable that belongs to a weight: zeros, or ``initial_value``.

        Args:
            model_variable: Variable.
            variable_name: str.
            shape: tuple; the weight's by default.
            initial_value: array.
        """
        shape = tuple(model_variable.shape if shape is None else shape)
        value = np.zeros(shape) if initial_value is None else value_of(initial_value)
        name = f"{variable_name}/{model_variable.name.removesuffix(':0')}"
        return self._keep(Variable(value, shape, model_variable.dtype, name, trainable=False))

    def add_variable(self, shape, dtype=None, initializer="zeros", name=None):
        """Return a new Variable of the optimizer's own.

        Args:
            shape: tuple.
            dtype: name; float32 by default.
            initializer: see `gpunet.initializers`.
            name: str.
        """
        dtype = dtype or "float32"
        value = initializers.get(initializer)(tuple(shape), dtype=dtype)
        return self._keep(Variable(value, tuple(shape), dtype, name or "variable", trainable=False))

    def _keep(self, variable):
        self._kept = (*self._kept, variable)
        return variable

    def _var_key(self, variable):
        """Return the key of a weight in ``_index_dict``, for the author's code."""
        return id(variable)

    # -- the state --------------------------------------------------------------------------

    def _own_state(self):
        """Return the Variables that `weights` lists."""
        if self._listed is not None:
            return list(self._listed)
        made = self._kept if self._repeated is None else self._repeated.variables
        return [self.iterations, *made]

    def _own_names(self):
        names, counts = [], {}
        for v in self._own_state():
            name = f"{self.name}/{'iter' if v is self.iterations else v.name.removesuffix(':0')}"
            counts[name] = counts.get(name, -1) + 1
            names.append(f"{name}_{counts[name]}:0" if counts[name] else f"{name}:0")
        return names


_WAYS = ("get_updates", "update_step")

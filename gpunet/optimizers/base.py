"""What all optimizers share: hyperparameters, clipping, the step, state and configuration."""

import inspect
import logging

import numpy as np

from gpunet import arrays
from gpunet.autodiff import GradientTape, no_tape
from gpunet.autodiff.rows import RowGradient
from gpunet.errors import ShapeError
from gpunet.optimizers.hyper import Hyper, Hypers
from gpunet.optimizers.own import OwnSteps
from gpunet.optimizers.parts import Store
from gpunet.optimizers.rows import update_rows
from gpunet.optimizers.state import State
from gpunet.schedules import LearningRateSchedule
from gpunet.subnormals import flushed
from gpunet.tensor import Shape, Tensor, as_array, value_of

__all__ = ["Optimizer"]

_log = logging.getLogger("gpunet")

# Options of every optimizer that are plain attributes: name -> default.
_OPTIONS = {
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "weight_decay": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "jit_compile": False,
    "is_legacy_optimizer": True,
}


class Optimizer(Hypers, OwnSteps, State):
    """Base of all optimizers.

    A rule names its slots, turns its hyperparameters into coefficients, and updates flat
    arrays in place; see `slots`, `coefficients` and `update`.  Classes that define a whole step
    instead, as authors of optimizers for Keras do, are taken too; see `gpunet.optimizers.own`.

    Args:
        name: str, in front of the names of its state in files; the class's name by default.
        learning_rate: float or `gpunet.schedules.LearningRateSchedule`.
        **options: ``lr`` (old spelling of ``learning_rate``); ``decay``, by which the rate of
            step i, counted from 0, is divided: ``1 + decay * i``; ``clipvalue``, a bound for
            each element of the gradients; ``clipnorm``, a bound for the norm of each
            gradient; ``global_clipnorm``, a bound for the norm of all gradients together (0
            switches each of them off); ``weight_decay``, the part of every weight, times the
            rate, that is taken off it before each update.  The newer options ``use_ema``
            (False only), ``ema_momentum``, ``ema_overwrite_frequency`` and ``jit_compile``
            have no effect.
            ``is_legacy_optimizer=False``, which files hold, chooses the rules and the order
            of weights that Keras has since 2.11.

    Raises:
        TypeError: unknown option.
        ValueError: negative option, or both of two that exclude each other.
    """

    learning_rate = Hyper()
    lr = Hyper("learning_rate")
    decay = Hyper()

    #: What a step leaves alone in rows of a table that the batch didn't look up: ``'skip'`` weight
    #: and slots, ``'still'`` the weight, ``'move'`` nothing, so that `idle` is for them; None:
    #: gradients have to be whole tables.
    rows = None
    #: How many scratch arrays `update` needs.
    scratch = 1
    #: Names of the attributes that `get_config` writes.
    settings = ("learning_rate", "decay")

    def __init__(self, name=None, learning_rate=0.01, **options):
        self.name = str(name or type(self).__name__)
        self._hyper = {}
        self._given = {}
        self._store = Store()
        self._warned = set()
        self._iterations = self._scalar(0, "int64", "iterations")
        learning_rate = self._old_rate(learning_rate, options)
        decay = options.pop("decay", 0.0) or 0.0
        for key, value in options.items():
            if key not in _OPTIONS:
                raise TypeError(
                    f"{type(self).__name__}: unexpected keyword argument {key!r} passed to "
                    f"optimizer; allowed are lr, decay, {', '.join(_OPTIONS)}"
                )
            if isinstance(value, (int, float)) and value < 0:
                raise ValueError(f"{type(self).__name__}: expected {key} >= 0, got {value}")
        for key, default in _OPTIONS.items():
            setattr(self, key, options.get(key, default))
        if decay < 0:
            raise ValueError(f"{type(self).__name__}: expected decay >= 0, got {decay}")
        if self.clipnorm is not None and self.global_clipnorm is not None:
            raise ValueError(
                f"{type(self).__name__}: clipnorm={self.clipnorm} and "
                f"global_clipnorm={self.global_clipnorm} exclude each other; give one of them"
            )
        if self.use_ema:
            raise ValueError(f"{type(self).__name__}: use_ema=True isn't available")
        self.learning_rate = learning_rate
        self.decay = decay
        self._not_decayed = ((), ())

    def _old_rate(self, learning_rate, options):
        """Return the learning rate, whichever way it was spelled."""
        old = options.pop("lr", None)
        if old is None:
            return learning_rate
        signature = inspect.signature(type(self).__init__).parameters
        default = getattr(signature.get("learning_rate"), "default", learning_rate)
        if learning_rate is not default and learning_rate != default:
            raise ValueError(
                f"{type(self).__name__}: lr={old!r} and learning_rate={learning_rate!r} are "
                "two spellings of one thing; give one of them"
            )
        return old

    @property
    def iterations(self):
        """Variable, the number of steps made."""
        return self._iterations

    @iterations.setter
    def iterations(self, value):
        self._iterations.assign(value)

    # -- what a rule defines --------------------------------------------------------------

    def slots(self):
        """Return the slots of each weight: dict name -> initial value."""
        return {}

    def coefficients(self, xp, rate, step):
        """Return what `update` needs besides arrays, computed once per step.

        Nothing here may look at values: they are on the device.

        Args:
            xp: array module.
            rate: float64 scalar, the learning rate of this step: an array without axes on a
                device, a Python float on the CPU.
            step: likewise, the number of this step, counted from 1.

        Returns:
            Tuple of such scalars.
        """
        raise NotImplementedError(f"{type(self).__name__} must define coefficients()")

    def update(self, xp, coefficients, w, g, slots, scratch):
        """Update a stretch of weights and slots in place; several threads may do so at once.

        Args:
            xp: array module.
            coefficients: what `coefficients` returned, in the dtype of ``w``.
            w: [n] weights.
            g: [n] gradients; shared, never written into.
            slots: list of [n] arrays, in the order of `slots`.
            scratch: list of [n] arrays with undefined contents.
        """
        raise NotImplementedError(f"{type(self).__name__} must define update()")

    def idle(self, xp, coefficients, w, zeros, slots, scratch):
        """Do what `update` does for gradients of zero; a rule may know a shorter way.

        Args:
            zeros: [n] zeros.
            xp, coefficients, w, slots, scratch: see `update`.
        """
        self.update(xp, coefficients, w, zeros, slots, scratch)

    # -- the step -------------------------------------------------------------------------

    def apply(self, weights, grads):
        """Make one step.

        Nothing is read by the host.  Nothing is written if an argument is wrong.

        Args:
            weights: list of Variables, none of them twice.
            grads: list of arrays, tensors or (see `takes_rows`) RowGradients, one for each weight;
                None for a weight that keeps its value and its slots.  They are only read.

        Returns:
            The Variable `iterations`.

        Raises:
            ShapeError: a gradient has another shape than its weight.
            ValueError: there is no gradient at all.
        """
        weights, grads = self._pairs(list(weights), list(grads))
        if self.has_own_step:
            xp = arrays.module_of(weights[0].array)
            return self._apply_own(weights, [_dense(xp, g, w) for g, w in zip(grads, weights)])
        clipped = bool(self.clipvalue or self.clipnorm or self.global_clipnorm)
        if self.rows == "move" and not clipped:  # a device sweeps whole tables along with the rest
            grads = [g.dense() if type(g) is RowGradient and g.xp is not np else g for g in grads]
        tables = [(w, g) for w, g in zip(weights, grads) if type(g) is RowGradient]
        if tables:
            self._store.add(weights, self._decays)  # slots in the order of all weights
            tables = [(self._store.entry(w), w, g) for w, g in tables]
            left = [(w, g) for w, g in zip(weights, grads) if type(g) is not RowGradient]
            weights, grads = map(list, zip(*left)) if left else ([], [])
        plan = self._store.plan(weights, self.slots(), self.scratch, clipped, self._decays)
        with flushed():
            self._sweep(plan, weights, grads, tables, clipped)
        count = self._iterations.array
        count += 1
        return self._iterations

    def _sweep(self, plan, weights, grads, tables, clipped):
        """Update weights and slots; see `apply`."""
        xp = tables[0][2].xp if tables else plan.xp
        host = xp is np
        grads = [
            g if host and type(g) is np.ndarray and g.shape == w._shape else _dense(xp, g, w)
            for g, w in zip(grads, weights)
        ]
        step = self.exact(xp, self._iterations)
        rate = self._rate(xp, step)
        exact = self.coefficients(xp, rate, step + 1)
        shrink = 1 - rate * self.weight_decay if self.weight_decay else None
        dtypes = plan.dtypes.union(entry.arena.dtype for entry, _, _ in tables)
        cast = {d: ([_cast(c, d) for c in exact], _cast(shrink, d)) for d in dtypes}
        tables = [(entry, w, g.astype(entry.arena.dtype, clipped)) for entry, w, g in tables]
        flat = self._clip(xp, plan.parts, grads, tables) if clipped else None
        for i, part in enumerate(plan.parts):
            coefficients, factor = cast[part.dtype]
            g = flat[i] if clipped else part.gather(grads)
            part.sweep(self.update, coefficients, g, factor if part.decayed else None)
        for entry, w, g in tables:
            slots = [entry.slot(*slot).array for slot in self.slots().items()]
            update_rows(self, cast[g.dtype][0], w.array, slots, g)
        for array, constraint in plan.constrained:
            with no_tape():
                array[...] = value_of(constraint(Tensor(array)))

    @property
    def takes_rows(self):
        """bool, whether `apply` takes RowGradients."""
        own_step = self.has_own_step or type(self).apply is not Optimizer.apply
        return bool(
            self.rows and self.is_legacy_optimizer and not self.weight_decay and not own_step
        )

    def _pairs(self, weights, grads):
        """Leave out the weights without gradient."""
        if len(weights) != len(grads):
            raise ValueError(
                f"{self.name}: expected one gradient for each of {len(weights)} weights, "
                f"got {len(grads)}"
            )
        empty = [i for i, g in enumerate(grads) if g is None]
        if not empty:
            return weights, grads
        names = tuple(weights[i].name for i in empty)
        if len(empty) == len(weights):
            raise ValueError(f"No gradients provided for any variable: {list(names)}.")
        if names not in self._warned:
            self._warned.add(names)
            _log.warning(
                "Gradients do not exist for variables %s when minimizing the loss.", list(names)
            )
        kept = [i for i, g in enumerate(grads) if g is not None]
        return [weights[i] for i in kept], [grads[i] for i in kept]

    def _rate(self, xp, step):
        rate = self._hyper["learning_rate"]
        if isinstance(rate, LearningRateSchedule):
            with no_tape():
                rate = rate(Tensor(xp.asarray(step)))
                rate = xp.asarray(value_of(rate)).astype("float64")
        else:
            rate = self.hyper(xp, "learning_rate")
        return rate / (1 + self.hyper(xp, "decay") * step) if self._has_decay else rate

    def _clip(self, xp, parts, grads, tables):
        """Return the flat gradients of all parts, clipped; these are buffers of the parts.

        The rows of tables are clipped in place.  As in Keras, their norm is that of the looked
        up rows, before those of one number are added up.
        """
        flat = [part.gather(grads) for part in parts]
        rows = [g.values for _, _, g in tables]
        self._bound(xp, flat + rows, [v for part in parts for _, v in part.views] + rows)
        return flat

    def _bound(self, xp, whole, each):
        """Clip gradients in place: ``whole`` are all of them, ``each`` one for each weight."""
        if self.clipvalue:
            for g in whole:
                xp.clip(g, -self.clipvalue, self.clipvalue, out=g)
        if self.clipnorm:
            for g in each:
                norm = xp.sqrt(_square_sum(xp, g))
                g *= self.clipnorm / xp.maximum(norm, self.clipnorm)
        if self.global_clipnorm:
            norm = xp.sqrt(sum(_square_sum(xp, g).astype("float64") for g in whole))
            scale = self.global_clipnorm / xp.maximum(norm, self.global_clipnorm)
            for g in whole:
                g *= scale.astype(g.dtype)

    def apply_gradients(
        self, grads_and_vars, name=None, skip_gradients_aggregation=False, **kwargs
    ):
        """Make one step; see `apply`.

        Args:
            grads_and_vars: iterable of (gradient, Variable).
            name: unused, as are the further arguments.

        Returns:
            The Variable `iterations`.
        """
        pairs = list(grads_and_vars)
        if not pairs:
            return self._iterations
        grads, weights = zip(*pairs)
        return self.apply(weights, grads)

    def minimize(self, loss, var_list, tape=None, grad_loss=None, name=None):
        """Compute gradients and make one step.

        Args:
            loss: function without arguments that returns a tensor, or a tensor that
                ``tape`` recorded.
            var_list: list of Variables, or a function that returns one.
            tape: GradientTape.
            grad_loss: gradient with respect to the loss; ones by default.
            name: unused.
        """
        if not callable(loss) and tape is None:
            raise ValueError(f"{self.name}: a tensor as loss needs the tape that recorded it")
        tape = tape or GradientTape()
        if callable(loss):
            with tape:
                loss = loss()
        weights = list(var_list() if callable(var_list) else var_list)
        return self.apply(weights, tape.gradient(loss, weights, grad_loss))

    def build(self, var_list):
        """Make the slots of weights now; otherwise their first step does."""
        if self.has_own_step:
            self._index_dict = {self._var_key(w): i for i, w in enumerate(var_list)}
            return
        self._store.add(list(var_list), self._decays)
        for w in var_list:
            for slot, initial in self.slots().items():
                self._store.entry(w).slot(slot, initial)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Leave weights out of weight decay; only before their first step.

        Args:
            var_list: list of Variables.
            var_names: list of strs; weights whose name contains one of them.
        """
        if any(w in self._store for w in var_list or ()) or (var_names and self._store.groups):
            raise ValueError(f"{self.name}: exclude_from_weight_decay comes after the first step")
        self._not_decayed = (tuple(map(id, var_list or ())), tuple(var_names or ()))

    def _decays(self, weight):
        ids, names = self._not_decayed
        return id(weight) not in ids and not any(n in weight.name for n in names)


def _dense(xp, g, weight):
    """Return a gradient as an array of the weight's shape; other forms are turned here."""
    g = value_of(g)
    if type(g) is not np.ndarray or xp is not np:
        g = as_array(g)
        if arrays.module_of(g) is not xp:
            g = xp.asarray(arrays.to_host(g))
    if g.shape != weight.shape:
        raise ShapeError(
            f"gradient of variable {weight.name!r}: expected shape {weight.shape}, "
            f"got {Shape(g.shape)}"
        )
    return g


def _cast(coefficient, dtype):
    if coefficient is None or type(coefficient) is float:
        return coefficient
    return coefficient.astype(dtype)


def _square_sum(xp, g):
    flat = g.reshape(-1)
    return np.dot(flat, flat) if xp is np else xp.sum(flat * flat)

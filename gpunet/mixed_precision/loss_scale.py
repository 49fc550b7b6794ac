"""Losses scaled up, so that small gradients survive in 16 bits."""

import numpy as np

from gpunet import arrays, ops, optimizers, registry
from gpunet.autodiff import GradientTape
from gpunet.autodiff.rows import RowGradient
from gpunet.optimizers.base import Optimizer
from gpunet.optimizers.state import _restore
from gpunet.tensor import Tensor, value_of
from gpunet.variables import runs

__all__ = ["LossScaleOptimizer", "LossScaleOptimizerV3"]

_SCALE, _GROWTH = 2.0**15, 2000
_OWN = ("inner_optimizer", "_dynamic", "_initial", "_growth", "_loss_scale", "_counter")


@registry.optimizers.register()
class LossScaleOptimizer(Optimizer):
    """An optimizer of losses that are multiplied by a scale before gradients are computed.

    ``fit`` scales losses and gradients by itself. In a loop of one's own, the gradients of
    `get_scaled_loss` go through `get_unscaled_gradients` before they are applied. All other
    attributes are those of the inner optimizer.

    Args:
        inner_optimizer: Optimizer.
        dynamic: bool. If True, the scale is halved whenever a gradient isn't finite, and that step
            is left out; after ``dynamic_growth_steps`` good steps in a row it is doubled.
        initial_scale: float, 32768 by default; needed where the scale is fixed.
        dynamic_growth_steps: int, 2000 by default.

    Raises:
        TypeError: no optimizer, or one that scales losses already.
        ValueError: a fixed scale that isn't given or not positive, or steps for a fixed one.

    Reference:
        Micikevicius et al., 2018, arXiv:1710.03740.
    """

    def __new__(cls, inner_optimizer=None, *args, **kwargs):
        newer = not getattr(inner_optimizer, "is_legacy_optimizer", True)
        return super().__new__(LossScaleOptimizerV3 if newer else cls)

    def __init__(
        self, inner_optimizer, dynamic=True, initial_scale=None, dynamic_growth_steps=None
    ):
        if isinstance(inner_optimizer, LossScaleOptimizer):
            raise TypeError(f"LossScaleOptimizer can't wrap another one, got {inner_optimizer!r}")
        if not isinstance(inner_optimizer, Optimizer):
            raise TypeError(
                "LossScaleOptimizer: expected inner_optimizer to be an optimizer, "
                f"got {inner_optimizer!r}"
            )
        if dynamic:
            initial_scale = _SCALE if initial_scale is None else initial_scale
            growth = _GROWTH if dynamic_growth_steps is None else dynamic_growth_steps
            if growth < 1:
                raise ValueError(
                    f"LossScaleOptimizer: expected dynamic_growth_steps >= 1, got {growth}"
                )
        else:
            growth = None
            if initial_scale is None:
                raise ValueError('"initial_scale" must be specified if "dynamic" is False')
            if dynamic_growth_steps is not None:
                raise ValueError(
                    '"dynamic_growth_steps" must be None if "dynamic" is False, '
                    f"but got: {dynamic_growth_steps}"
                )
        if not 0 < float(initial_scale) < float("inf"):
            raise ValueError(
                f"LossScaleOptimizer: expected initial_scale > 0, got {initial_scale!r}"
            )
        self.inner_optimizer = inner_optimizer
        self._dynamic, self._initial = bool(dynamic), float(initial_scale)
        self._growth = None if growth is None else int(growth)
        self._loss_scale = inner_optimizer._scalar(self._initial, "float32", "loss_scale")
        self._counter = inner_optimizer._scalar(0, "int64", "good_steps") if dynamic else None

    # -- what belongs to the inner optimizer ------------------------------------------------

    def __getattr__(self, name):
        if name in _OWN:  # before __init__ has run
            raise AttributeError(name)
        return getattr(self.inner_optimizer, name)

    def __setattr__(self, name, value):
        target = self if name in _OWN else self.inner_optimizer
        if target is self:
            object.__setattr__(self, name, value)
        else:
            setattr(target, name, value)

    @property
    def iterations(self):
        """Variable, the number of steps made; those left out don't count."""
        return self.inner_optimizer.iterations

    def slots(self):
        """Return the slots of the inner optimizer."""
        return self.inner_optimizer.slots()

    def slot_order(self):
        """Return the order of its slots."""
        return self.inner_optimizer.slot_order()

    def scalars(self):
        """Return its further Variables."""
        return self.inner_optimizer.scalars()

    def assumed(self):
        """Return a tuple of what a step takes for granted."""
        return (*self.inner_optimizer.assumed(), self._dynamic, self._growth)

    def older_weights(self, values, count):
        """Turn a list that an older Keras wrote into today's form."""
        return self.inner_optimizer.older_weights(values, count)

    # -- the scale --------------------------------------------------------------------------

    @property
    def dynamic(self):
        """bool, whether the scale changes."""
        return self._dynamic

    @property
    def loss_scale(self):
        """Tensor without axes, the scale as it is now."""
        return Tensor(self._loss_scale.array)

    @property
    def initial_scale(self):
        """float, the scale at the start."""
        return self._initial

    @property
    def dynamic_counter(self):
        """Variable, how many steps in a row had finite gradients; None for a fixed scale."""
        return self._counter

    @property
    def dynamic_growth_steps(self):
        """int, after how many of them the scale is doubled; None for a fixed scale."""
        return self._growth

    def get_scaled_loss(self, loss):
        """Return a loss, or what a function without arguments returns, times the scale.

        Args:
            loss: tensor, or such a function, for which a function is returned.
        """
        if callable(loss):
            return lambda: self.get_scaled_loss(loss())
        dtype = getattr(loss, "dtype", np.dtype("float32"))
        scale = self._loss_scale
        return ops.multiply(loss, scale if dtype == "float32" else ops.cast(scale, dtype))

    def get_unscaled_gradients(self, grads):
        """Return gradients divided by the scale.

        Args:
            grads: list of tensors, arrays, RowGradients and Nones.
        """
        return [None if g is None else self._unscaled(g) for g in grads]

    def _unscaled(self, g):
        if isinstance(g, RowGradient):
            g = g.dense()
        array = value_of(g)
        xp = arrays.module_of(array)
        scale = self._loss_scale.array
        if arrays.module_of(scale) is not xp:
            scale = xp.asarray(arrays.to_host(scale))
        array = array * (1 / scale).astype(array.dtype)
        return Tensor(array) if isinstance(g, Tensor) else array

    # -- the step ---------------------------------------------------------------------------

    def apply(self, weights, grads):
        """Make one step with unscaled gradients, unless one of them isn't finite.

        Where the scale is fixed, the step is made in any case. Nothing is read by the host.

        Args:
            weights: list of Variables.
            grads: list of arrays or tensors, one for each weight; None for one that stays.

        Returns:
            The Variable `iterations`.
        """
        weights, grads = list(weights), list(grads)
        if not self._dynamic or all(g is None for g in grads):
            return self.inner_optimizer.apply(weights, grads)
        given = [g.dense() if isinstance(g, RowGradient) else value_of(g) for g in grads]
        found = [g for g in given if g is not None]
        xp = arrays.module_of(found[0])
        finite = xp.isfinite(found[0]).all()
        for g in found[1:]:
            finite = finite & xp.isfinite(g).all()
        if xp is np:
            if finite:
                self.inner_optimizer.apply(weights, given)
        else:
            self._apply_if(xp, finite, weights, given)
        self._change_scale(xp, finite)
        return self.iterations

    def _apply_if(self, xp, finite, weights, grads):
        """Make a step and take it back where a scalar on the device is False."""
        inner = self.inner_optimizer
        inner.build([w for w, g in zip(weights, grads) if g is not None])
        written = [run.flat for run in runs([*weights, *inner.weights])]
        before = [a.copy() for a in written]
        # What isn't finite would be taken back, but may raise on its way.
        inner.apply(weights, [None if g is None else xp.where(finite, g, 0) for g in grads])
        for array, old in zip(written, before):
            array[...] = xp.where(finite, array, old)

    def _change_scale(self, xp, finite):
        """Halve the scale after a step that was left out; double it after enough good ones."""
        scale, counter = self._loss_scale.array, self._counter.array
        good = counter + 1
        grown = scale * 2
        grows = (good >= self._growth) & xp.isfinite(grown)
        after_good = xp.where(grows, grown, scale)
        after_bad = xp.maximum(scale / 2, 1)
        scale[...] = xp.where(finite, after_good, after_bad)
        counter[...] = xp.where(finite & (good < self._growth), good, 0)

    def minimize(self, loss, var_list, tape=None, grad_loss=None, name=None):
        """Compute gradients of the scaled loss and make one step; see `Optimizer.minimize`."""
        if not callable(loss) and tape is None:
            raise ValueError(f"{self.name}: a tensor as loss needs the tape that recorded it")
        tape = tape or GradientTape()
        with tape:
            loss = self.get_scaled_loss(loss() if callable(loss) else loss)
        weights = list(var_list() if callable(var_list) else var_list)
        with np.errstate(over="ignore", invalid="ignore"):  # `apply` sees to that
            grads = tape.gradient(loss, weights, grad_loss)
        return self.apply(weights, self.get_unscaled_gradients(grads))

    # -- configuration ----------------------------------------------------------------------

    def get_config(self):
        """Return a dict from which `from_config` makes an equal one."""
        return {
            "inner_optimizer": optimizers.serialize(self.inner_optimizer),
            "dynamic": self._dynamic,
            "initial_scale": self._initial,
            "dynamic_growth_steps": self._growth,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make one from what `get_config`, or the one of TensorFlow 2.1 to 2.3, returned."""
        config = dict(config)
        inner = config.pop("inner_optimizer", None) or config.pop("optimizer", None)
        inner = optimizers.deserialize(inner, custom_objects)
        if "loss_scale" in config:
            return cls(inner, **scale_options(config["loss_scale"]))
        return LossScaleOptimizer(inner, **config)

    def __reduce__(self):
        return _restore, (LossScaleOptimizer, self.get_config(), int(self.iterations))


@registry.optimizers.register()
class LossScaleOptimizerV3(LossScaleOptimizer):
    """A `LossScaleOptimizer` of an optimizer with the rules since Keras 2.11."""


def scale_options(loss_scale):
    """Return the options for a loss scale as TensorFlow 2.1 to 2.3 gave it.

    Args:
        loss_scale: ``'dynamic'``, a number, an object of
            `gpunet.mixed_precision.experimental`, or the config of one.
    """
    if isinstance(loss_scale, dict):
        options = loss_scale.get("config", {})
        if "loss_scale_value" in options:
            return {"dynamic": False, "initial_scale": options["loss_scale_value"]}
        if options.get("multiplier", 2.0) != 2.0:
            raise ValueError(f"loss scale: only a multiplier of 2 is available, got {options}")
        return {
            "dynamic": True,
            "initial_scale": options.get("initial_loss_scale", _SCALE),
            "dynamic_growth_steps": options.get("increment_period", _GROWTH),
        }
    if loss_scale == "dynamic":
        return {}
    if hasattr(loss_scale, "get_config"):
        return scale_options({"config": loss_scale.get_config()})
    if isinstance(loss_scale, (int, float)):
        return {"dynamic": False, "initial_scale": float(loss_scale)}
    raise ValueError(f"loss scale: expected 'dynamic' or a number, got {loss_scale!r}")

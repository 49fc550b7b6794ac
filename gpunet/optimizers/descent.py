"""Optimizers without bias correction: SGD, RMSprop, Adagrad, Adadelta, Ftrl.

The defaults are those of Keras 2.3.1.  Where scripts that name ``tensorflow.keras`` are to
get TensorFlow's instead, these constructors, and those in `gpunet.optimizers.moments`, are the
one place: Adagrad 0.001 and accumulators of 0.1, Adadelta 0.001, Adamax 0.001, Nadam 0.001.
"""

import numpy as np

from gpunet import registry
from gpunet.optimizers.base import Optimizer
from gpunet.optimizers.hyper import Hyper, epsilon_or_default, not_negative
from gpunet.optimizers.passes import average, descend

__all__ = ["SGD", "RMSprop", "Adagrad", "Adadelta", "Ftrl"]


class _Momentum(Optimizer):
    """Optimizers whose momentum may be switched off."""

    momentum = Hyper()

    def _set_hyper(self, name, value):
        super()._set_hyper(name, value)
        if name == "momentum":
            given = self._given.get(name, 0.0)
            if not 0 <= given <= 1:
                raise ValueError(
                    f"{type(self).__name__}: expected momentum between 0 and 1, got {given}"
                )

    @property
    def _has_momentum(self):
        return self._given.get("momentum", 1.0) > 0


@registry.optimizers.register("sgd")
class SGD(_Momentum):
    """Gradient descent: ``v = momentum * v - rate * g; w += v``.

    Args:
        learning_rate: float >= 0 or a schedule.
        momentum: float in [0, 1].
        nesterov: bool; ``w += momentum * v - rate * g`` with the new ``v``.
        name: str.
        **kwargs: see `Optimizer`.

    Reference:
        Sutskever et al., 2013, "On the importance of initialization and momentum in deep
        learning".
    """

    rows = "skip"
    settings = ("learning_rate", "decay", "momentum", "nesterov")
    newer_slots = {"momentum": "m"}

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, name="SGD", **kwargs):
        super().__init__(name, learning_rate, **kwargs)
        self.momentum = momentum
        self.nesterov = bool(nesterov)

    def slots(self):
        return {"momentum": 0.0} if self._has_momentum or not self.is_legacy_optimizer else {}

    def older_weights(self, values, count):
        # Keras before TensorFlow's own always wrote momenta.
        return values[:1] if not self.slots() and len(values) == 1 + count else values

    def coefficients(self, xp, rate, step):
        return rate, self.hyper(xp, "momentum") if self.slots() else 0.0

    def update(self, xp, coefficients, w, g, slots, scratch):
        rate, momentum = coefficients
        (t,) = scratch
        if not slots:
            descend(xp, w, g, rate, t)
            return
        xp.multiply(g, rate, out=t)
        (v,) = slots
        xp.multiply(v, momentum, out=v)
        xp.subtract(v, t, out=v)
        if self.nesterov:
            xp.subtract(w, t, out=w)
            xp.multiply(v, momentum, out=t)
            xp.add(w, t, out=w)
        else:
            xp.add(w, v, out=w)


@registry.optimizers.register("rmsprop")
class RMSprop(_Momentum):
    """Gradients divided by a running root mean square: ``w -= rate * g / (sqrt(rms) + epsilon)``.

    With momentum, epsilon is inside of the root, and the quotients are accumulated:
    ``v = momentum * v + rate * g / sqrt(rms + epsilon); w -= v``.

    Args:
        learning_rate: float >= 0 or a schedule.
        rho: float in [0, 1), decay of the mean square.
        momentum: float in [0, 1].
        epsilon: float > 0; None takes the global one.
        centered: bool, whether the square of the mean gradient is taken off the mean square.
        name: str.
        **kwargs: see `Optimizer`.

    Reference:
        Hinton, 2012, "Neural networks for machine learning", lecture 6; centered: Graves,
        2013, arXiv:1308.0850.
    """

    rho = Hyper()
    settings = ("learning_rate", "decay", "rho", "momentum", "epsilon", "centered")
    newer_slots = {"rms": "velocity", "mg": "average_gradient"}

    def __init__(
        self,
        learning_rate=0.001,
        rho=0.9,
        momentum=0.0,
        epsilon=None,
        centered=False,
        name="RMSprop",
        **kwargs,
    ):
        super().__init__(name, learning_rate, **kwargs)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = epsilon_or_default(epsilon)
        self.centered = bool(centered)

    @property
    def rows(self):
        """str; without momentum the means of all rows move on."""
        return "skip" if self._has_momentum else "move"

    def slots(self):
        names = ["rms"] + ["momentum"] * self._has_momentum + ["mg"] * self.centered
        return dict.fromkeys(names, 0.0)

    def slot_order(self):
        return [(name,) for name in self.slots()]

    def coefficients(self, xp, rate, step):
        rho = self.hyper(xp, "rho")
        return rate, rho, 1 - rho, self.hyper(xp, "momentum"), self.epsilon

    def update(self, xp, coefficients, w, g, slots, scratch):
        rate, rho, rest, momentum, epsilon = coefficients
        (t,) = scratch
        rms = slots[0]
        xp.multiply(g, g, out=t)
        average(xp, rms, t, rho, rest)
        if self.centered:
            mg = slots[-1]
            xp.multiply(g, rest, out=t)
            xp.multiply(mg, rho, out=mg)
            xp.add(mg, t, out=mg)
            xp.multiply(mg, mg, out=t)
            xp.subtract(rms, t, out=t)
            xp.maximum(t, 0, out=t)  # rounding can take a variance below 0
            rms = t
        if self._has_momentum or not self.is_legacy_optimizer:
            xp.add(rms, epsilon, out=t)
            xp.sqrt(t, out=t)
        else:
            xp.sqrt(rms, out=t)
            xp.add(t, epsilon, out=t)
        xp.divide(g, t, out=t)
        if self._has_momentum:
            v = slots[1]
            average(xp, v, t, momentum, rate)
            xp.subtract(w, v, out=w)
        else:
            descend(xp, w, t, rate, t)

    def idle(self, xp, coefficients, w, zeros, slots, scratch):
        if self._has_momentum:
            super().idle(xp, coefficients, w, zeros, slots, scratch)
            return
        for mean in slots:
            xp.multiply(mean, coefficients[1], out=mean)


@registry.optimizers.register("adagrad")
class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares so far.

    Args:
        learning_rate: float >= 0 or a schedule.
        initial_accumulator_value: float >= 0, where the sums start.
        epsilon: float > 0; None takes the global one.
        name: str.
        **kwargs: see `Optimizer`.

    Reference:
        Duchi et al., 2011, "Adaptive subgradient methods for online learning and stochastic
        optimization".
    """

    rows = "skip"
    settings = ("learning_rate", "decay", "initial_accumulator_value", "epsilon")

    def __init__(
        self,
        learning_rate=0.01,
        initial_accumulator_value=0.0,
        epsilon=None,
        name="Adagrad",
        **kwargs,
    ):
        super().__init__(name, learning_rate, **kwargs)
        self.initial_accumulator_value = not_negative(self, initial_accumulator_value)
        self.epsilon = epsilon_or_default(epsilon)

    def slots(self):
        return {"accumulator": self.initial_accumulator_value}

    def coefficients(self, xp, rate, step):
        return rate, self.epsilon

    def update(self, xp, coefficients, w, g, slots, scratch):
        rate, epsilon = coefficients
        (total,), (t,) = slots, scratch
        xp.multiply(g, g, out=t)
        xp.add(total, t, out=total)
        if self.is_legacy_optimizer:
            xp.sqrt(total, out=t)
            xp.add(t, epsilon, out=t)
        else:
            xp.add(total, epsilon, out=t)
            xp.sqrt(t, out=t)
        xp.divide(g, t, out=t)
        descend(xp, w, t, rate, t)


@registry.optimizers.register("adadelta")
class Adadelta(Optimizer):
    """Gradients scaled by the ratio of two running root mean squares: of updates, of gradients.

    Args:
        learning_rate: float >= 0 or a schedule.
        rho: float in [0, 1), decay of the mean squares.
        epsilon: float > 0; None takes the global one.
        name: str.
        **kwargs: see `Optimizer`.

    Reference:
        Zeiler, 2012, arXiv:1212.5701.
    """

    rho = Hyper()
    rows = "skip"
    scratch = 2
    settings = ("learning_rate", "decay", "rho", "epsilon")
    newer_slots = {"accum_grad": "accumulated_grad", "accum_var": "accumulated_delta_var"}

    def __init__(self, learning_rate=1.0, rho=0.95, epsilon=None, name="Adadelta", **kwargs):
        super().__init__(name, learning_rate, **kwargs)
        self.rho = rho
        self.epsilon = epsilon_or_default(epsilon)

    def slots(self):
        return {"accum_grad": 0.0, "accum_var": 0.0}

    def coefficients(self, xp, rate, step):
        rho = self.hyper(xp, "rho")
        return rate, rho, 1 - rho, self.epsilon

    def update(self, xp, coefficients, w, g, slots, scratch):
        rate, rho, rest, epsilon = coefficients
        gradients, updates = slots
        t, u = scratch
        xp.multiply(g, g, out=t)
        average(xp, gradients, t, rho, rest)
        xp.add(updates, epsilon, out=t)
        xp.add(gradients, epsilon, out=u)
        xp.divide(t, u, out=t)
        xp.sqrt(t, out=t)
        xp.multiply(t, g, out=t)
        xp.multiply(t, t, out=u)
        average(xp, updates, u, rho, rest)
        descend(xp, w, t, rate, t)


@registry.optimizers.register("ftrl")
class Ftrl(Optimizer):
    """Follow the regularized leader: weights that stay exactly 0 until gradients outweigh l1.

    Args:
        learning_rate: float > 0 or a schedule.
        learning_rate_power: float <= 0, how fast the rate falls with the sum of squares.
        initial_accumulator_value: float >= 0, where these sums start.
        l1_regularization_strength: float >= 0.
        l2_regularization_strength: float >= 0.
        l2_shrinkage_regularization_strength: float >= 0, added to the gradients alone.
        beta: float >= 0, part of the rate in the paper.
        name: str.
        **kwargs: see `Optimizer`.

    Reference:
        McMahan et al., 2013, "Ad click prediction: a view from the trenches".
    """

    l1_regularization_strength = Hyper()
    l2_regularization_strength = Hyper()
    beta = Hyper()
    rows = "skip"
    scratch = 2
    settings = (
        "learning_rate",
        "decay",
        "initial_accumulator_value",
        "learning_rate_power",
        "l1_regularization_strength",
        "l2_regularization_strength",
        "beta",
        "l2_shrinkage_regularization_strength",
    )

    def __init__(
        self,
        learning_rate=0.001,
        learning_rate_power=-0.5,
        initial_accumulator_value=0.1,
        l1_regularization_strength=0.0,
        l2_regularization_strength=0.0,
        l2_shrinkage_regularization_strength=0.0,
        beta=0.0,
        weight_decay=None,
        clipnorm=None,
        clipvalue=None,
        global_clipnorm=None,
        use_ema=False,
        ema_momentum=0.99,
        ema_overwrite_frequency=None,
        jit_compile=True,
        name="Ftrl",
        **kwargs,
    ):
        super().__init__(
            name,
            learning_rate,
            weight_decay=weight_decay,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            jit_compile=jit_compile,
            **kwargs,
        )
        if learning_rate_power > 0:
            raise ValueError(f"Ftrl: expected learning_rate_power <= 0, got {learning_rate_power}")
        self.learning_rate_power = float(learning_rate_power)
        self.initial_accumulator_value = not_negative(self, initial_accumulator_value)
        self.l1_regularization_strength = not_negative(self, l1_regularization_strength)
        self.l2_regularization_strength = not_negative(self, l2_regularization_strength)
        self.l2_shrinkage_regularization_strength = not_negative(
            self, l2_shrinkage_regularization_strength
        )
        self.beta = beta

    def slots(self):
        return {"accumulator": self.initial_accumulator_value, "linear": 0.0}

    def slot_order(self):
        return [("accumulator", "linear")]

    def coefficients(self, xp, rate, step):
        l2 = self.hyper(xp, "l2_regularization_strength") + self.hyper(xp, "beta") / (2 * rate)
        shrinkage = 2 * self.l2_shrinkage_regularization_strength
        return 1 / rate, self.hyper(xp, "l1_regularization_strength"), 2 * l2, float(shrinkage)

    def update(self, xp, coefficients, w, g, slots, scratch):
        per_rate, l1, twice_l2, shrinkage = coefficients
        total, linear = slots
        t, u = scratch
        self._power(xp, total, u)
        xp.multiply(g, g, out=t)
        xp.add(total, t, out=total)
        self._power(xp, total, t)
        xp.subtract(t, u, out=u)  # by how much the inverse rate has grown
        xp.multiply(u, per_rate, out=u)
        if shrinkage:
            xp.subtract(u, shrinkage, out=u)
        xp.multiply(u, w, out=u)
        xp.subtract(g, u, out=u)
        xp.add(linear, u, out=linear)
        xp.multiply(t, per_rate, out=t)
        xp.add(t, twice_l2, out=t)
        xp.maximum(t, np.finfo(w.dtype).tiny, out=t)  # 0 where no gradient ever came
        xp.clip(linear, -l1, l1, out=u)
        xp.subtract(u, linear, out=u)
        xp.divide(u, t, out=w)

    def _power(self, xp, total, out):
        if self.learning_rate_power == -0.5:
            xp.sqrt(total, out=out)
        else:
            xp.power(total, -self.learning_rate_power, out=out)

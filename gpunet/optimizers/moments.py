"""Adam and its relatives: running means of gradients and squares, corrected for their start."""

import numpy as np

from gpunet import registry
from gpunet.optimizers.base import Optimizer
from gpunet.optimizers.hyper import Hyper, epsilon_or_default
from gpunet.optimizers.passes import approach, descend

__all__ = ["Adam", "AdamW", "Adamax", "Nadam"]


class _Moments(Optimizer):
    """Optimizers with two decay rates and the slots m and v."""

    beta_1 = Hyper()
    beta_2 = Hyper()
    settings = ("learning_rate", "decay", "beta_1", "beta_2", "epsilon")

    def __init__(self, name, learning_rate, beta_1, beta_2, epsilon, **kwargs):
        super().__init__(name, learning_rate, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon_or_default(epsilon)

    def slots(self):
        return {"m": 0.0, "v": 0.0}


@registry.optimizers.register("adam")
class Adam(_Moments):
    """``w -= rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)``.

    m and v are running means of the gradients and of their squares.

    Args:
        learning_rate: float >= 0 or a schedule.
        beta_1: float in [0, 1), decay of m.
        beta_2: float in [0, 1), decay of v.
        amsgrad: bool, whether the largest v so far is used in place of v.
        epsilon: float > 0; None takes the global one.
        name: str.
        **kwargs: see `Optimizer`.

    Reference:
        Kingma & Ba, 2014, arXiv:1412.6980; epsilon is the "epsilon hat" of section 2.
        Reddi et al., 2018, "On the convergence of Adam and beyond".
    """

    settings = (*_Moments.settings, "amsgrad")

    def __init__(
        self,
        learning_rate=0.001,
        beta_1=0.9,
        beta_2=0.999,
        amsgrad=False,
        epsilon=None,
        name="Adam",
        **kwargs,
    ):
        super().__init__(name, learning_rate, beta_1, beta_2, epsilon, **kwargs)
        self.amsgrad = bool(amsgrad)

    def slots(self):
        return dict.fromkeys(["m", "v"] + ["vhat"] * self.amsgrad, 0.0)

    def slot_order(self):
        if self.is_legacy_optimizer:
            return super().slot_order()
        return [("m", "v")] + [("vhat",)] * self.amsgrad

    def older_weights(self, values, count):
        # Keras up to 2.3 always wrote a third array for each weight.
        unused = not self.amsgrad and len(values) == 1 + 3 * count
        return values[: 1 + 2 * count] if unused else values

    def coefficients(self, xp, rate, step):
        beta_1, beta_2 = self.hyper(xp, "beta_1"), self.hyper(xp, "beta_2")
        rate = rate * xp.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        return rate, 1 - beta_1, 1 - beta_2, self.epsilon

    def update(self, xp, coefficients, w, g, slots, scratch):
        rate, rest_1, rest_2, epsilon = coefficients
        m, v, *vhat = slots
        (t,) = scratch
        approach(xp, m, g, rest_1, t)
        xp.multiply(g, g, out=t)
        approach(xp, v, t, rest_2, t)
        for largest in vhat:
            v = xp.maximum(largest, v, out=largest)
        xp.sqrt(v, out=t)
        xp.add(t, epsilon, out=t)
        xp.divide(m, t, out=t)
        descend(xp, w, t, rate, t)


@registry.optimizers.register("adamw")
class AdamW(Adam):
    """`Adam` with weight decay: every weight first loses ``rate * weight_decay`` of itself.

    Args:
        learning_rate: float >= 0 or a schedule.
        weight_decay: float >= 0.
        beta_1: float in [0, 1), decay of m.
        beta_2: float in [0, 1), decay of v.
        epsilon: float > 0.
        amsgrad: bool, whether the largest v so far is used in place of v.
        clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
            jit_compile: see `Optimizer`.
        name: str.
        **kwargs: see `Optimizer`.

    Reference:
        Loshchilov & Hutter, 2017, arXiv:1711.05101.
    """

    def __init__(
        self,
        learning_rate=0.001,
        weight_decay=0.004,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-7,
        amsgrad=False,
        clipnorm=None,
        clipvalue=None,
        global_clipnorm=None,
        use_ema=False,
        ema_momentum=0.99,
        ema_overwrite_frequency=None,
        jit_compile=True,
        name="AdamW",
        **kwargs,
    ):
        kwargs["is_legacy_optimizer"] = False
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            amsgrad,
            epsilon,
            name,
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


@registry.optimizers.register("adamax")
class Adamax(_Moments):
    """Adam with a decaying maximum: ``v = max(beta_2 * v, |g|)``.

    ``w -= rate / (1 - beta_1^t) * m / (v + epsilon)``.

    Args:
        learning_rate: float >= 0 or a schedule.
        beta_1: float in [0, 1), decay of m.
        beta_2: float in [0, 1), decay of v.
        epsilon: float > 0; None takes the global one.
        name: str.
        **kwargs: see `Optimizer`.

    Reference:
        Kingma & Ba, 2014, arXiv:1412.6980, section 7.
    """

    rows = "skip"
    newer_slots = {"v": "u"}

    def __init__(
        self, learning_rate=0.002, beta_1=0.9, beta_2=0.999, epsilon=None, name="Adamax", **kwargs
    ):
        super().__init__(name, learning_rate, beta_1, beta_2, epsilon, **kwargs)

    def coefficients(self, xp, rate, step):
        beta_1, beta_2 = self.hyper(xp, "beta_1"), self.hyper(xp, "beta_2")
        return rate / (1 - beta_1**step), 1 - beta_1, beta_2, self.epsilon

    def update(self, xp, coefficients, w, g, slots, scratch):
        rate, rest_1, beta_2, epsilon = coefficients
        m, v = slots
        (t,) = scratch
        approach(xp, m, g, rest_1, t)
        xp.multiply(v, beta_2, out=v)
        xp.absolute(g, out=t)
        xp.maximum(v, t, out=v)
        xp.add(v, epsilon, out=t)
        xp.divide(m, t, out=t)
        descend(xp, w, t, rate, t)


@registry.optimizers.register("nadam")
class Nadam(_Moments):
    """Adam with Nesterov momentum, whose momentum rises from ``beta_1 / 2`` to ``beta_1``.

    Args:
        learning_rate: float >= 0.
        beta_1: float in [0, 1), decay of m and final momentum.
        beta_2: float in [0, 1), decay of v.
        epsilon: float > 0; None takes the global one.
        schedule_decay: float >= 0, how fast the momentum rises.
        name: str.
        **kwargs: see `Optimizer`; ``decay`` is another spelling of ``schedule_decay``.

    Raises:
        ValueError: a schedule as learning rate, which Keras doesn't take here either.

    Reference:
        Dozat, 2016, "Incorporating Nesterov momentum into Adam".
    """

    rows = "still"
    scratch = 2

    def __init__(
        self,
        learning_rate=0.002,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=None,
        schedule_decay=0.004,
        name="Nadam",
        **kwargs,
    ):
        decay = kwargs.pop("decay", None)
        super().__init__(name, learning_rate, beta_1, beta_2, epsilon, **kwargs)
        if not hasattr(self.learning_rate, "assign"):
            raise ValueError("Nadam: a schedule as learning rate isn't possible; give a number")
        self.schedule_decay = float(schedule_decay if decay is None else decay)
        if not self.is_legacy_optimizer:
            self.schedule_decay = 1.0  # the rule since Keras 2.11 has no other
        self.momentum_cache = self._scalar(1.0, "float32", "momentum_cache")

    def scalars(self):
        return [self.momentum_cache] if self.is_legacy_optimizer else []

    def set_weights(self, weights):
        super().set_weights(weights)
        if not self.is_legacy_optimizer:  # these files lack the product
            steps = np.arange(1, int(self.iterations) + 1)
            beta_1 = float(self.beta_1)
            self.momentum_cache.assign(np.prod(self._momentum(beta_1, steps)))

    def get_config(self):
        config = super().get_config()
        if self.is_legacy_optimizer:
            config["decay"] = self.schedule_decay
            if self.schedule_decay != 0.004:  # TensorFlow's Keras reads it under this name
                config["schedule_decay"] = self.schedule_decay
        return config

    def _momentum(self, beta_1, step):
        return beta_1 * (1 - 0.5 * 0.96 ** (self.schedule_decay * step))

    def coefficients(self, xp, rate, step):
        beta_1, beta_2 = self.hyper(xp, "beta_1"), self.hyper(xp, "beta_2")
        now, later = self._momentum(beta_1, step), self._momentum(beta_1, step + 1)
        product = self.exact(xp, self.momentum_cache) * now
        self.momentum_cache.assign(product)
        return (
            rate,
            1 - beta_1,
            1 - beta_2,
            1 / (1 - beta_2**step),
            (1 - now) / (1 - product),
            later / (1 - product * later),
            self.epsilon,
        )

    def update(self, xp, coefficients, w, g, slots, scratch):
        rate, rest_1, rest_2, correction, for_g, for_m, epsilon = coefficients
        m, v = slots
        t, u = scratch
        approach(xp, m, g, rest_1, t)
        xp.multiply(g, g, out=t)
        approach(xp, v, t, rest_2, t)
        xp.multiply(v, correction, out=u)
        xp.sqrt(u, out=u)
        xp.add(u, epsilon, out=u)
        xp.multiply(g, for_g, out=t)
        xp.divide(t, u, out=t)
        descend(xp, w, t, rate, t)
        xp.multiply(m, for_m, out=t)
        xp.divide(t, u, out=t)
        descend(xp, w, t, rate, t)

"""Random numbers that depend on a seed and a counter alone, and dropout.

A key names the numbers: (seed, stream, number of blocks to skip).  Given the same key an op
gives the same numbers again, on every device.  The counter of a training step lives on the
device, where each draw moves it on; weights get a stream of their own each.
"""

import functools
import math
import threading

import numpy as np

from gpunet import arrays, config
from gpunet.autodiff import differentiable
from gpunet.ops.elementwise import blend
from gpunet.ops.infer import given_shape, same
from gpunet.ops.nonlinear import polynomial
from gpunet.ops.philox import bits
from gpunet.recording import edited, effect
from gpunet.tensor import Symbolic, Tensor

__all__ = [
    "Generator",
    "default",
    "set_seed",
    "seeded",
    "uniform",
    "normal",
    "truncated_normal",
    "bernoulli",
    "random_integers",
    "permutation",
    "random_uniform",
    "random_normal",
    "random_truncated_normal",
    "random_binomial",
    "random_randint",
    "random_dropout",
    "dropout",
]

_WORD = 2**64 - 1
_STEPS = 0  # the stream of draws inside training steps
_SEEDED = 2**63  # the stream of keys made of a seed of their own


class Generator:
    """Source of keys for random numbers; safe to use from several threads.

    Args:
        seed: int; None draws one from ``np.random`` when it is first needed.
    """

    def __init__(self, seed=None):
        self._lock = threading.RLock()
        self._seed = None if seed is None else int(seed) & _WORD
        self._stream = 0
        self._state = None  # device array: seed, stream, blocks drawn so far
        self._device = None

    @property
    def seed(self):
        """int from 0 to 2**64 - 1."""
        with self._lock:
            if self._seed is None:
                self._seed = int.from_bytes(np.random.bytes(8), "little")
            return self._seed

    def set_seed(self, seed):
        """Start anew from a seed; recorded steps go on from there too."""
        self.set_state({"seed": int(seed) & _WORD, "stream": 0, "offset": 0})

    def reserve(self):
        """Return a key of three ints for a stream that nobody else gets."""
        with self._lock:
            self._stream += 1
            return (self.seed, self._stream, 0)

    def draw(self, n):
        """Return the key of the next n numbers and move the counter on, on the device.

        Args:
            n: int; an op that returns n elements needs no more than that.

        Returns:
            Tensor (3,), uint64: what the counter was before.
        """
        return Tensor(effect(functools.partial(self._draw, np.uint64(-(-n // 4)))))

    def _draw(self, blocks):
        with self._lock:
            state = self._on_device()
            key = state.copy()
            state[2:] += blocks
        return key

    def _on_device(self):
        device = arrays.current_device()
        if self._state is None:
            self._place(device, 0)
        elif self._device != device:
            self._place(device, int(arrays.to_host(self._state)[2]))
        return self._state

    def _place(self, device, offset):
        values = np.array([self.seed, _STEPS, offset], np.uint64)
        if self._state is None or self._device != device:
            if self._state is not None:
                edited()  # graphs hold that array
            # A copy: on the CPU, asarray would give the host array itself.
            self._state = device.xp.asarray(values).copy()
            self._device = device
        else:
            self._state[...] = device.xp.asarray(values)  # recorded steps hold this array

    def state(self):
        """Return what is needed to go on from here, as a dict of ints."""
        with self._lock:
            offset = 0 if self._state is None else int(arrays.to_host(self._state)[2])
            return {"seed": self.seed, "stream": self._stream, "offset": offset}

    def set_state(self, state):
        """Go on from where a `state` was taken."""
        with self._lock:
            self._seed = int(state["seed"]) & _WORD
            self._stream = int(state["stream"])
            offset = int(state["offset"]) & _WORD
            if self._state is not None or offset:
                self._place(self._device or arrays.current_device(), offset)

    def __reduce__(self):
        return _restored, (self.state(),)


def _restored(state):
    generator = Generator()
    generator.set_state(state)
    return generator


_default = Generator()


def default():
    """Return the generator that everything draws from unless told otherwise."""
    return _default


def set_seed(seed):
    """Start the default generator anew.

    Args:
        seed: int.
    """
    _default.set_seed(seed)


def seeded(seed, stream=0):
    """Return the key that an int given as ``seed=`` stands for, always the same."""
    return (int(seed) & _WORD, (_SEEDED + stream) & _WORD, 0)


def _key(key, shape):
    """Return a key as a Tensor on the current device; None draws one."""
    if key is None:
        return _default.draw(math.prod(shape))
    if isinstance(key, Tensor):
        return key
    return Tensor(arrays.to_device(np.array(key, np.uint64)))


def _arguments(shape, dtype, key):
    shape = (shape,) if isinstance(shape, int) else tuple([int(n) for n in shape])
    return _key(key, shape), {"shape": shape, "dtype": np.dtype(dtype or config.floatx()).name}


# -- distributions ------------------------------------------------------------------------


def uniform(shape, minval=0.0, maxval=1.0, dtype=None, key=None):
    """Return numbers spread evenly over an interval.

    Args:
        shape: tuple of ints.
        minval: float, lower end.
        maxval: float, upper end.
        dtype: name of a float type; None for the default one.
        key: from `Generator.reserve`, `Generator.draw` or `seeded`; None draws one.

    Returns:
        Tensor.
    """
    key, options = _arguments(shape, dtype, key)
    return random_uniform(key, minval=float(minval), maxval=float(maxval), **options)


def normal(shape, mean=0.0, stddev=1.0, dtype=None, key=None):
    """Return normally distributed numbers; see `uniform` for the other arguments."""
    key, options = _arguments(shape, dtype, key)
    return random_normal(key, mean=float(mean), stddev=float(stddev), **options)


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, key=None):
    """Return normally distributed numbers, none further than two ``stddev`` from the mean."""
    key, options = _arguments(shape, dtype, key)
    return random_truncated_normal(key, mean=float(mean), stddev=float(stddev), **options)


def bernoulli(shape, p=0.0, dtype=None, key=None):
    """Return ones with probability ``p`` and zeros; see `uniform` for the other arguments."""
    key, options = _arguments(shape, dtype, key)
    return random_binomial(key, p=float(p), **options)


def random_integers(shape, low, high, dtype="int32", key=None):
    """Return whole numbers from ``low`` to ``high - 1``, at most 2**32 different ones."""
    key, options = _arguments(shape, dtype, key)
    return random_randint(key, low=int(low), high=int(high), **options)


def permutation(n, key=None, xp=np):
    """Return the numbers 0..n - 1 in random order, as an array of a module's current device.

    Args:
        n: int.
        key: three ints; None reserves a stream.
        xp: array module; the order is the same in all.
    """
    key = np.array(_default.reserve() if key is None else key, np.uint64)
    return xp.argsort(bits(xp, key if xp is np else xp.asarray(key), n), kind="stable")


def _unit(xp, key, n, dtype):
    """Return n float32 or float64 numbers from 0 (included) to 1, with all their bits."""
    if dtype == "float64":
        return (bits(xp, key, n) >> np.uint64(11)).astype("float64") * 2.0**-53
    return (bits(xp, key, n, 32) >> np.uint32(8)).astype("float32") * 2.0**-24


@differentiable(infer=given_shape)
def random_uniform(xp, key, /, shape, minval=0.0, maxval=1.0, dtype="float32"):
    """Return the numbers that a key names, evenly spread from ``minval`` to ``maxval``."""
    n = math.prod(shape)
    if dtype == "float16":
        unit = (bits(xp, key, n, 32) >> np.uint32(21)).astype("float16") * 2.0**-11
    else:
        unit = _unit(xp, key, n, dtype)
    return (unit * (maxval - minval) + minval).astype(dtype).reshape(shape), None


@differentiable(infer=given_shape)
def random_normal(xp, key, /, shape, mean=0.0, stddev=1.0, dtype="float32"):
    """Return the normally distributed numbers that a key names.

    Reference:
        Box and Muller, 1958, Ann. Math. Statist. 29(2), 610-611.
    """
    n = math.prod(shape)
    half = -(-n // 2)
    unit = _unit(xp, key, 2 * half, dtype)
    radius = xp.sqrt(-2 * xp.log(1 - unit[:half]))  # 1 - unit is never 0
    angle = 2 * math.pi * unit[half:]
    z = xp.concatenate([radius * xp.cos(angle), radius * xp.sin(angle)], axis=0)[:n]
    return (z * stddev + mean).astype(dtype).reshape(shape), None


# Share of a normal distribution between 0 and 2 standard deviations.
_TWO_SIGMA = 0.4772498680518208


@differentiable(infer=given_shape)
def random_truncated_normal(xp, key, /, shape, mean=0.0, stddev=1.0, dtype="float32"):
    """Return the numbers that a key names, normal within two standard deviations."""
    n = math.prod(shape)
    q = (2 * _unit(xp, key, n, dtype) - 1) * _TWO_SIGMA
    z = xp.minimum(xp.maximum(_normal_quantile(xp, q), -2.0), 2.0)
    return (z * stddev + mean).astype(dtype).reshape(shape), None


_CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
     4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
     1.3314166789178437745e2, 3.3871328727963666080),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
     2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
     4.2313330701600911252e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
     1.27045825245236838258, 3.64784832476320460504, 5.76949722146069140550,
     4.63033784615654529590, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
     1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940,
     2.05319162663775882187, 1.0),
)  # fmt: skip


def _normal_quantile(xp, q):
    """Return the number that a normal variable stays below with probability ``0.5 + q``.

    Good for ``|q| < 0.5 - 1e-10``.

    Reference:
        Wichura, 1988, Algorithm AS 241, J. R. Stat. Soc. C 37(3), 477-484.
    """
    size = xp.abs(q)
    inner = xp.minimum(size, 0.425)
    r = 0.180625 - inner * inner
    centre = q * (polynomial(r, _CENTRE[0]) / polynomial(r, _CENTRE[1]))
    r = xp.sqrt(-xp.log(0.5 - xp.maximum(size, 0.425))) - 1.6
    tail = xp.sign(q) * (polynomial(r, _TAIL[0]) / polynomial(r, _TAIL[1]))
    return blend(size <= 0.425, centre, tail)


@differentiable(infer=given_shape)
def random_binomial(xp, key, /, shape, p=0.0, dtype="float32"):
    """Return the ones (with probability ``p``) and zeros that a key names."""
    drawn = bits(xp, key, math.prod(shape), 32)
    return (~_at_least(drawn, p)).astype(dtype).reshape(shape), None


@differentiable(infer=given_shape)
def random_randint(xp, key, /, shape, low, high, dtype="int32"):
    """Return the whole numbers from ``low`` to ``high - 1`` that a key names."""
    if not 0 < high - low <= 2**32:
        raise ValueError(f"expected 1 to 2**32 different integers, got {low}..{high - 1}")
    drawn = bits(xp, key, math.prod(shape), 32).astype("uint64")
    drawn = (drawn * np.uint64(high - low)) >> np.uint64(32)
    return (drawn.astype("int64") + low).astype(dtype).reshape(shape), None


# -- dropout ------------------------------------------------------------------------------


def dropout(x, rate, noise_shape=None, generator=None):
    """Return ``x`` with a random share of its elements set to 0 and the others scaled up.

    Args:
        x: float tensor.
        rate: float from 0 to 1, share of zeros.
        noise_shape: see `random_dropout`.
        generator: Generator; None takes the default one.
    """
    if isinstance(x, Symbolic):
        key = np.zeros(3, np.uint64)  # no values, so no randomness either
    else:
        key = (generator or _default).draw(x.size)
    return random_dropout(x, key, rate=rate, noise_shape=noise_shape)


def _at_least(drawn, p):
    """Return where random bits say so, with probability ``1 - p``."""
    ends = 2 ** (8 * drawn.dtype.itemsize)
    threshold = round(p * ends)
    if threshold > ends - 1:
        return drawn != drawn
    return drawn >= drawn.dtype.type(threshold)


def dropout_bits(rate):
    """Return how many random bits decide about an element: 16 where they do, else 32.

    With 16 the share of zeros differs from ``rate`` by less than a thousandth of it.
    """
    whole = rate * 2**16
    return 16 if abs(round(whole) - whole) * 1000 < whole else 32


@differentiable(infer=same)
def random_dropout(xp, x, key, /, rate, noise_shape=None):
    """Return ``x`` with a share of its elements set to 0 and the others scaled up.

    Args:
        x: float tensor.
        key: uint64 tensor (3,), from ``Generator.draw(x.size)``.
        rate: float from 0 to 1, share of zeros; the others are divided by ``1 - rate``.
        noise_shape: tuple with 1 (or None for the size of ``x``) for axes along which
            elements are dropped together, or None.

    Reference:
        Srivastava et al., 2014, JMLR 15, 1929-1958.
    """
    if not rate:
        return x, (None,)
    shape = tuple([int(n) for n in x.shape])
    if noise_shape is not None:
        if len(noise_shape) != len(shape):
            raise ValueError(
                f"dropout: expected a noise_shape of {len(shape)} sizes, got {noise_shape}"
            )
        shape = tuple([n if m is None else int(m) for n, m in zip(shape, noise_shape)])
    drawn = bits(xp, key, math.prod(shape), dropout_bits(rate))
    keep = _at_least(drawn, rate).reshape(shape)
    mask = keep.astype(x.dtype) * (1 / (1 - rate) if rate < 1 else 0.0)
    return x * mask, (mask,)


@random_dropout.backward
def random_dropout_backward(xp, saved, gy, needs):
    (mask,) = saved
    return gy if mask is None else gy * mask, None

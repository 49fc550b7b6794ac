"""Random tensors: drawn anew whenever they are computed."""

from gpunet import config
from gpunet.backend.expression import expression
from gpunet.backend.sizes import resolved, symbolic
from gpunet.context import tracing
from gpunet.graph import SymbolicTensor
from gpunet.ops import random
from gpunet.tensor import convert_to_tensor

__all__ = [
    "dropout",
    "random_bernoulli",
    "random_binomial",
    "random_normal",
    "random_uniform",
    "truncated_normal",
]

_seeded = {}  # seed -> Generator, so that the draws of one seed go on from call to call


def generators():
    """Return the dict seed -> Generator of the sequences that have begun."""
    return _seeded


def reset():
    """Start the sequences of all seeds anew."""
    _seeded.clear()


def _generator(seed):
    if seed is None:
        return random.default()
    return _seeded.setdefault(int(seed), random.Generator(int(seed)))


def _drawn(draw, shape, dtype, seed):
    """Return random numbers of a shape; while a call is traced, what they would be."""
    sizes = resolved(shape)
    if tracing() or symbolic(shape):
        return SymbolicTensor(sizes, dtype)
    count = 1
    for n in sizes:
        count *= n
    return draw(sizes, dtype=dtype, key=_generator(seed).draw(count))


@expression
def random_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Return normally distributed numbers.

    Args:
        shape: tuple of ints and sizes (see `K.shape`).
        mean: float.
        stddev: float.
        dtype: name of a float type; the default one if not given.
        seed: int that starts a sequence of draws of its own, or None.
    """

    def draw(sizes, **options):
        return random.normal(sizes, mean, stddev, **options)

    return _drawn(draw, shape, dtype or config.floatx(), seed)


@expression
def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Return normally distributed numbers, none further than two ``stddev`` from the mean."""

    def draw(sizes, **options):
        return random.truncated_normal(sizes, mean, stddev, **options)

    return _drawn(draw, shape, dtype or config.floatx(), seed)


@expression
def random_uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """Return numbers spread evenly from ``minval`` to ``maxval``, which isn't reached.

    Args:
        shape, seed: see `random_normal`.
        minval: float; int with an integer type.
        maxval: float; int with an integer type.
        dtype: name; the default float type if not given.
    """
    dtype = dtype or config.floatx()

    def draw(sizes, **options):
        if str(dtype).startswith("float"):
            return random.uniform(sizes, minval, maxval, **options)
        return random.random_integers(sizes, minval, maxval, **options)

    return _drawn(draw, shape, dtype, seed)


@expression
def random_bernoulli(shape, p=0.0, dtype=None, seed=None):
    """Return ones with probability ``p`` and zeros; see `random_normal`."""

    def draw(sizes, **options):
        return random.bernoulli(sizes, p, **options)

    return _drawn(draw, shape, dtype or config.floatx(), seed)


def random_binomial(shape, p=0.0, dtype=None, seed=None):
    """Return ones with probability ``p`` and zeros; see `random_normal`."""
    return random_bernoulli(shape, p, dtype, seed)


@expression
def dropout(x, level, noise_shape=None, seed=None):
    """Return ``x`` with a random share of its elements set to 0 and the others scaled up.

    It does so in every phase; `in_train_phase` confines it to training.

    Args:
        x: float tensor.
        level: float from 0 to 1, share of zeros.
        noise_shape: tuple with 1 for axes along which elements are dropped together, or None.
        seed: see `random_normal`.
    """
    if isinstance(x, SymbolicTensor):
        return SymbolicTensor(x.shape, x.dtype)
    shape = None if noise_shape is None else resolved(noise_shape)
    return random.dropout(convert_to_tensor(x), level, shape, _generator(seed))

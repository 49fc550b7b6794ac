"""Random bits from a counter: Philox4x64-10, the same integers from every array module.

Reference:
    Salmon et al., 2011, Parallel random numbers: as easy as 1, 2, 3, SC '11.
"""

import threading

import numpy as np

from gpunet.autodiff import differentiable, taped

__all__ = ["random_bits", "bits"]

_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_BUMPS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B))
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)

_local = threading.local()


def _infer(key, n, width=64, **_):
    return (n,)


@differentiable(infer=_infer)
def random_bits(xp, key, /, n, width=64):
    """Return random unsigned integers.

    Args:
        key: uint64 tensor (3,): seed, stream, and the number of blocks of four to skip.
        n: int, how many.
        width: 64, 32 or 16, bits of each; a 64-bit word makes several, the lowest bits first.

    Returns:
        Tensor (n,), uint64, uint32 or uint16.
    """
    return bits(xp, key, n, width), None


def bits(xp, key, n, width=64):
    """Return random unsigned integers as an array; see `random_bits`."""
    if xp is taped:
        return random_bits(key, n=n, width=width)
    words = -(-n * width // 64)
    if xp is np:
        return _native(key, words).astype("<u8", copy=False).view(f"<u{width // 8}")[:n]
    drawn = _vectorised(xp, key, words)
    if width == 64:
        return drawn
    kind, low = f"uint{width}", np.uint64(2**width - 1)
    parts = [((drawn >> np.uint64(at)) & low).astype(kind) for at in range(0, 64, width)]
    return xp.stack(parts, axis=1).reshape((-1,))[:n]


def _native(key, words):
    """Draw from NumPy's own generator, which counts up before it makes a block."""
    generator = getattr(_local, "generator", None)
    if generator is None:
        generator = _local.generator = np.random.Philox(0)
        _local.state = generator.state
    state = _local.state
    state["state"]["key"] = key[:2]
    state["state"]["counter"] = np.array([key[2], 0, 0, 0], np.uint64)
    generator.state = state
    return generator.random_raw(words)


def _vectorised(xp, key, words):
    """Make the same integers with array operations."""
    blocks = -(-words // 4)
    k0, k1, skipped = key[0:1], key[1:2], key[2:3]
    c0 = xp.arange(1, blocks + 1, dtype="uint64") + skipped
    c1 = (c0 <= skipped).astype("uint64")  # the sum went over 2 ** 64
    c2 = c3 = xp.zeros(blocks, dtype="uint64")
    for step in range(10):
        if step:
            k0, k1 = k0 + _BUMPS[0], k1 + _BUMPS[1]
        high0, low0 = _product(c0, _MULTIPLIERS[0])
        high1, low1 = _product(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
    return xp.stack([c0, c1, c2, c3], axis=1).reshape((-1,))[:words]


def _product(x, number):
    """Return the upper and the lower 64 bits of ``x * number``."""
    a, b = x >> _HALF, x & _LOW
    c, d = np.uint64(number >> 32), np.uint64(number & 0xFFFFFFFF)
    ad, bc, bd = a * d, b * c, b * d
    middle = (bd >> _HALF) + (ad & _LOW) + (bc & _LOW)
    high = a * c + (ad >> _HALF) + (bc >> _HALF) + (middle >> _HALF)
    return high, x * np.uint64(number)

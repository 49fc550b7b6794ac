"""The hashes of strings that TensorFlow uses: FarmHash's Fingerprint64, and SipHash-2-4.

Reference:
    Pike and Alakuijala, FarmHash, https://github.com/google/farmhash.
    Aumasson and Bernstein, 2012, SipHash, https://www.131002.net/siphash/siphash.pdf.
"""

__all__ = ["fingerprint", "joined", "keyed"]

_ALL = 2**64 - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def _at(s, i, size=8):
    return int.from_bytes(s[i : i + size], "little")


def _turn(x, n):
    """Return 64 bits, of what may be more of them, rotated to the right."""
    x &= _ALL
    return (x >> n | x << (64 - n)) & _ALL


def _mixed(x):
    x &= _ALL
    return x ^ x >> 47


def _pair(u, v, mul):
    a = _mixed(((u ^ v) & _ALL) * mul)
    return _mixed(((v & _ALL) ^ a) * mul) * mul & _ALL


def _short(s):
    n = len(s)
    mul = _K2 + n * 2
    if n >= 8:
        a, b = _at(s, 0) + _K2, _at(s, n - 8)
        return _pair(_turn(b, 37) * mul + a, (_turn(a, 25) + b) * mul, mul)
    if n >= 4:
        return _pair(n + (_at(s, 0, 4) << 3), _at(s, n - 4, 4), mul)
    if n == 0:
        return _K2
    y, z = s[0] + (s[n >> 1] << 8), n + (s[-1] << 2)
    return _mixed(y * _K2 ^ z * _K0) * _K2 & _ALL


def _middle(s):
    n = len(s)
    mul = _K2 + n * 2
    first = _K1 if n <= 32 else _K2
    a, b = _at(s, 0) * first, _at(s, 8)
    c, d = _at(s, n - 8) * mul, _at(s, n - 16) * _K2
    y = _turn(a + b, 43) + _turn(c, 30) + d
    z = _pair(y, a + _turn(b + _K2, 18) + c, mul)
    if n <= 32:
        return z
    e, f = _at(s, 16) * mul, _at(s, 24)
    g, h = (y + _at(s, n - 32)) * mul, (z + _at(s, n - 24)) * mul
    return _pair(_turn(e + f, 43) + _turn(g, 30) + h, e + _turn(f + a, 18) + g, mul)


def _block(s, i, a, b):
    w, x, y, z = (_at(s, i + k) for k in (0, 8, 16, 24))
    a += w
    b = _turn(b + a + z, 21)
    c = a
    a += x + y
    return (a + z) & _ALL, (b + _turn(a, 44) + c) & _ALL


def _round(s, i, state, mul, nine=1):
    x, y, z, v, w = state
    x = _turn(x + y + v[0] + _at(s, i + 8), 37) * mul
    y = _turn(y + v[1] + _at(s, i + 48), 42) * mul
    x = (x ^ w[1] * nine) & _ALL
    y = (y + v[0] * nine + _at(s, i + 40)) & _ALL
    z = _turn(z + w[0], 33) * mul & _ALL
    v = _block(s, i, v[1] * mul, x + w[0])
    w = _block(s, i + 32, z + w[1], y + _at(s, i + 16))
    return z, y, x, v, w


def _long(s):
    y = 81 * _K1 + 113
    z = _mixed(y * _K2 + 113) * _K2
    state = (81 * _K2 + _at(s, 0), y, z, (0, 0), (0, 0))
    rest = len(s) - 1 & 63
    for i in range(0, (len(s) - 1) // 64 * 64, 64):
        state = _round(s, i, state, _K1)
    x, y, z, v, w = state
    mul = _K1 + ((z & 255) << 1)
    w = (w[0] + rest, w[1])
    v = (v[0] + w[0], v[1])
    w = (w[0] + v[0], w[1])
    x, y, z, v, w = _round(s, len(s) - 64, (x, y, z, v, w), mul, 9)
    first = _pair(v[0], w[0], mul) + _mixed(y) * _K0 + z
    return _pair(first, _pair(v[1], w[1], mul) + x, mul)


def fingerprint(s):
    """Return FarmHash's Fingerprint64 of bytes, an int."""
    return _short(s) if len(s) <= 16 else _middle(s) if len(s) <= 64 else _long(s)


def joined(first, second):
    """Return the hash of two hashes in order, as TensorFlow's FingerprintCat64."""
    mul = 0xC6A4A7935BD1E995
    result = first ^ mul
    result = (result ^ _mixed(second * mul) * mul) * mul
    return _mixed(_mixed(result) * mul)


def keyed(s, key):
    """Return SipHash-2-4 of bytes.

    Args:
        s: bytes.
        key: two ints.
    """
    low, high = (k & _ALL for k in key)
    state = [
        low ^ 0x736F6D6570736575,
        high ^ 0x646F72616E646F6D,
        low ^ 0x6C7967656E657261,
        high ^ 0x7465646279746573,
    ]
    padded = s + bytes(7 - len(s) % 8) + bytes([len(s) & 255])
    for i in range(0, len(padded), 8):
        word = _at(padded, i)
        state[3] ^= word
        state = _sip(_sip(state))
        state[0] ^= word
    state[2] ^= 255
    for _ in range(4):
        state = _sip(state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _sip(state):
    a, b, c, d = state
    a = (a + b) & _ALL
    b = _turn(b, 51) ^ a
    a = _turn(a, 32)
    c = (c + d) & _ALL
    d = _turn(d, 48) ^ c
    a = (a + d) & _ALL
    d = _turn(d, 43) ^ a
    c = (c + b) & _ALL
    b = _turn(b, 47) ^ c
    return [a, b, _turn(c, 32), d]

"""Many random numbers on the CPU: pieces that stay in cache, on all cores.

A key says how many blocks of the counter to skip, so any piece of what it names can be drawn
alone: the numbers are those of one draw.
"""

import math

import numpy as np

from gpunet import threads
from gpunet.ops.memory import empty
from gpunet.ops.random import random_truncated_normal, random_uniform

__all__ = []

PIECE = 2**15  # numbers in a piece: a multiple of those in a block of the counter


def _are_many(xp, key, /, *, shape, **_):
    return xp is np and math.prod(shape) > PIECE


def _in_pieces(op):
    """Let an op that makes one number of each random one draw in pieces."""

    def draw(xp, key, /, *, shape, dtype="float32", **options):
        each = 4 if dtype == "float64" else 8  # numbers in a block of the counter
        size, first = math.prod(shape), int(key[2])
        if first + size >= 2**64:  # the counter goes over: only one draw knows how
            return op.forward(xp, key, shape=shape, dtype=dtype, **options)
        y = empty(shape, dtype)
        flat = y.reshape(-1)

        def start():
            def work(i):
                target = flat[i * PIECE : (i + 1) * PIECE]
                place = np.array([key[0], key[1], first + i * PIECE // each], np.uint64)
                target[...] = op.forward(np, place, shape=target.shape, dtype=dtype, **options)[0]

            return work

        threads.spread(-(-size // PIECE), start)
        return y, None

    draw.__name__ = f"{op.name}_in_pieces"
    op.fused(when=_are_many)(draw)


for _op in (random_uniform, random_truncated_normal):
    _in_pieces(_op)

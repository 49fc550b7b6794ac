"""Cases of `gpunet.ops.einsum` for the table of ops."""

import numpy as np
from op_cases import Case, real

from gpunet import ops


def summed(label, equation, *inputs):
    return Case(
        ops.einsum,
        inputs,
        lambda x, y, equation: np.einsum(equation, x, y, optimize=False),
        label=label,
        loose=2,
        equation=equation,
    )


CASES = [
    summed("matrices", "ab,bc->ac", real(3, 4), real(4, 5)),
    summed("two_axes", "abcd,cde->abe", real(3, 2, 4, 2), real(4, 2, 5)),
    summed("turned", "abc,dc->bad", real(3, 2, 4), real(5, 4)),
    summed("elementwise", "ab,b->ab", real(3, 4), real(4)),
    summed("outer", "ab,c->acb", real(3, 4), real(2)),
    summed("alone", "abc,cd->ad", real(3, 2, 4), real(4, 5)),
    summed("dots_left", "...b,bc->...c", real(3, 2, 4), real(4, 5)),
    summed("dots_right", "ab...,bc->ac...", real(3, 4, 2, 2), real(4, 5)),
]

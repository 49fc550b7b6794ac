"""Ops' fused implementations: CUDA kernels of our own for what an op would do in several steps.

Importing this offers them to the ops; CuPy is imported, and a kernel compiled, when the first
arrays come that one fits.
"""

from gpunet.fused import (
    binary,
    convolution,
    dropout,
    elementwise,
    endings,
    gemm,
    normalization,
    pool,
    reduce,
    rnn,
    rows,
    sweeps,
    table,
    transfers,
)

__all__ = [
    "binary",
    "convolution",
    "dropout",
    "elementwise",
    "endings",
    "gemm",
    "normalization",
    "pool",
    "reduce",
    "rnn",
    "rows",
    "sweeps",
    "table",
    "transfers",
]

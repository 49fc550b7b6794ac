"""Matrix products whose factors have few columns, in pieces that BLAS multiplies as they lie.

OpenBLAS copies the factors of a large product into an order of its own, which costs as much as
the product itself where the factors are thin.  Small products it does without: up to a number of
multiplications, and at up to one and a half times the speed.
"""

import numpy as np

__all__ = ["columns_times", "is_large", "pieces", "rows_times"]

SMALL = 10**6  # multiplications up to which a product counts as small
FEWEST = 48  # rows in a piece: shorter ones don't fill the registers


def is_large(columns, filters):
    """Return whether products with a matrix (columns, filters) aren't worth being cut up."""
    return columns * filters * FEWEST > SMALL


def pieces(rows, columns, filters):
    """Return in how many pieces a product (rows, columns) times (columns, filters) is done."""
    if is_large(columns, filters):
        return 1
    return max(1, -(-rows * columns * filters // SMALL))


def _cut(a, n, each):
    """Return the first n * each rows of (..., rows, columns) as (..., n, each, columns)."""
    *lead, _, columns = a.shape
    return a[..., : n * each, :].reshape((*lead, n, each, columns))


def rows_times(a, b, out):
    """Write the product of (..., rows, columns) and (columns, filters) into ``out``."""
    rows = a.shape[-2]
    n = pieces(rows, *b.shape)
    if n < 2:
        np.matmul(a, b, out=out)
        return
    each = rows // n
    np.matmul(_cut(a, n, each), b, out=_cut(out, n, each))
    if n * each < rows:
        np.matmul(a[..., n * each :, :], b, out=out[..., n * each :, :])


def columns_times(a, g, out, buffers):
    """Write the product of (rows, columns), transposed, and (rows, filters) into ``out``."""
    rows, columns = a.shape
    n = pieces(rows, columns, g.shape[-1])
    if n < 2:
        np.matmul(a.T, g, out=out)
        return
    each = rows // n
    parts = buffers.get("parts", (n, *out.shape), out.dtype)
    np.matmul(_cut(a, n, each).swapaxes(-1, -2), _cut(g, n, each), out=parts)
    np.add.reduce(parts, axis=0, out=out)
    if n * each < rows:
        out += a[n * each :].T @ g[n * each :]

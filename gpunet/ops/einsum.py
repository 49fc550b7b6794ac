"""Sums of products of two tensors over axes named by letters."""

import math
from string import ascii_letters

import numpy as np

from gpunet.autodiff import differentiable, taped
from gpunet.errors import ShapeError
from gpunet.ops.products import product

__all__ = ["einsum"]


def _parts(equation):
    """Return the three terms of an equation, ``...`` in them as one ``0``."""
    left, _, made = equation.replace(" ", "").replace("...", "0").partition("->")
    first, _, second = left.partition(",")
    return first, second, made


def _infer(x, y, *, equation):
    first, second, made = _parts(equation)
    sizes, dots = {}, ()
    for term, shape in ((first, tuple(x)), (second, tuple(y))):
        at = term.find("0")
        hidden = len(shape) - len(term) + 1 if at >= 0 else 0
        if hidden < 0 or (at < 0 and len(shape) != len(term)):
            raise ShapeError(f"einsum {equation!r}: shape {shape} doesn't fit its term")
        if at >= 0:
            dots = shape[at : at + hidden]
            shape, term = shape[:at] + shape[at + hidden :], term.replace("0", "")
        for letter, size in zip(term, shape, strict=True):
            if sizes.get(letter) is None:
                sizes[letter] = size
            elif size is not None and size != sizes[letter]:
                raise ShapeError(
                    f"einsum {equation!r}: axis {letter!r} has sizes {sizes[letter]} and {size}"
                )
    shape = ()
    for letter in made:
        shape += dots if letter == "0" else (sizes[letter],)
    return shape


@differentiable(promote=0, infer=_infer)
def einsum(xp, x, y, /, *, equation):
    """Return sums of products of two tensors over the axes that the result lacks.

    Args:
        x, y: tensors.
        equation: str such as ``'abc,cd->abd'``; ``...`` stands for further axes of one of the
            tensors that the result has too. No letter may come twice in a term.

    Returns:
        Tensor.
    """
    first, second, made = _named(equation, x.ndim, y.ndim)
    return _contracted(xp, x, y, first, second, made), (x, y, equation)


@einsum.backward
def einsum_backward(xp, saved, gy, needs):
    x, y, equation = saved
    first, second, made = _named(equation, x.ndim, y.ndim)
    gx = _pulled(xp, gy, y, made, second, first, x.shape) if needs[0] else None
    gy_y = _pulled(xp, gy, x, made, first, second, y.shape) if needs[1] else None
    return gx, gy_y


def _named(equation, x_rank, y_rank):
    """Return the three terms with letters in place of the dots."""
    terms = _parts(equation)
    hidden = max(
        rank - len(term) + 1 if "0" in term else 0
        for rank, term in zip((x_rank, y_rank), terms[:2], strict=True)
    )
    free = [letter for letter in ascii_letters if letter not in "".join(terms)]
    return [term.replace("0", "".join(free[:hidden])) for term in terms]


def _contracted(xp, x, y, first, second, made):
    """Return the sum of products for three terms of letters."""
    sizes = [dict(zip(term, a.shape)) for term, a in ((first, x), (second, y))]
    both = [letter for letter in first if letter in second]
    if xp is np or xp is taped or any(sizes[0][i] != sizes[1][i] for i in both):
        return xp.einsum(f"{first},{second}->{made}", x, y)
    # As one product of matrices, which has a way to a GPU of its own; see `products`.
    batch = [letter for letter in both if letter in made]
    inner = [letter for letter in both if letter not in made]
    rows, columns = ([i for i in term if i in made and i not in both] for term in (first, second))
    left = _matrices(xp, x, first, batch, rows, inner)
    right = _matrices(xp, y, second, batch, inner, columns)
    shape = [sizes[i in second][i] for i in (*batch, *rows, *columns)]
    z = product(xp, left, right).reshape(tuple(shape))
    found = [*batch, *rows, *columns]
    return xp.transpose(z, tuple([found.index(letter) for letter in made]))


def _matrices(xp, x, term, *groups):
    """Return an array with one axis for each group of letters; others are summed over."""
    kept = [letter for group in groups for letter in group]
    gone = tuple([i for i, letter in enumerate(term) if letter not in kept])
    x = xp.sum(x, axis=gone) if gone else x
    left = [letter for letter in term if letter in kept]
    shape = dict(zip(left, x.shape))
    x = xp.transpose(x, tuple([left.index(letter) for letter in kept]))
    return x.reshape(tuple([math.prod([shape[i] for i in group]) for group in groups]))


def _pulled(xp, gy, other, made, given, wanted, shape):
    """Return the gradient of the factor with the term ``wanted``."""
    known = "".join(letter for letter in wanted if letter in made + given)
    gradient = _contracted(xp, gy, other, made, given, known)
    if known == wanted:
        return gradient
    # An axis that neither of the others has was summed over: each element gets the same.
    spread = tuple(n if i in known else 1 for i, n in zip(wanted, shape, strict=True))
    return xp.broadcast_to(gradient.reshape(spread), tuple(shape))

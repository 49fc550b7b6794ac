"""Windows that slide over the spatial axes of a tensor: the geometry of convolution and pooling."""

import functools
import itertools
from dataclasses import dataclass

from gpunet.errors import ShapeError

__all__ = ["Window", "window", "transposed_window", "per_axis"]


@dataclass(frozen=True)
class Window:
    """Where windows lie, for any number of spatial axes; made by `window`.

    All attributes are tuples with an entry for each spatial axis.

    Attributes:
        size: sizes of the input, None where unknown.
        kernel: sizes of a window, in cells.
        strides: steps from one window to the next.
        dilation: steps from one cell of a window to the next.
        pads: pairs (before, after), how far windows reach beyond the input; None where they
            depend on an unknown size.
        out: numbers of windows, None where unknown.
    """

    size: tuple
    kernel: tuple
    strides: tuple
    dilation: tuple
    pads: tuple
    out: tuple

    @property
    def rank(self):
        """int, number of spatial axes."""
        return len(self.kernel)

    @property
    def padded_size(self):
        """Sizes of the input with its border."""
        return tuple(n + a + b for n, (a, b) in zip(self.size, self.pads))

    @property
    def padding_needed(self):
        """bool, whether any window reaches beyond the input."""
        return any(a or b for a, b in self.pads)

    def cells(self):
        """Return the positions of the cells of a window, in order."""
        return itertools.product(*map(range, self.kernel))

    def taken(self, cell):
        """Return the index that takes one cell of every window from the padded input.

        Args:
            cell: tuple of ints, position in the window.

        Returns:
            Tuple of slices for the spatial axes.
        """
        return tuple(
            slice(c * d, c * d + (n - 1) * s + 1, s)
            for c, d, n, s in zip(cell, self.dilation, self.out, self.strides)
        )

    def overlap(self, cell):
        """Return which windows have one cell inside the input, and where: no border needed.

        Args:
            cell: tuple of ints, position in the window.

        Returns:
            Pair of indices, tuples of slices for the spatial axes of equal lengths: into the
            output and into the input.
        """
        outer, inner = [], []
        for c, n, s, d, (before, _), out in zip(
            cell, self.size, self.strides, self.dilation, self.pads, self.out
        ):
            offset = c * d - before  # window i has this cell at i * s + offset
            first = max(0, -(offset // s))
            last = min(out - 1, (n - 1 - offset) // s)
            last = max(last, first - 1)
            outer.append(slice(first, last + 1))
            start = first * s + offset
            inner.append(slice(start, max(start, start + (last - first) * s + 1), s))
        return tuple(outer), tuple(inner)

    def padded(self, xp, x, value=0.0):
        """Return ``x`` of shape (N, *size, C) with its border, as it is where there is none.

        Args:
            xp: array module.
            x: array.
            value: number that fills the border.
        """
        if not self.padding_needed:
            return x
        return xp.pad(x, ((0, 0), *self.pads, (0, 0)), constant_values=value)


def per_axis(value, rank):
    """Return an int, or a sequence of one int per axis, as a tuple."""
    if isinstance(value, (tuple, list)):
        if len(value) != rank:
            raise ShapeError(f"expected an int or {rank} of them, one per axis, got {value!r}")
        return tuple([int(v) for v in value])
    return (int(value),) * rank


def window(size, kernel, strides=1, padding="valid", dilation=1):
    """Return the `Window` of a convolution or pooling.

    Args:
        size: tuple, sizes of the spatial axes; None where unknown.
        kernel: tuple of ints, or an int for all axes.
        strides: tuple or int.
        padding: ``'valid'`` (windows stay inside), ``'same'`` (as TensorFlow: ``ceil(size /
            stride)`` windows, an odd border has the larger part behind), ``'causal'`` (all of
            it in front), or pairs (before, after).
        dilation: tuple or int.

    Raises:
        ShapeError: no window fits.
    """
    pads = padding if isinstance(padding, str) else tuple([(int(a), int(b)) for a, b in padding])
    rank = len(size)
    return _window(
        tuple([None if n is None else int(n) for n in size]),
        per_axis(kernel, rank),
        per_axis(strides, rank),
        pads,
        per_axis(dilation, rank),
    )


@functools.lru_cache(maxsize=1024)
def _window(size, kernel, strides, padding, dilation):
    pads, out = [], []
    for i, (n, k, s, d) in enumerate(zip(size, kernel, strides, dilation)):
        extent = (k - 1) * d + 1
        if padding == "same":
            count = None if n is None else -(-n // s)
            border = None if n is None else _halved(max((count - 1) * s + extent - n, 0))
        else:
            border = _border(padding, i, extent)
            count = None if n is None else (n + sum(border) - extent) // s + 1
        if count is not None and count <= 0:
            raise ShapeError(
                f"no window of {k} cells"
                + (f" (dilation {d})" if d > 1 else "")
                + f" fits into size {n} of spatial axis {i} with padding {padding!r}"
            )
        pads.append(border)
        out.append(count)
    return Window(size, kernel, strides, dilation, tuple(pads), tuple(out))


def _halved(total):
    return total // 2, total - total // 2


def _border(padding, axis, extent):
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return extent - 1, 0
    if isinstance(padding, str):
        raise ValueError(f"padding: expected 'valid', 'same' or 'causal', got {padding!r}")
    return padding[axis]


@functools.lru_cache(maxsize=1024)
def transposed_window(out, kernel, strides, padding, dilation, output_padding=None, size=None):
    """Return the `Window` of the convolution that a transposed convolution undoes.

    Args:
        out: tuple, spatial sizes of the transposed convolution's input.
        kernel, strides, padding, dilation: see `window`; tuples.
        output_padding: tuple of ints added to the smallest size that gives ``out`` windows;
            None chooses the size as Keras does.
        size: tuple, spatial sizes of the transposed convolution's output where they are known;
            then ``output_padding`` isn't used.

    Raises:
        ShapeError: no size gives ``out`` windows.
    """
    if size is None:
        extra = output_padding or (None,) * len(out)
        explicit = not isinstance(padding, str)
        size = tuple(
            _transposed_size(n, (k - 1) * d + 1, s, padding[i] if explicit else padding, more)
            for i, (n, k, s, d, more) in enumerate(zip(out, kernel, strides, dilation, extra))
        )
    found = _window(size, kernel, strides, padding, dilation)
    if any(None not in (a, b) and a != b for a, b in zip(found.out, out)):
        raise ShapeError(
            f"a transposed convolution of spatial sizes {out} can't give {size}, which a "
            f"convolution with strides {strides} makes into {found.out}"
        )
    return found


def _transposed_size(n, extent, stride, padding, more):
    if n is None:
        return None
    if more is None and padding == "same":
        return n * stride
    if more is None and padding == "valid":
        return n * stride + max(extent - stride, 0)
    border = {"same": 2 * (extent // 2), "valid": 0, "causal": extent - 1}
    cut = border[padding] if isinstance(padding, str) else sum(padding)
    return (n - 1) * stride + extent - cut + (more or 0)

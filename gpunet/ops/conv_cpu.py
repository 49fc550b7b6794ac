"""Convolution on NumPy arrays: blocks that stay in cache, on all cores.

The windows of a block of outputs are copied into a small matrix, a row each (or a column, where
channels are few); its product with the kernel is the block of outputs.  The matrix of all
windows never exists.  Depthwise convolution adds up products of shifted blocks instead.

The gradient with respect to the input is a convolution too: of the incoming gradient, with the
reversed kernel.  With a stride s it falls apart into s convolutions per axis, each with every
s-th cell of the kernel, which give every s-th element.
"""

import functools
import itertools
import math

import numpy as np

from gpunet import threads
from gpunet.ops.blockwise import Steps, stepped
from gpunet.ops.conv_depthwise import Depthwise
from gpunet.ops.conv_products import columns_times, rows_times
from gpunet.ops.conv_runs import COPY, FEWEST, Runs, suits
from gpunet.ops.conv_tiles import Tiles, height
from gpunet.ops.conv_windows import Windows, box_index, split, thread_buffers
from gpunet.ops.memory import empty
from gpunet.ops.window import Window

__all__ = ["forward", "input_gradient", "kernel_gradient"]

BLOCK_BYTES = 2**21  # of a block's windows and outputs; half of it is slower by a few percent
TASKS = 8  # sums of a kernel's gradient at most, for any number of threads
# Multiplications in a block where that makes 2 to TASKS of them: threads wait for each other at
# each call of NumPy, so there should be few.
SHARE = 2**26
FEW = 256  # outputs that are one block, so that its filters are shared out
LEAST = 64  # filters in a share of a large kernel
LIGHT = 2**18  # bytes of a kernel whose copies don't count
ALONE = 2**24  # multiplications that one thread does sooner than it wakes another
SMALL = 3 * 2**22  # multiplications up to which copied windows and one product are soonest done


class _Rule:
    """How outputs come from windows; also `conv_runs.Runs` and `conv_tiles.Tiles`.

    Attributes:
        windows: Windows.
        filters: int.
        shape: of the matrix that `gradient` writes.
        numbers: int, scratch memory that an output needs.
        work: int, multiplications for an output.
        tall: int, rows of outputs that are best computed together.
        fewest: int, outputs in a block, so that a product is worth packing the kernel for it.
        strided: bool, whether `write` takes rows with gaps between them.
    """

    tall, fewest, strided = 1, FEWEST, False

    def apply(self, box, out, buffers):
        """Return the outputs of a box, (*box, filters); in ``out`` if that isn't None."""
        z = out
        if z is None:
            shape = (*[b - a for a, b in box], self.filters)
            z = buffers.get("result", shape, self.windows.dtype)
        self.write(box, z.reshape(-1, self.filters), buffers)
        return z

    def lay(self, box, gy, buffers):
        """Return the incoming gradients of a box as `gradient` takes them."""
        dtype = self.windows.dtype
        if not gy.flags.c_contiguous or gy.dtype != dtype:
            laid = buffers.get("gy", gy.shape, dtype)
            laid[...] = gy
            gy = laid
        return gy.reshape(-1, gy.shape[-1])

    def finish(self, total):
        """Return the kernel's gradient as a matrix from the sum of what `gradient` wrote."""
        return total


class _Dense(_Rule):
    """Products of windows and a matrix.

    Args:
        windows: Windows.
        kernel: array (*kernel, channels, filters); None for gradients.
        filters: int.
    """

    strided = True

    def __init__(self, windows, kernel, filters):
        self.windows, self.filters = windows, filters
        self.shape = (windows.row, filters)
        self.numbers = windows.row + filters
        self.work = windows.row * filters + COPY * self.numbers
        if kernel is not None:
            self.matrix = kernel.astype(windows.dtype, copy=False).reshape(self.shape)

    def write(self, box, z, buffers):
        """Write the outputs of a box into ``z`` (windows, filters)."""
        rows_times(self.windows.gather(box, buffers), self.matrix, z)

    def gradient(self, box, laid, out, buffers):
        """Write the kernel's gradient from a box, given what `lay` made."""
        columns_times(self.windows.gather(box, buffers), laid, out, buffers)


class _Depthwise(Depthwise, _Rule):
    """Its sums as a rule."""


def _dense(windows, kernel, filters, gradient=False):
    """Return the rule that costs less."""
    if not gradient and _is_small(windows, filters):
        return _Dense(windows, kernel, filters)
    tall = height(windows, filters)
    if tall > 1:
        return Tiles(windows, kernel, filters, tall)
    rule = Runs if suits(windows, filters, gradient) else _Dense
    return rule(windows, kernel, filters)


def _is_small(windows, filters):
    """Return whether anything but a product would cost more than it saves, as for one image."""
    numbers = len(windows.x) * math.prod(windows.w.out) * windows.row
    return numbers * filters <= SMALL and numbers * windows.dtype.itemsize <= BLOCK_BYTES


def _boxes(rule, shape, others=0):
    """Return the blocks in which a rule does outputs of a shape (N, *out), beside other rules."""
    most = max(rule.fewest, BLOCK_BYTES // (rule.numbers * rule.windows.dtype.itemsize))
    outputs = math.prod(shape)
    if outputs <= FEW and rule.filters >= LEAST:
        return split(shape, outputs)  # see `_shared`
    parts = min(TASKS, outputs * rule.work // SHARE, 2 * outputs // rule.fewest)
    parts = 1 << max(1, parts.bit_length() - 1)  # as many for each of two or four threads
    parts = 1 if outputs * rule.work < ALONE else max(1, parts // (1 + others))
    most = min(most, max(64, -(-outputs // parts)))
    if rule.tall == 1:
        return split(shape, most, parts)
    *images, rows, columns = shape
    lines = -(-most // (rule.tall * columns))
    tiled = (*images, -(-rows // rule.tall), columns)
    boxes = split(tiled, lines * columns, parts)
    return [(*i, (a * rule.tall, min(b * rule.tall, rows)), c) for *i, (a, b), c in boxes]


class _Outputs:
    """Outputs computed by a rule, then finished and put in their place.

    Args:
        rule: _Rule.
        target: array (N, *out, filters), any strides.
        steps: list of steps, see `blockwise`, on all filters.
        filters: slice, those that the rule computes.
        others: int, other outputs that are computed at the same time.
    """

    def __init__(self, rule, target, steps, filters, others):
        self.rule, self.target = rule, target
        self.steps = Steps(steps, target, filters)
        self.boxes = _boxes(rule, target.shape[:-1], others)

    def compute(self, box, buffers):
        index = box_index(box)
        target = self.target[index]
        direct = target.flags.c_contiguous or (self.rule.strided and _in_rows(target))
        direct = direct and target.dtype == self.rule.windows.dtype
        z = self.rule.apply(box, target if direct else None, buffers)
        if z is not target or self.steps:
            self.steps.apply(z, index)


def _in_rows(a):
    """Return whether rows of the last axis follow each other at one distance, with gaps or not."""
    *lead, last = a.strides
    apart = [stride == n * inner for stride, inner, n in zip(lead, lead[1:], a.shape[1:])]
    return all(apart) and last == a.itemsize


def _finishing(bias, relu):
    """Return the steps that add a bias and cut off at 0."""
    return [(np.add, bias)] * (bias is not None) + [(np.maximum, 0.0)] * relu


def _compute(outputs):
    tasks = [(o, box) for o in outputs for box in o.boxes]
    work = sum([math.prod(o.target.shape[:-1]) * o.rule.work for o in outputs])

    def start():
        buffers = thread_buffers()

        def do(i):
            tasks[i][0].compute(tasks[i][1], buffers)

        return do

    threads.spread(len(tasks), start, 1 if work < ALONE else None)


def forward(x, kernel, bias, w, groups, relu=False, steps=()):
    """Return a convolution with the bias added, cut off at 0 if wanted, and more done to it.

    Args:
        x: array (N, *size, C).
        kernel: array (*kernel, C / groups, F).
        bias: array (F,) or None.
        w: Window.
        groups: int.
        relu: bool.
        steps: what is done to the result at last, see `blockwise`.

    Returns:
        Array (N, *out, F).
    """
    steps = [*_finishing(bias, relu), *steps]
    x = np.ascontiguousarray(x)
    y = empty((len(x), *w.out, kernel.shape[-1]), x.dtype)
    count, outputs = math.prod(y.shape[:-1]), []
    # Where filters are shared out, rows are short: steps are sooner done to all of them at last.
    whole = groups > 1 or len(_shared(slice(0, y.shape[-1]), count)) == 1
    now, later = (steps, []) if whole else ([], steps)
    together = _grouped(kernel.shape, groups)
    for channels, filters in together:
        windows = Windows.of(x, w, channels, _times(kernel.shape, groups))
        if _is_depthwise(kernel.shape, groups):
            rules = [(filters, _Depthwise(windows, kernel))]
        else:
            parts = _shared(filters, count)
            rules = [(p, _dense(windows, kernel[..., p], p.stop - p.start)) for p in parts]
        others = len(together) * len(rules) - 1
        outputs += [_Outputs(rule, y[..., part], now, part, others) for part, rule in rules]
    _compute(outputs)
    return stepped(np, later, y, y) if later else y


def _is_depthwise(kernel_shape, groups):
    return groups > 1 and kernel_shape[-2] == 1


def _times(kernel_shape, groups):
    return kernel_shape[-1] // groups if _is_depthwise(kernel_shape, groups) else 1


def _grouped(kernel_shape, groups):
    """Return (channels, filters) that go together, as slices; depthwise all at once."""
    depth, filters = kernel_shape[-2:]
    if _is_depthwise(kernel_shape, groups):
        return [(slice(0, groups), slice(0, filters))]
    own = filters // groups
    return [
        (slice(g * depth, (g + 1) * depth), slice(g * own, (g + 1) * own)) for g in range(groups)
    ]


def _shared(filters, outputs):
    """Return slices of filters to compute apart: blocks of few outputs would pack all of them."""
    first, stop = filters.start, filters.stop
    parts = (stop - first) // (2 * LEAST) if outputs <= FEW else 1
    parts = min(4, 1 << max(0, parts.bit_length() - 1))
    edges = [first + (stop - first) * i // parts for i in range(parts + 1)]
    return [slice(a, b) for a, b in zip(edges, edges[1:])]


@functools.lru_cache(maxsize=1024)
def _phases(w):
    """Return the convolutions over the outputs that give the elements of each phase.

    Returns:
        List of triples (index of the elements, index of the kernel's cells, Window); the Window
        is None where no cell reaches these elements.
    """
    axes, phases = [], []
    for n, k, s, d, (before, _), out in zip(w.size, w.kernel, w.strides, w.dilation, w.pads, w.out):
        step, hop = s // math.gcd(d, s), d // math.gcd(d, s)
        found = []
        for r in range(min(s, n)):
            cells = [c for c in range(k) if (r + before - c * d) % s == 0]
            last = cells[-1] if cells else 0
            pad = (last * d - r - before) // s
            index = slice(last, cells[0] - 1 if cells and cells[0] else None, -step)
            one = (out, len(cells), hop, (pad, 0), -(-(n - r) // s))
            found.append((slice(r, None, s), index, one))
        axes.append(found)
    for phase in itertools.product(*axes):
        elements, cells, parts = zip(*phase)
        size, kernel, hops, pads, count = zip(*parts)
        window = Window(size, kernel, (1,) * w.rank, hops, pads, count) if all(kernel) else None
        phases.append((elements, cells, window))
    return phases


def input_gradient(gy, kernel, bias, w, groups, relu=False, steps=()):
    """Return the gradient of a convolution with respect to its input: a transposed convolution.

    Args:
        gy: array (N, *out, F).
        kernel: array (*kernel, C / groups, F).
        bias: array (C,) that is added, or None.
        w: Window of the convolution.
        groups: int.
        relu: bool, whether the result is cut off at 0.
        steps: what is done to the result at last, see `blockwise`.

    Returns:
        Array (N, *size, C).
    """
    gy = np.ascontiguousarray(gy)
    depth = kernel.shape[-2]
    gx = empty((len(gy), *w.size, depth * groups), gy.dtype)
    depthwise = _is_depthwise(kernel.shape, groups)
    # With strides, what lies side by side belongs to several of the convolutions.
    now, later = (steps, []) if set(w.strides) == {1} else ([], steps)
    now, outputs = [*_finishing(bias, relu), *now], []
    phases, together = list(_phases(w)), _grouped(kernel.shape, groups)
    others = len(phases) * len(together) - 1
    for elements, cells, window in phases:
        if window is None:
            rest = 0 if bias is None else np.maximum(bias, 0) if relu else bias
            gx[(slice(None), *elements)] = rest
            continue
        for channels, filters in together:
            own = kernel[(*cells, slice(None), filters)]
            windows = Windows.of(gy, window, filters)
            if depthwise:
                rule = _Depthwise(windows, own, _times(kernel.shape, groups))
            else:
                rule = _dense(windows, own.swapaxes(-1, -2), depth)
            target = gx[(slice(None), *elements, channels)]
            outputs.append(_Outputs(rule, target, now, channels, others))
    _compute(outputs)
    return stepped(np, later, gx, gx) if later else gx


class _Sums:
    """A kernel's gradient, and a bias's, summed over some blocks.

    Args:
        rule: _Rule.
        gy: array (N, *out, filters), any strides.
        boxes: list of boxes.
        bias: bool, whether the bias's gradient is wanted.
    """

    def __init__(self, rule, gy, boxes, bias):
        self.rule, self.gy, self.boxes = rule, gy, boxes
        self.kernel = np.zeros(rule.shape, rule.windows.dtype)
        self.bias = np.zeros(gy.shape[-1], rule.windows.dtype) if bias else None

    def compute(self, buffers):
        dtype = self.kernel.dtype
        for number, box in enumerate(self.boxes):
            index = box_index(box)
            laid = self.rule.lay(box, self.gy[index], buffers)
            out = buffers.get("sum", self.kernel.shape, dtype) if number else self.kernel
            self.rule.gradient(box, laid, out, buffers)
            if number:
                self.kernel += out
            if self.bias is not None:
                laid = laid.reshape(-1, laid.shape[-1])
                self.bias += np.matmul(np.ones(len(laid), dtype), laid)


def kernel_gradient(x, gy, w, groups, bias=False):
    """Return the gradients of a convolution with respect to its kernel and its bias.

    Args:
        x: array (N, *size, C).
        gy: array (N, *out, F).
        w: Window.
        groups: int.
        bias: bool, whether the second is wanted.

    Returns:
        Arrays (*kernel, C / groups, F) and (F,) or None.
    """
    x, gy = np.ascontiguousarray(x), np.ascontiguousarray(gy)
    shape = (*w.kernel, x.shape[-1] // groups, gy.shape[-1])
    jobs = []
    for channels, filters in _grouped(shape, groups):
        windows = Windows.of(x, w, channels, _times(shape, groups))
        jobs += _summing(windows, gy, shape, groups, filters, bias)
    _add_up([s for _, sums in jobs for s in sums])
    gk = None if len(jobs) == 1 else np.empty(shape, x.dtype)
    gb = np.empty(shape[-1], x.dtype) if bias else None
    for filters, (first, *others) in jobs:
        for other in others:
            first.kernel += other.kernel
            if bias:
                first.bias += other.bias
        found = first.rule.finish(first.kernel)
        if gk is None:
            gk = found.reshape(shape).astype(x.dtype, copy=False)
        else:
            gk[..., filters] = found.reshape(gk[..., filters].shape)
        if bias:
            gb[filters] = first.bias
    return gk, gb


def _summing(windows, gy, shape, groups, filters, bias):
    """Return pairs (filters, list of _Sums) for one group: the work for a kernel's gradient.

    A small kernel has several sums, each over some of the blocks.  A large one, of which copies
    would take much memory, has its filters shared out instead.
    """
    size = math.prod(shape) * gy.itemsize
    room = (windows.x.nbytes + gy.nbytes + 2 * size) // (4 * max(size, 1))
    most = min(TASKS, max(2 if size <= LIGHT else 1, room))
    count = filters.stop - filters.start
    depthwise = _is_depthwise(shape, groups)
    pieces = 1 if depthwise or size <= LIGHT else max(1, min(TASKS // (2 * most), count // LEAST))
    found = []
    for i in range(pieces):
        own = slice(filters.start + count * i // pieces, filters.start + count * (i + 1) // pieces)
        if depthwise:
            rule = _Depthwise(windows, None)
        else:
            rule = _dense(windows, None, own.stop - own.start, True)
        boxes = _boxes(rule, gy.shape[:-1])
        edges = [len(boxes) * j // most for j in range(most + 1)]
        part = gy[..., own]
        sums = [_Sums(rule, part, boxes[a:b], bias) for a, b in zip(edges, edges[1:]) if a < b]
        sums.sort(key=lambda s: -len(s.boxes))  # the longest first: threads end together
        found.append((own, sums or [_Sums(rule, part, [], bias)]))
    return found


def _add_up(sums):
    work = sum([math.prod(s.gy.shape[:-1]) * s.rule.work for s in sums])

    def start():
        buffers = thread_buffers()
        return lambda i: sums[i].compute(buffers)

    threads.spread(len(sums), start, 1 if work < ALONE else None)

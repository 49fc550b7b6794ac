"""Convolutions as cuDNN does them: plans that are made once and run often.

As with cuBLASLt, running a plan neither allocates nor waits, so that it may be captured in a CUDA
graph.
"""

import functools
import logging
import typing

from gpunet.errors import KernelError
from gpunet.fused import cudnn
from gpunet.fused.cudnn import Descriptor, Refused, checked

__all__ = ["TYPES", "Convolution", "Plan", "plans"]

_log = logging.getLogger("gpunet")

TYPES = {"float16": 2, "bfloat16": 9, "float32": 0}  # cudnnDataType_t
WORKSPACE = 256 << 20  # bytes that a plan may ask for
_MOST = 4  # plans that are offered for one convolution
_ASKED = 16  # that the library is asked for
_RULES = (3, 2)  # cudnnBackendHeurMode_t: its rules for speed, then what works at all
_CORRELATION = 1  # cudnnConvolutionMode_t
_ADD, _RELU = 0, 100  # cudnnPointwiseMode_t
_KEPT = 1  # cudnnNanPropagation_t: ReLU of NaN is NaN
# cudnnBackendNumericalNote_t: tensor cores, inputs or sums of fewer bits, sums in no fixed order
_TENSOR_CORES, _NARROWED, _NARROW_SUMS, _UNORDERED = 0, 1, 2, 4


class Convolution(typing.NamedTuple):
    """What plans depend on.

    Attributes:
        way: ``'forward'``, ``'transposed'`` or ``'kernel_gradient'``.
        device: int, number of the GPU.
        dtype: key of `TYPES`, of all arrays; sums are of 32 bits.
        strict: bool, float32 isn't multiplied on tensor cores.
        batch, channels, filters, groups: ints.
        size, out, kernel, strides, dilation, pads: those of a `gpunet.ops.window.Window`.
        bias, relu: bools, what a forward convolution ends with.
        aligned: bytes that the addresses of x, kernel and y are multiples of.
    """

    way: str
    device: int
    dtype: str
    strict: bool
    batch: int
    channels: int
    filters: int
    groups: int
    size: tuple
    out: tuple
    kernel: tuple
    strides: tuple
    dilation: tuple
    pads: tuple
    bias: bool
    relu: bool
    aligned: tuple

    def __str__(self):
        ending = [name for name in ("bias", "relu") if getattr(self, name)]
        return (
            f"{self.way} of {self.dtype} {(self.batch, *self.size, self.channels)} to "
            f"{(self.batch, *self.out, self.filters)}, kernel {self.kernel}, strides "
            f"{self.strides}, dilation {self.dilation}, pads {self.pads}, {self.groups} groups"
            + (f", {' and '.join(ending)}" if ending else "")
        )


_X, _KERNEL, _Y, _BIAS, _SUM, _BIASED = range(1, 7)  # numbers of the tensors


def _channels_last(sizes):
    """Return the strides of sizes (N, C, *axes) that lie in memory as (N, *axes, C)."""
    strides, step = [0] * len(sizes), 1
    for axis in (1, *range(len(sizes) - 1, 1, -1), 0):
        strides[axis], step = step, step * sizes[axis]
    return strides


def _tensor(c, number, sizes, aligned=None, dtype=None):
    """Return a descriptor; without an alignment the tensor isn't in memory at all."""
    return Descriptor(
        "tensor", c, id=number, type=TYPES[dtype or c.dtype], sizes=sizes,
        strides=_channels_last(sizes), alignment=aligned or 16, virtual=aligned is None,
    )  # fmt: skip


def _graph(c):
    """Return the descriptor of a convolution and what it ends with."""
    # The library has no convolution of one axis; it becomes one of two, the first of size 1.
    one, none = ((1,), ((0, 0),)) if len(c.size) == 1 else ((), ())
    before, after = zip(*none, *c.pads)
    sum_type = TYPES["float32"]
    convolution = Descriptor(
        "convolution", c, compute=sum_type, mode=_CORRELATION, rank=len(before),
        strides=one + c.strides, dilation=one + c.dilation, before=before, after=after,
    )  # fmt: skip
    y_size = (c.batch, c.filters, *one, *c.out)
    ends = c.bias or c.relu
    y = _tensor(c, _SUM, y_size, dtype="float32") if ends else _tensor(c, _Y, y_size, c.aligned[2])
    operations = [Descriptor(
        c.way, c, alpha=1, beta=0, convolution=convolution,
        x=_tensor(c, _X, (c.batch, c.channels, *one, *c.size), c.aligned[0]),
        kernel=_tensor(c, _KERNEL, (c.filters, c.channels // c.groups, *one, *c.kernel),
                       c.aligned[1]),
        y=y,
    )]  # fmt: skip
    last = _tensor(c, _Y, y_size, c.aligned[2]) if ends else y
    if c.bias:
        sizes = (1, c.filters, *[1] * len(before))
        added = _tensor(c, _BIASED, y_size, dtype="float32") if c.relu else last
        operations.append(Descriptor(
            "pointwise_operation", c, x=y, b=_tensor(c, _BIAS, sizes, c.aligned[3]), y=added,
            pointwise=Descriptor("pointwise", c, mode=_ADD, compute=sum_type),
        ))  # fmt: skip
        y = added
    if c.relu:
        pointwise = Descriptor("pointwise", c, mode=_RELU, compute=sum_type, nan=_KEPT)
        operations.append(Descriptor("pointwise_operation", c, x=y, y=last, pointwise=pointwise))
    return Descriptor("graph", c, operations=operations, **_where(c, "graph"))


def _where(c, kind):
    """Return the attributes that say which GPU a descriptor is for."""
    return {} if kind == "heuristics" else {"handle": cudnn.handle(c.device)[0]}


@functools.cache  # for good: a recorded CUDA graph needs code that its plan holds
def plans(c):
    """Return the `Plan`s for a Convolution, the one that the library thinks fastest first.

    None of them adds up in an order that changes from run to run, or in fewer bits than float32.
    """
    found = []
    try:
        graph = _graph(c)
        for rule in _RULES:
            for config in _configs(c, graph, rule):
                if len(found) < _MOST:
                    found += _planned(c, graph, config)
            if found:
                break
    except Refused as refusal:
        _log.debug("%s", refusal)
    if not found:
        _log.debug("cuDNN has no plan for %s", c)
    return tuple(found)


def _configs(c, graph, rule):
    """Return descriptors of ways to run a graph, as ranked by one of the library's rules."""
    heuristics = Descriptor("heuristics", c, graph=graph, rule=rule, **_where(c, "heuristics"))
    made = [Descriptor("config", c, complete=False) for _ in range(_ASKED)]
    return made[: len(heuristics.get("results", _ASKED, made))]


def _planned(c, graph, config):
    """Return a list of the plan that a config makes, or an empty one if it isn't fit."""
    engine = Descriptor("engine", c, complete=False)
    config.get("engine", 1, [engine])
    notes = set(engine.get("notes", _ASKED))
    unfit = {_NARROWED, _NARROW_SUMS, _UNORDERED}
    if c.strict and c.dtype == "float32":
        unfit |= {_TENSOR_CORES}
    if notes & unfit:
        return []
    try:
        plan = Plan(c, graph, config)
    except KernelError as error:  # the library ranks ways that don't work everywhere
        _log.debug("%s", error)
        return []
    return [plan] if plan.workspace <= WORKSPACE else []


class Plan:
    """One way of the library to run a Convolution.

    Args:
        c: Convolution.
        graph, config: descriptors, of what to do and how.

    Attributes:
        c: the Convolution.
        workspace: int, bytes of memory that it needs while it runs.
    """

    def __init__(self, c, graph, config):
        self.c, self._graph = c, graph
        self._plan = Descriptor("plan", c, config=config, **_where(c, "plan"))
        (self.workspace,) = self._plan.get("workspace", 1)

    def run(self, x, kernel, y, bias, workspace, stream):
        """Enqueue the convolution.

        Args:
            x, kernel, y: ints, addresses of (N, *size, C), (F, *kernel, C / groups) and
                (N, *out, F); which of them is written to depends on the way.
            bias: int, address; 0 if there is none.
            workspace: int, address of as many bytes as the plan needs; 0 for none.
            stream: int, address of the stream.

        Raises:
            KernelError: the library refuses; the text names the call and the shapes.
        """
        c = self.c
        ids, pointers = [_X, _KERNEL, _Y], [x, kernel, y]
        if c.bias:
            ids.append(_BIAS)
            pointers.append(bias)
        arguments = Descriptor("arguments", c, ids=ids, pointers=pointers, workspace=workspace)
        place, lock = cudnn.handle(c.device)
        with lock:  # the handle holds the stream
            checked(cudnn.library().cudnnSetStream(place, stream), "cudnnSetStream", c)
            status = cudnn.library().cudnnBackendExecute(place, self._plan.value, arguments.value)
        checked(status, "cudnnBackendExecute", c)

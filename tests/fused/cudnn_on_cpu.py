"""A stand-in for cuDNN that goes by its header: strict about descriptors, and computes on the CPU.

It says what an attribute is, and of which type, from `fixtures/cudnn.json` and not from gpunet.
Convolutions are made window by window in 64 bits, and rounded once.
"""

import ctypes
import itertools
import json
import math
from pathlib import Path

import numpy as np

from gpunet.fused.cudnn import FUNCTIONS

__all__ = ["KNOWN", "StandIn"]

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
KNOWN = json.loads((FIXTURES / "cudnn.json").read_text(encoding="utf8"))
VALUES = KNOWN["values"]
BAD, UNFINISHED, UNSUPPORTED = 2000, 2004, VALUES["CUDNN_STATUS_NOT_SUPPORTED"]
# Types that the header's comments don't have.
TYPES = {"mode": "CUDNN_TYPE_CONVOLUTION_MODE", **dict.fromkeys(
    ["x", "b", "y", "pointwise"], "CUDNN_TYPE_BACKEND_DESCRIPTOR")}  # fmt: skip
MEMORY = {"CUDNN_TYPE_BOOLEAN": ctypes.c_bool, "CUDNN_TYPE_INT64": ctypes.c_int64,
          "CUDNN_TYPE_FLOAT": ctypes.c_float, "CUDNN_TYPE_VOID_PTR": ctypes.c_void_p,
          "CUDNN_TYPE_HANDLE": ctypes.c_void_p,
          "CUDNN_TYPE_BACKEND_DESCRIPTOR": ctypes.c_void_p}  # fmt: skip
OPTIONAL = {"pointwise": {"nan"}, "pointwise_operation": {"b"}}
GIVEN = {"engine": set(), "config": set(), "heuristics": {"rule", "graph"},
         "plan": {"handle", "config"}}  # fmt: skip
LISTS = {"dilation", "strides", "before", "after", "sizes", "operations", "ids", "pointers"}


class Wrong(Exception):
    """What makes a call return a status."""

    def __init__(self, text, status=BAD):
        super().__init__(text)
        self.status = status


def expect(condition, text, status=BAD):
    if not condition:
        raise Wrong(text, status)


class Made:
    """A descriptor."""

    def __init__(self, kind):
        self.kind, self.values, self.complete = kind, {}, False

    def __getattr__(self, name):
        return self.values[name]


def to_bfloat16(a):
    bits = a.astype("float32").view("uint32")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("uint16")


class StandIn:
    """Stands in for the library.

    Args:
        engines: what is offered for every graph, in order: dicts with the notes and the workspace
            of an engine, and a status if its plan can't be made.
        fused: bool, whether there are engines for more than a convolution.
        cuda: int, major version of CUDA.
        version: int.

    Attributes:
        alive: number -> `Made`.
        runs: list of (engine, stream) of the plans that ran.
    """

    def __init__(self, engines=({},), fused=True, cuda=13, version=92801):
        self.engines, self.fused, self.cuda, self.version = engines, fused, cuda, version
        self.alive, self.runs, self.handles = {}, [], {}
        self._numbers, self._text = itertools.count(0x1000), ""
        for name, types in FUNCTIONS.items():
            setattr(self, name, ctypes.CFUNCTYPE(ctypes.c_int, *types)(self._guarded(name)))

    def _guarded(self, name):
        method = getattr(self, f"_{name.removeprefix('cudnn').removeprefix('Backend')}")

        def call(*args):
            try:
                method(*args)
                return 0
            except Wrong as error:
                self._text = str(error)
                return error.status
            except Exception as error:  # of the stand-in itself; ctypes would only print it
                self._text = repr(error)
                return VALUES["CUDNN_STATUS_INTERNAL_ERROR"]

        return call

    def cudnnGetVersion(self):
        return self.version

    def cudnnGetCudartVersion(self):
        return self.cuda * 1000 + 10

    def cudnnGetErrorString(self, status):
        return b"CUDNN_STATUS_NOT_SUPPORTED" if status >= UNSUPPORTED else b"CUDNN_STATUS_BAD_PARAM"

    def cudnnGetLastErrorString(self, memory, size):
        memory.value = self._text.encode()[: size - 1]

    # -- descriptors ----------------------------------------------------------------------

    def _Create(self, made):
        made[0] = next(self._numbers)
        self.handles[made[0]] = None

    def _SetStream(self, handle, stream):
        expect(handle in self.handles, "no such handle")
        self.handles[handle] = stream or 0

    def _CreateDescriptor(self, number, made):
        kinds = [k for k, d in KNOWN["descriptors"].items() if d["number"] == number]
        expect(kinds, f"no descriptor {number}")
        made[0] = next(self._numbers)
        self.alive[made[0]] = Made(kinds[0])

    def _DestroyDescriptor(self, number):
        expect(number in self.alive, "destroyed twice")
        del self.alive[number]

    def _made(self, number):
        expect(number in self.alive, f"no descriptor at {number}")
        return self.alive[number]

    def _attribute(self, made, number, type_):
        about = KNOWN["descriptors"][made.kind]
        names = [n for n, known in about["attributes"].items() if known == number]
        expect(names, f"{made.kind} has no attribute {number}")
        wanted = about["types"].get(names[0], TYPES.get(names[0]))
        expect(VALUES[wanted] == type_, f"{names[0]}: type {type_} isn't {wanted}")
        return names[0], MEMORY.get(wanted, ctypes.c_int)

    def _SetAttribute(self, number, attribute, type_, count, memory):
        made = self._made(number)
        expect(not made.complete, "set after it was finalized")
        name, kept_as = self._attribute(made, attribute, type_)
        values = list((kept_as * count).from_address(memory))
        if type_ == VALUES["CUDNN_TYPE_BACKEND_DESCRIPTOR"]:
            values = [self._made(v) for v in values]
            expect(all(v.complete for v in values), f"{name} isn't finalized", UNFINISHED)
        if name == "handle":
            expect(values[0] in self.handles, "no such handle")
        if name not in LISTS:
            expect(count == 1, f"{count} values of {name}")
        made.values[name] = values if name in LISTS else values[0]

    def _Finalize(self, number):
        made = self._made(number)
        expect(not made.complete, "finalized twice")
        every = set(KNOWN["descriptors"][made.kind]["attributes"])
        needed = GIVEN.get(made.kind, every - OPTIONAL.get(made.kind, set()))
        missing = needed - set(made.values)
        expect(not missing, f"{made.kind} without {missing}")
        check = getattr(self, f"_check_{made.kind}", None)
        if check is not None:
            check(made)
        made.complete = True

    def _GetAttribute(self, number, attribute, type_, room, count, memory):
        made = self._made(number)
        expect(made.complete, "asked before it was finalized", UNFINISHED)
        name, kept_as = self._attribute(made, attribute, type_)
        target = (kept_as * room).from_address(memory)
        if (made.kind, name) == ("heuristics", "results"):
            found = self.engines if made.rule == VALUES["CUDNN_HEUR_MODE_A"] else ()
            count[0] = min(room, len(found))
            for i, engine in enumerate(found[:room]):
                config = self._made(target[i])
                expect(config.kind == "config", "results go into configs")
                config.complete = True
                config.values.update(about=engine, number=i, graph=made.graph)
        elif (made.kind, name) == ("config", "engine"):
            engine = self._made(target[0])
            engine.complete, count[0] = True, 1
            engine.values.update(about=made.about)
        elif (made.kind, name) == ("engine", "notes"):
            notes = made.about.get("notes", [])
            count[0] = len(notes)
            target[: len(notes)] = notes
        elif (made.kind, name) == ("plan", "workspace"):
            target[0], count[0] = made.config.about.get("workspace", 0), 1
        else:
            raise Wrong(f"{made.kind} doesn't tell its {name}")

    # -- what descriptors have to be ------------------------------------------------------

    def _check_tensor(self, t):
        size = {VALUES["CUDNN_DATA_FLOAT"]: 4}.get(t.type, 2)
        expect(len(t.sizes) == len(t.strides) >= 4, "too few axes")
        expect(min(t.sizes) > 0 and min(t.strides) > 0, "sizes or strides that aren't positive")
        expect(t.alignment % size == 0 and t.alignment > 0, "alignment below an element")

    def _check_convolution(self, c):
        expect(c.rank in (2, 3), "convolution of a rank that there isn't")
        for name in ("dilation", "strides", "before", "after"):
            expect(len(c.values[name]) == c.rank, f"{name} of another length")
        expect(c.mode == VALUES["CUDNN_CROSS_CORRELATION"], "the kernel would be reversed")
        expect(c.compute == VALUES["CUDNN_DATA_FLOAT"], "sums of fewer bits")

    def _check_operation(self, o):
        c, x, k, y = o.convolution, o.x, o.kernel, o.y
        expect((o.alpha, o.beta) == (1, 0), "not what is to be computed")
        expect(x.sizes[0] == y.sizes[0] and y.sizes[1] == k.sizes[0], "sizes don't fit")
        expect(x.sizes[1] % k.sizes[1] == 0, "channels aren't groups of the kernel's")
        for i in range(c.rank):
            inside = x.sizes[2 + i] + c.before[i] + c.after[i]
            extent = (k.sizes[2 + i] - 1) * c.dilation[i] + 1
            out = (inside - extent) // c.strides[i] + 1
            expect(out == y.sizes[2 + i], f"{out} windows along axis {i}, not {y.sizes[2 + i]}")

    _check_forward = _check_transposed = _check_kernel_gradient = _check_operation

    def _check_pointwise_operation(self, o):
        adds = o.pointwise.mode == VALUES["CUDNN_POINTWISE_ADD"]
        expect(adds == ("b" in o.values), "an operand too many or too few")
        expect(o.x.sizes == o.y.sizes, "sizes don't fit")
        if adds:
            expect(all(a in (1, b) for a, b in zip(o.b.sizes, o.y.sizes)), "can't be broadcast")
        else:
            expect(o.pointwise.mode == VALUES["CUDNN_POINTWISE_RELU_FWD"], "another function")
            expect(o.pointwise.nan == VALUES["CUDNN_PROPAGATE_NAN"], "NaN would be 0")

    def _check_graph(self, g):
        expect(self.fused or len(g.operations) == 1, "no engine for more", UNSUPPORTED)
        made = set()
        for o in g.operations:
            for name in ("x", "kernel", "y", "b"):
                t = o.values.get(name)
                result = {"transposed": "x", "kernel_gradient": "kernel"}.get(o.kind, "y")
                if t is not None and name != result:
                    expect(not t.virtual or t.id in made, "a virtual tensor that nobody makes")
            made.add(o.values[result].id)

    def _check_plan(self, p):
        expect("status" not in p.config.about, "not on this GPU", p.config.about.get("status"))

    # -- running --------------------------------------------------------------------------

    def _Execute(self, handle, plan, arguments):
        plan, arguments = self._made(plan), self._made(arguments)
        expect(handle == plan.handle and self.handles[handle] is not None, "no stream")
        expect(plan.complete and arguments.complete, "not finalized", UNFINISHED)
        expect(len(arguments.ids) == len(arguments.pointers), "ids and pointers don't fit")
        expect(bool(arguments.workspace) or not plan.config.about.get("workspace"), "no workspace")
        self.runs.append((plan.config.number, self.handles[handle]))
        places = dict(zip(arguments.ids, arguments.pointers))
        values = {}
        for o in plan.config.graph.operations:
            tensors = {n: o.values[n] for n in ("x", "kernel", "y", "b") if n in o.values}
            result = {"transposed": "x", "kernel_gradient": "kernel"}.get(o.kind, "y")
            read = {}
            for name, t in tensors.items():
                if name != result:
                    read[name] = values[t.id] if t.id in values else self._read(places, t)
            made = tensors[result]
            values[made.id] = computed(o, made.sizes, **read)
            if not made.virtual:
                self._write(places, made, values[made.id])

    def _memory(self, places, t):
        expect(places.get(t.id), f"no address for tensor {t.id}")
        expect(places[t.id] % t.alignment == 0, "an address isn't as aligned as was said")
        kind = {VALUES["CUDNN_DATA_FLOAT"]: "float32", VALUES["CUDNN_DATA_HALF"]: "float16"}
        dtype = np.dtype(kind.get(t.type, "uint16"))
        length = 1 + sum((n - 1) * s for n, s in zip(t.sizes, t.strides))
        expect(length == math.prod(t.sizes), "the tensor has gaps")
        raw = (ctypes.c_char * (length * dtype.itemsize)).from_address(places[t.id])
        strides = [s * dtype.itemsize for s in t.strides]
        return np.ndarray(t.sizes, dtype, raw, strides=strides)

    def _read(self, places, t):
        a = self._memory(places, t)
        if a.dtype == "uint16":
            a = (a.astype("uint32") << 16).view("float32")
        return a.astype("float64")

    def _write(self, places, t, value):
        target = self._memory(places, t)
        target[...] = to_bfloat16(value) if target.dtype == "uint16" else value


def computed(o, sizes, **read):
    """Return what an operation gives for float64 arrays (N, C, *axes)."""
    if o.kind == "pointwise_operation":
        return read["x"] + read["b"] if "b" in read else np.maximum(read["x"], 0)
    c, result = o.convolution, np.zeros(sizes)
    border = [(0, 0), (0, 0), *zip(c.before, c.after)]
    x = np.pad(read.get("x", result), border) if "x" in read else np.zeros(
        [n + a + b for n, (a, b) in zip(o.x.sizes, border)])  # fmt: skip
    kernel = read.get("kernel", result)
    y = read.get("y", result)
    filters, depth = o.kernel.sizes[:2]
    groups = o.x.sizes[1] // depth
    width = filters // groups
    for group, at in itertools.product(
        range(groups), itertools.product(*map(range, o.y.sizes[2:]))
    ):
        inside = tuple(slice(i * s, i * s + (k - 1) * d + 1, d) for i, s, k, d in
                       zip(at, c.strides, o.kernel.sizes[2:], c.dilation))  # fmt: skip
        seen = (slice(None), slice(group * depth, group * depth + depth), *inside)
        own = slice(group * width, group * width + width)
        place = (slice(None), own, *at)
        rows = kernel[own].reshape(width, -1)
        if o.kind == "forward":
            y[place] = x[seen].reshape(len(x), -1) @ rows.T
        elif o.kind == "transposed":
            x[seen] += (y[place] @ rows).reshape(x[seen].shape)
        else:
            kernel[own] += (y[place].T @ x[seen].reshape(len(x), -1)).reshape(kernel[own].shape)
    if o.kind == "transposed":
        return x[tuple(slice(a, a + n) for n, (a, _) in zip(sizes, border))]
    return y if o.kind == "forward" else kernel

"""How a recurrent kernel is laid out on a GPU: a pure function of shapes and of the chip.

`kernels/rnn.cuh` says what the choices mean.
"""

import dataclasses
import functools

__all__ = ["GRID", "KINDS", "LAUNCHES", "SHARED", "Plan", "kind_of", "plan_of"]

SHARED, GRID, LAUNCHES = 0, 1, 2  # where blocks meet: BLOCKS_MEET_... in kernels/rnn.cuh

_THREADS = 256
_CLUSTER = 8  # blocks of a cluster that every sm_90 has
_LARGE_CLUSTER = 16  # that it may have if asked; not everywhere on the chip at once
_CHUNKS = (1, 2, 4, 8)
_NARROW = 16  # units: less than that for one block, and the meeting costs more than the product


@dataclasses.dataclass(frozen=True)
class Kind:
    """How numbers are kept and multiplied.

    Attributes:
        cores: int, TENSOR_CORES in kernels/rnn.cuh.
        real: str, dtype of sums and states.
        stored: int, bytes of a weight.
        round: int, what the K axis is a multiple of.
        words: str, for people.
    """

    cores: int
    real: str
    stored: int
    round: int
    words: str


KINDS = {
    "float64": Kind(0, "float64", 8, 1, "float64, no tensor cores"),
    "float32": Kind(0, "float32", 4, 1, "float32, no tensor cores"),
    "tf32": Kind(1, "float32", 4, 8, "tensor cores (tf32)"),
    "float16": Kind(2, "float32", 2, 16, "tensor cores (float16, sums in float32)"),
    "bfloat16": Kind(3, "float32", 2, 16, "tensor cores (bfloat16, sums in float32)"),
}


def kind_of(chip, dtype, precision):
    """Return the name in `KINDS` for arrays of a dtype, or None where there is no kernel.

    Args:
        chip: `gpunet.fused.launch.Chip`.
        dtype: str.
        precision: ``'tf32'`` or ``'strict'``.
    """
    cores = chip.capability >= 80
    if dtype == "float32":
        return "tf32" if cores and precision == "tf32" else "float32"
    if dtype == "float64":
        return dtype
    return dtype if dtype in KINDS and cores else None


@dataclasses.dataclass(frozen=True)
class Plan:
    """One layout.

    Attributes:
        units, gates: ints, of the cell.
        planes: int, copies of the forward operand: one for each gate with recurrent dropout.
        slice: int, units of a block.
        rows: int, sequences of a tile.
        meet: SHARED, GRID or LAUNCHES.
        resident: bool, the weights stay in shared memory.
        kind: str, name in `KINDS`.
        chunks: int, in how many pieces operands are brought into shared memory.
        directions: int, how many walks share a launch.
    """

    units: int
    gates: int
    planes: int
    slice: int
    rows: int
    meet: int
    resident: bool
    kind: str = "float32"
    chunks: int = 1
    directions: int = 1

    @property
    def across(self):
        """int, number of blocks that share the units."""
        return -(-self.units // self.slice)

    @property
    def defines(self):
        """dict of what the source is compiled for."""
        return {
            "REAL": {"float32": "float", "float64": "double"}[KINDS[self.kind].real],
            "UNITS": self.units,
            "SLICE": self.slice,
            "ROWS": self.rows,
            "THREADS": _THREADS,
            "CLUSTER": self.across if self.meet == SHARED else 1,
            "MEET": self.meet,
            "RESIDENT": int(self.resident),
            "CHUNKS": self.chunks,
            "TENSOR_CORES": KINDS[self.kind].cores,
            "DIRECTIONS": self.directions,
        }

    @property
    def block(self):
        """tuple, threads of a block."""
        return (_THREADS,)

    def __str__(self):
        where = {
            SHARED: "single block"
            if self.across == 1
            else f"cluster of {self.across} blocks that share their memory",
            GRID: f"cooperative grid of {self.across} blocks that meet at every step",
            LAUNCHES: f"{self.across} blocks, one launch a step",
        }[self.meet]
        weights = "weights held on the chip" if self.resident else "weights read at every step"
        both = ", both directions in one launch" if self.directions > 1 else ""
        tiles = f"{self.rows} sequences each"
        return f"{where}, {tiles}, {weights}, {KINDS[self.kind].words}{both}"

    def grid(self, batch):
        """Return the blocks of a launch over ``batch`` sequences."""
        tiles = 1 if self.meet == GRID else -(-batch // self.rows)
        return (self.across, tiles, self.directions)

    def shared(self, backward):
        """Return the bytes of dynamic shared memory, as the kernels lay it out."""
        kind = KINDS[self.kind]
        depth = -(-self.units // kind.round) * kind.round
        piece = -(-depth // (kind.round * self.chunks)) * kind.round
        stride, buffers = self.rows + 8, 2 if self.meet == SHARED else 1
        if backward:
            weights = self.gates * depth * self._banked(self.slice)
            operand, widths = self.gates * piece * stride, [self.slice]
        else:
            weights = depth * self._banked(self.gates * self.slice)
            operand = self.planes * piece * stride
            widths = [g * self.slice for g in range(1, self.gates + 1)]
        sums = max(self._parts(w) * w for w in widths) * (self.rows + 1)
        real = 8 if kind.real == "float64" else 4
        return kind.stored * (weights * self.resident + operand * buffers) + real * sums

    def _banked(self, columns):
        return columns + 8 if KINDS[self.kind].cores and columns % 16 == 0 else columns

    def _parts(self, width):
        cores = KINDS[self.kind].cores
        jobs = width // 8 if cores else width * (self.rows // min(self.rows, 8))
        workers = _THREADS // 32 if cores else _THREADS
        return 1 if jobs >= workers else min(workers // jobs, 8)

    def fits(self, chip, backward):
        """Return whether the shared memory is enough."""
        return self.shared(backward) <= chip.shared

    # -- in words ---------------------------------------------------------------------------

    def among(self, across):
        """Return the layout in which so many blocks share their memory, whether it fits or not."""
        units = _slice(self.units, across, self.kind)
        return dataclasses.replace(self, slice=units, meet=SHARED, resident=True, chunks=1)

    def why(self, chip, backward):
        """Return in words why it was chosen."""
        one, most = (_size(self.among(n).shared(backward)) for n in (1, _CLUSTER))
        have = f"{chip.shared >> 10} KB"
        if self.meet == SHARED:
            if self.across == 1:
                return f"it needs {one} of the {have} of shared memory"
            if self.among(1).fits(chip, backward):
                return "a single block would do, but the chip has room for more"
            return f"a single block would need {one} of {have} of shared memory"
        why = f"a single block would need {one}"
        if chip.capability >= 90:
            why += f", each of a cluster of {_CLUSTER} {most}"
        why += f" of {have} of shared memory"
        if self.meet == LAUNCHES:
            why += f"; {chip.blocks} multiprocessors don't hold the weights together"
        return why


def _size(count):
    return f"{count / 2**20:.1f} MB" if count >= 2**20 else f"{-(-count // 1024)} KB"


def _step(kind):
    return 8 if KINDS[kind].cores else 1


def _slice(units, across, kind):
    step = _step(kind)
    return -(-units // (across * step)) * step


@functools.lru_cache(maxsize=1024)
def plan_of(chip, units, gates, batch, kind, dropout, backward, directions=1):
    """Return the Plan for a walk, or None where no layout fits.

    Blocks of a cluster where their shared memory holds the weights, as many as the chip has room
    for; else all of the chip's that are needed; else a launch a step.

    Args:
        chip: `gpunet.fused.launch.Chip`.
        units, gates, batch: ints.
        kind: str, from `kind_of`.
        dropout: bool, with recurrent dropout.
        backward: bool, for the walk back.
        directions: int, how many walks share a launch.
    """
    cores = bool(KINDS[kind].cores)
    rows = 16 if cores or batch > 8 else 8 if batch > 4 else 4
    room = chip.blocks // directions  # blocks that run at once
    made = functools.partial(
        Plan, units, gates, gates if dropout else 1, rows=rows, kind=kind, directions=directions
    )
    found = (
        _in_clusters(chip, made, batch, room, backward)
        or _in_a_grid(chip, made, room, backward)
        or _in_launches(chip, made, room, backward)
    )
    if found is None and kind == "tf32":  # whose tiles are larger
        return plan_of(chip, units, gates, batch, "float32", dropout, backward, directions)
    return found


def _in_clusters(chip, made, batch, room, backward):
    units, kind = made.args[0], made.keywords["kind"]
    fitting = []
    for across in range(1, (_CLUSTER if chip.capability >= 90 else 1) + 1):
        plan = made(_slice(units, across, kind), meet=SHARED, resident=True)
        if plan.across == across and plan.fits(chip, backward):
            fitting.append(plan)
    tiles = -(-batch // made.keywords["rows"])
    if fitting:
        roomy = [p for p in fitting if p.across * tiles <= room and p.slice >= _NARROW]
        return roomy[-1] if roomy else fitting[0]
    # Some of the chip's parts have fewer multiprocessors than that.
    if chip.capability >= 90 and _LARGE_CLUSTER * tiles <= room * 3 // 4:
        plan = made(_slice(units, _LARGE_CLUSTER, kind), meet=SHARED, resident=True)
        if plan.across == _LARGE_CLUSTER and plan.fits(chip, backward):
            return plan
    return None


def _in_a_grid(chip, made, room, backward):
    units, kind = made.args[0], made.keywords["kind"]
    least = _slice(units, room, kind)  # with less, there would be more blocks than run at once
    # Narrow ones: reading operands takes longer than the meeting of more blocks.
    sizes = [n for n in (8, 16, 4, 2, 1) if n >= least and n % _step(kind) == 0] or [least]
    for size in sizes:
        for chunks in _CHUNKS:
            plan = made(size, meet=GRID, resident=True, chunks=chunks)
            if plan.across <= room and plan.fits(chip, backward):
                return plan
    return None


def _in_launches(chip, made, room, backward):
    units, kind, rows = made.args[0], made.keywords["kind"], made.keywords["rows"]
    size = _slice(units, min(room, -(-units // _NARROW)), kind)
    while True:
        for chunks in _CHUNKS:
            plan = made(size, rows=rows, meet=LAUNCHES, resident=False, chunks=chunks)
            if plan.fits(chip, backward):
                return plan
        if rows == 4 or KINDS[kind].cores:
            return None
        rows //= 2

"""How a recurrent kernel is laid out on a GPU: a pure function of shapes and of the chip.

`kernels/rnn.cuh` says what the choices mean.
"""

import dataclasses
import functools

__all__ = ["GRID", "LAUNCHES", "SHARED", "Plan", "plan_of"]

SHARED, GRID, LAUNCHES = 0, 1, 2  # where blocks meet: BLOCKS_MEET_... in kernels/rnn.cuh

_THREADS = 256
_CLUSTER = 8  # blocks of a cluster that every sm_90 has
_NARROW = 16  # units: less than that for one block, and the meeting costs more than the product


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
        tf32: bool, products run on tensor cores.
        size: int, bytes of a float.
    """

    units: int
    gates: int
    planes: int
    slice: int
    rows: int
    meet: int
    resident: bool
    tf32: bool
    size: int = 4

    @property
    def across(self):
        """int, number of blocks that share the units."""
        return -(-self.units // self.slice)

    @property
    def defines(self):
        """dict of what the source is compiled for."""
        return {
            "UNITS": self.units,
            "SLICE": self.slice,
            "ROWS": self.rows,
            "THREADS": _THREADS,
            "CLUSTER": self.across if self.meet == SHARED else 1,
            "MEET": self.meet,
            "RESIDENT": int(self.resident),
            "TF32": int(self.tf32),
        }

    @property
    def block(self):
        """tuple, threads of a block."""
        return (_THREADS,)

    def __str__(self):
        where = {
            SHARED: f"{self.across} blocks that share their memory",
            GRID: f"{self.across} blocks that meet at every step",
            LAUNCHES: f"{self.across} blocks, one launch a step",
        }[self.meet]
        weights = "held on the chip" if self.resident else "read anew at every step"
        return f"kernel of {where}, {self.rows} sequences each, weights {weights}, " + (
            "tensor cores (tf32)" if self.tf32 else "no tensor cores"
        )

    def grid(self, batch):
        """Return the blocks of a launch over ``batch`` sequences."""
        return (self.across, 1 if self.meet == GRID else -(-batch // self.rows))

    def shared(self, backward):
        """Return the bytes of dynamic shared memory, as the kernels lay it out."""
        depth = -(-self.units // 8) * 8 if self.tf32 else self.units
        stride, buffers = self.rows + 8, 2 if self.meet == SHARED else 1
        if backward:
            weights = self.gates * depth * (self.slice + 8)
            operand, widths = self.gates * depth * stride, [self.slice]
        else:
            weights = depth * (self.gates * self.slice + 8)
            operand = self.planes * depth * stride
            widths = [g * self.slice for g in range(1, self.gates + 1)]
        sums = max(self._parts(w) * w for w in widths) * (self.rows + 1)
        return self.size * (weights * self.resident + operand * buffers + sums)

    def _parts(self, width):
        jobs = width // 8 if self.tf32 else width * (self.rows // min(self.rows, 8))
        workers = _THREADS // 32 if self.tf32 else _THREADS
        return 1 if jobs >= workers else min(workers // jobs, 8)

    def fits(self, chip, backward):
        """Return whether the shared memory is enough."""
        return self.shared(backward) <= chip.shared


@functools.lru_cache(maxsize=1024)
def plan_of(chip, units, gates, batch, size, tf32, dropout, backward):
    """Return the Plan for a walk.

    The fewest blocks whose shared memory holds the weights, then more as long as the chip has
    room for them and each keeps enough to do.

    Args:
        chip: `gpunet.fused.launch.Chip`.
        units, gates, batch: ints.
        size: int, bytes of a float.
        tf32: bool, tensor cores may be used.
        dropout: bool, with recurrent dropout.
        backward: bool, for the walk back.
    """
    tf32 = tf32 and size == 4 and chip.capability >= 80
    rows = 16 if tf32 or batch > 8 else 8 if batch > 4 else 4
    made = functools.partial(
        Plan, units, gates, gates if dropout else 1, rows=rows, tf32=tf32, size=size
    )
    step = 8 if tf32 else 1

    def slice_of(across):
        return -(-units // (across * step)) * step

    most = _CLUSTER if chip.capability >= 90 else 1
    fitting = []
    for across in range(1, most + 1):
        plan = made(slice_of(across), meet=SHARED, resident=True)
        if plan.across == across and plan.fits(chip, backward):
            fitting.append(plan)
    if fitting:
        tiles = -(-batch // rows)
        roomy = [p for p in fitting if p.across * tiles <= chip.blocks and p.slice >= _NARROW]
        return roomy[-1] if roomy else fitting[0]
    for across in range(most + 1, chip.blocks + 1):
        plan = made(slice_of(across), meet=GRID, resident=True)
        if plan.across == across and plan.fits(chip, backward):
            return plan
    plan = made(slice_of(min(chip.blocks, -(-units // _NARROW))), meet=LAUNCHES, resident=False)
    while not plan.fits(chip, backward) and plan.rows > 4 and not tf32:
        plan = dataclasses.replace(plan, rows=plan.rows // 2)
    return plan

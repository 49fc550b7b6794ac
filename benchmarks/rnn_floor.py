"""How fast a recurrent layer's training step could be on a GPU: a model, not a measurement.

    python -m benchmarks.rnn_floor [--chip h200] [--cluster US] [--grid US] [--launch US]

A walk's turn takes what its slowest part takes (products, reading their operands from shared
memory, moving gates to and from global memory), then its cells, then the meeting of the blocks.
The products around the walks run at the rate of matrix products.
"""

import argparse
import dataclasses

from gpunet.fused import rnn_plan
from gpunet.fused.launch import CHIPS

__all__ = ["CASES", "Case", "Costs", "predicted", "table"]


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer and its input.

    Attributes:
        cell: ``'lstm'``, ``'gru'`` or ``'simple_rnn'``.
        units, features, batch, steps: ints.
        dtype: str.
        masked: bool, with an arbitrary mask.
        directions: int.
        target_ms: float, what a training step should take on an H200, or None.
    """

    cell: str
    units: int
    batch: int
    steps: int = 100
    features: int = 128
    dtype: str = "float32"
    masked: bool = False
    directions: int = 1
    target_ms: float | None = None


CASES = {
    "lstm128-b32": Case("lstm", 128, 32, target_ms=0.45),
    "lstm128-b256": Case("lstm", 128, 256, target_ms=0.8),
    "lstm128-b32-mask": Case("lstm", 128, 32, masked=True, target_ms=0.5),
    "lstm128-b256-mask": Case("lstm", 128, 256, masked=True, target_ms=0.88),
    "gru128-b32": Case("gru", 128, 32, target_ms=0.45),
    "gru128-b256": Case("gru", 128, 256, target_ms=0.8),
    "lstm512-b32": Case("lstm", 512, 32, features=512, target_ms=1.0),
    "lstm512-b32-bf16": Case("lstm", 512, 32, features=512, dtype="bfloat16"),
    "lstm256-b32-fp16": Case("lstm", 256, 32, features=256, dtype="float16"),
    "bilstm128-b32": Case("lstm", 128, 32, directions=2),
}
GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1}


@dataclasses.dataclass(frozen=True)
class Costs:
    """What a GPU is taken for; by default an H200. None of it was measured here.

    Attributes:
        cluster, grid, launch: microseconds that a meeting of a cluster's blocks, of a cooperative
            grid's, or another launch takes.
        cells: microseconds for the activations of a turn, and for what waits for memory.
        clock: cycles in a microsecond.
        flops: dict kind -> floating point operations of a multiprocessor in a microsecond.
        shared: bytes of shared memory that a multiprocessor reads in a microsecond.
        memory: bytes of global memory in a microsecond.
        share: float, how much of its peak a large product reaches.
    """

    cluster: float = 0.7
    grid: float = 1.3
    launch: float = 3.0
    cells: float = 0.4
    flops: dict = dataclasses.field(
        # mma.sync reaches about 62 % of the peak of TF32 and of 16 bits on this chip
        default_factory=lambda: {
            "float64": 0.25e6,
            "float32": 0.5e6,
            "tf32": 2.3e6,
            "float16": 4.6e6,
            "bfloat16": 4.6e6,
        }  # fmt: skip
    )
    shared: float = 128 * 1750.0
    memory: float = 4.8e6
    share: float = 0.6


def turn(plan, batch, backward, costs, chip):
    """Return the parts of a turn in microseconds, by name."""
    kind = rnn_plan.KINDS[plan.kind]
    depth = -(-plan.units // kind.round) * kind.round * (plan.gates if backward else 1)
    columns = plan.slice * (1 if backward else plan.gates)
    tiles = -(-batch // plan.rows)
    blocks = plan.across * (1 if plan.meet == rnn_plan.GRID else tiles) * plan.directions
    # Tiles that a block takes one after the other, also where not all blocks run at once.
    rounds = tiles if plan.meet == rnn_plan.GRID else -(-blocks // chip.blocks)
    wide = 8 if kind.cores else 1  # columns that share the reading of an operand
    read = depth * columns / wide * (wide + min(plan.rows, 16)) * kind.stored
    if not plan.resident:
        read *= 2  # weights come from the second-level cache
    size = {"float64": 8, "float32": 4}[kind.real]
    gates = batch * plan.units * plan.directions
    moved = gates * (2 * plan.gates * kind.stored + 3 * size)
    meeting = {
        rnn_plan.SHARED: 0.05 if plan.across == 1 else costs.cluster,
        rnn_plan.GRID: costs.grid,
        rnn_plan.LAUNCHES: costs.launch,
    }[plan.meet]
    return {
        "products": rounds * 2 * plan.rows * depth * columns / costs.flops[plan.kind],
        "shared": rounds * read / costs.shared,
        "memory": moved / costs.memory,
        "cells": rounds * costs.cells,
        "meeting": meeting,
    }


def total(parts):
    """Return how long a turn takes."""
    work = max(parts["products"], parts["shared"], parts["memory"])
    return work + parts["cells"] + parts["meeting"]


def predicted(case, chip=CHIPS["h200"], costs=None, precision="tf32"):
    """Return a prediction for a training step of a case.

    Args:
        case: `Case`.
        chip: `gpunet.fused.launch.Chip`.
        costs: `Costs`.
        precision: ``'tf32'`` or ``'strict'``.

    Returns:
        Dict with ``layout`` and ``layout_back``, ``forward_us`` and ``backward_us`` a step,
        ``parts`` and ``parts_back`` of them, ``products_ms`` of the products around the walks,
        ``step_ms``, and ``flops`` and ``bytes`` a step of the walk forward.
    """
    costs = costs or Costs()
    kind = rnn_plan.kind_of(chip, case.dtype, precision)
    gates = GATES[case.cell]
    plans = [
        rnn_plan.plan_of(
            chip, case.units, gates, case.batch, kind, False, backward, case.directions
        )
        for backward in (False, True)
    ]
    parts = [
        turn(plan, case.batch, backward, costs, chip)
        for plan, backward in zip(plans, (False, True))
    ]
    width, rows = gates * case.units * case.directions, case.steps * case.batch
    peak = costs.flops[kind] * chip.blocks * costs.share / 0.62
    # Forward once, back twice with the input's features, once with the states.
    work = 2 * rows * width * (3 * case.features + case.units / case.directions)
    products = max(work / peak, 4 * 5.0) / 1e3
    walks = sum(map(total, parts)) * case.steps / 1e3
    return {
        "layout": str(plans[0]),
        "layout_back": str(plans[1]),
        "forward_us": total(parts[0]),
        "backward_us": total(parts[1]),
        "parts": parts[0],
        "parts_back": parts[1],
        "products_ms": products,
        "step_ms": walks + products,
        "flops": 2 * case.batch * case.units * width,
        "bytes": case.batch * width * 2 * rnn_plan.KINDS[kind].stored,
    }


def table(chip=CHIPS["h200"], costs=None):
    """Return the rows of a table in Markdown."""
    lines = [
        "| case | forward | back | forward, us a step | back, us a step | products, ms | training step, ms | target, ms |",  # noqa: E501
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, case in CASES.items():
        p = predicted(case, chip, costs)
        where = [p[k].split(",")[0].removesuffix(" that share their memory") for k in
                 ("layout", "layout_back")]  # fmt: skip
        where = [w.removesuffix(" that meet at every step") for w in where]
        target = "" if case.target_ms is None else f"{case.target_ms}"
        lines.append(
            f"| {name} | {where[0]} | {where[1]} | {p['forward_us']:.2f} | "
            f"{p['backward_us']:.2f} | {p['products_ms']:.2f} | {p['step_ms']:.2f} | {target} |"
        )
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chip", choices=CHIPS, default="h200")
    for name in ("cluster", "grid", "launch"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Costs, name), metavar="US")
    args = parser.parse_args()
    costs = Costs(cluster=args.cluster, grid=args.grid, launch=args.launch)
    print("\n".join(table(CHIPS[args.chip], costs)))


if __name__ == "__main__":
    main()

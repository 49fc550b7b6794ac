"""What the CUDA sources are compiled for in tests: the layouts that common sizes get."""

import subprocess

from gpunet.fused import launch, rnn_plan, sources

__all__ = ["BUILDS", "CHIPS", "compile_for"]

# architecture -> a chip that has it
CHIPS = {
    "sm_75": launch.Chip(75, 40, 64 << 10),  # T4
    "sm_80": launch.Chip(80, 108, 163 << 10),  # A100
    "sm_90": launch.Chip(90, 132, 227 << 10),  # H200
}


def _elementwise(chip):
    return [{"REAL": real} for real in launch.REALS.values()]


def _recurrent(gates, **own):
    def builds(chip):
        made = []
        for units, tf32, dropout in [(128, True, False), (100, False, True), (512, True, False)]:
            for backward in (False, True):
                plan = rnn_plan.plan_of(chip, units, gates, 32, 4, tf32, dropout, backward)
                made.append({
                    **plan.defines, "REAL": "float", "MASKED": 1, "DROPOUT": int(dropout),
                    "ACTIVATION": 0, "GATE_ACTIVATION": 1, **own,
                })  # fmt: skip
        return [d for i, d in enumerate(made) if d not in made[:i]]

    return builds


def _along_rows(chip):
    return [{"REAL": "float", "THREADS": 256, "ROW_THREADS": n} for n in (32, 256)] + [
        {"REAL": "double", "THREADS": 256, "ROW_THREADS": 32}
    ]


def _convolution(chip):
    """Of a 3 x 3 layer of 64 channels, and of one with strides, groups and three axes."""
    return [
        _geometry(chip, (1, 32, 32), (1, 32, 32), (1, 3, 3), (1, 1, 1), (0, 1, 1), 64, 64, 1),
        _geometry(chip, (8, 9, 7), (4, 4, 3), (2, 3, 3), (2, 2, 2), (0, 0, 0), 12, 24, 3),
    ]


def _geometry(chip, size, out, kernel, strides, pads, channels, filters, groups):
    axes = {"SIZE": size, "OUT": out, "KERNEL": kernel, "STRIDE": strides, "PAD": pads,
            "DILATION": (1, 1, 1)}  # fmt: skip
    return {
        "REAL": "float", "TF32": int(chip.capability >= 80 and groups == 1),
        "CHANNELS": channels, "FILTERS": filters, "GROUPS": groups,
        **{f"{name}{i}": v for name, values in axes.items() for i, v in enumerate(values)},
    }  # fmt: skip


# family -> function of a Chip that lists the definitions of each build
BUILDS = {
    "conv": _convolution,
    "columns": _elementwise,
    "dropout": _elementwise,
    "elementwise": _elementwise,
    "rows": _along_rows,
    "lstm": _recurrent(4),
    "gru": lambda chip: _recurrent(3, RESET_AFTER=0)(chip) + _recurrent(3, RESET_AFTER=1)(chip),
    "simple_rnn": _recurrent(1),
}


def compile_for(family, arch, defines, folder):
    """Compile a source by nvcc and return the finished process; spills and warnings are errors."""
    (folder / "kernels.cu").write_text(sources.source(family), encoding="utf8")
    return subprocess.run(
        ["nvcc", "-cubin", f"-arch={arch}", "-std=c++17", "-Werror=all-warnings",
         "-Xptxas=-v,-warn-spills,-Werror", "-o", "kernels.cubin", "kernels.cu",
         *[f"-D{name}={value}" for name, value in defines.items()]],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip

"""What the CUDA sources are compiled for in tests: the layouts that common sizes get."""

import ctypes
import ctypes.util
import subprocess
import sys
from pathlib import Path

from gpunet.fused import conv_kernels, elementwise, launch, rnn_plan, sources, tiles
from gpunet.ops import window

__all__ = [
    "BUILDS",
    "CHIPS",
    "ENDED",
    "compile_by_nvrtc",
    "compile_for",
    "convolutions",
    "nvrtc",
    "text_of",
]

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
        for units, dtype, precision, dropout, directions in [
            (128, "float32", "tf32", False, 1), (100, "float32", "strict", True, 1),
            (512, "float32", "tf32", False, 1), (256, "float16", "tf32", False, 2),
            (512, "bfloat16", "tf32", True, 1),
        ]:  # fmt: skip
            kind = rnn_plan.kind_of(chip, dtype, precision)
            if kind is None:
                continue
            for backward in (False, True):
                plan = rnn_plan.plan_of(chip, units, gates, 32, kind, dropout, backward, directions)
                made.append({
                    **plan.defines, "MASKED": 1, "DROPOUT": int(dropout), "ACTIVATION": 0,
                    "GATE_ACTIVATION": 1, **own,
                })  # fmt: skip
        return [d for i, d in enumerate(made) if d not in made[:i]]

    return builds


def _along_rows(chip):
    return [{"REAL": "float", "THREADS": 256, "ROW_THREADS": n} for n in (32, 256)] + [
        {"REAL": "double", "THREADS": 256, "ROW_THREADS": 32}
    ]


def _layer(size, kernel, channels, filters, strides=1, groups=1, padding="same"):
    return window.window(size, kernel, strides, padding), channels, filters, groups


_VGG = _layer((32, 32), (3, 3), 64, 64)
_LAYERS = [
    (_VGG, "float32", True),
    (_layer((9, 9, 7), (2, 3, 3), 12, 24, 2, 3, "valid"), "float64", False),
    (_layer((56, 56), (3, 3), 128, 256, 2), "float16", True),
    (_layer((32, 32), (3, 3), 5, 33), "float32", True),
]


# As behind a normalization's factors and a shortcut.
ENDED = "z = gn_times(z, gn_float(o0[channel])) + gn_float(o1[channel]) + gn_float(o2[at]);"


def _convolution(product):
    """Of the layers above on the newest chip, else of the first: by the tile that suits it best."""

    def builds(chip):
        layers = _LAYERS if chip.capability >= 90 else _LAYERS[:1]
        found = [convolutions(product, chip, layer)[0] for layer in layers]
        if product != "gradient":
            found.append({**found[0], "SPLITS": 4})
            found += [{**d, "MEASURED": 1, "ENDING": ENDED} for d in found[:3]]
        return found

    return builds


def convolutions(product, chip, layer=_LAYERS[0]):
    """Return what a convolution's source is compiled for with each tile that a product can have."""
    *of, dtype, tensor = layer
    g = conv_kernels.Geometry(*of[0], dtype, tensor and chip.capability >= 80, chip)
    found = getattr(g, f"{product}_product")(64)
    found = found[0] if product == "gradient" else found
    return [{**g.defines, **t.defines(found, chip)} for t in tiles.candidates(found, chip)]


def _few(chip):
    return _direct(chip, [(_layer((28, 28), (3, 3), 1, 32), "float32"),
                          (_layer((224, 224), (7, 7), 3, 64, 2), "float32"),
                          (_layer((32, 32), (3, 3), 3, 33), "float16")])  # fmt: skip


def _depthwise(chip):
    return _direct(chip, [(_layer((56, 56), (3, 3), 144, 144, 2, 144), "float32"),
                          (_layer((9, 9, 7), (2, 3, 3), 12, 24, 1, 12), "float16")])  # fmt: skip


def _direct(chip, layers):
    layers = layers if chip.capability >= 90 else layers[-1:]
    return [conv_kernels.Geometry(*of, dtype, False, chip).defines for of, dtype in layers]


def _activations(chip):
    kinds = [("float", 0, "elu"), ("double", 0, "tanh"), ("float", 1, "swish")]
    return [
        {"REAL": real, "NARROW": narrow, "ACTIVATION": elementwise.ACTIVATIONS[name]}
        for real, narrow, name in kinds
    ]


def _splits(chip):
    kinds = [("float", 0, "relu"), ("double", 0, "linear"), ("float", 1, "swish")]
    kinds = kinds if chip.capability >= 90 else kinds[-1:]
    return [
        {"REAL": real, "NARROW": narrow, "ACTIVATION": elementwise.ACTIVATIONS[name],
         "ENDING": ENDED}
        for real, narrow, name in kinds
    ]  # fmt: skip


def _tables(chip):
    return [
        {"REAL": "float", "NUMBER": "int", "WORD": "unsigned"},
        {"REAL": "double", "NUMBER": "long long", "WORD": "unsigned char"},
    ]


def _pools(chip):
    return [
        {"REAL": real, "MEAN": mean, "INDEX": index}
        for real, mean, index in (
            ("float", 0, "unsigned"), ("float", 1, "unsigned"), ("double", 0, "long long"),
        )
    ]  # fmt: skip


# family -> function of a Chip that lists the definitions of each build
BUILDS = {
    "conv_depthwise": _depthwise,
    "conv_few": _few,
    "conv_forward": _convolution("forward"),
    "conv_kernel_gradient": _convolution("gradient"),
    "conv_transposed": _convolution("transposed"),
    "splits": _splits,
    "columns": lambda chip: [*_elementwise(chip), {"REAL": "float", "ENDING": ENDED}],
    "dropout": _elementwise,
    "elementwise": _activations,
    "rows": _along_rows,
    "binary": _elementwise,
    "pool": _pools,
    "reduce": _along_rows,
    "table": _tables,
    "lstm": _recurrent(4),
    "gru": lambda chip: _recurrent(3, RESET_AFTER=0)(chip) + _recurrent(3, RESET_AFTER=1)(chip),
    "simple_rnn": _recurrent(1),
}


def text_of(family, defines):
    """Return the text that is compiled, and its definitions; an ending stands in the text."""
    rest = dict(defines)
    ending = rest.pop("ENDING", None)
    head = "" if ending is None else f"#define ENDING(z, at, channel) {ending}\n"
    return head + sources.source(family), rest


def nvrtc():
    """Return NVRTC, which compiles the sources where there is a GPU; None if it isn't installed."""
    found = ctypes.util.find_library("nvrtc")
    for folder in sys.path:
        places = Path(folder or ".").glob("nvidia/*/lib/libnvrtc.so.*")
        found = found or next((str(p) for p in places if "alt" not in p.name), None)
    return ctypes.CDLL(found) if found else None


def compile_by_nvrtc(library, family, arch, defines):
    """Compile a source as CuPy does and return what the compiler complains of, or ''."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    text, defines = text_of(family, defines)
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
    options = [f"-arch={arch}", "-std=c++17", "-ftz=true"]
    options += [f"-D{name}={value}" for name, value in defines.items()]
    given = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
    failed = library.nvrtcCompileProgram(program, len(options), given)
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return log.value.decode() or "failed" if failed else ""


def compile_for(family, arch, defines, folder):
    """Compile a source by nvcc and return the finished process; spills and warnings are errors."""
    text, defines = text_of(family, defines)
    (folder / "kernels.cu").write_text(text, encoding="utf8")
    return subprocess.run(
        ["nvcc", "-cubin", f"-arch={arch}", "-std=c++17", "-Werror=all-warnings",
         "-Xptxas=-v,-warn-spills,-Werror", "-o", "kernels.cubin", "kernels.cu",
         *[f"-D{name}={value}" for name, value in defines.items()]],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip

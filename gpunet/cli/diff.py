"""Compare two files: architecture, compile arguments and weights.

Exit code 0 if they are the same, 1 if they differ, 2 in trouble.
"""

import sys

from gpunet.cli.common import add_file, add_json, print_json
from gpunet.errors import GpunetError

__all__ = ["add", "run"]


def add(parser):
    """Give the command its arguments."""
    add_file(parser, "first")
    add_file(parser, "second")
    parser.add_argument(
        "--tolerance", type=float, default=0.0, metavar="X", help="numbers this close are the same"
    )
    add_json(parser)


def run(args):
    """Print the differences."""
    try:
        found = _differences(args.first, args.second, args.tolerance)
    except (GpunetError, OSError, ValueError) as error:
        print(f"gpunet diff: {error}", file=sys.stderr)
        return 2
    if args.json:
        print_json(found)
    else:
        for part, lines in found.items():
            for line in lines:
                print(f"{part}: {line}")
    return 1 if any(found.values()) else 0


def _differences(first, second, tolerance):
    from gpunet.saving.describe import arrays_of, read_config
    from gpunet.saving.hdf5 import open_for_reading, read_text
    from gpunet.saving.weights import check_total

    with open_for_reading(first) as a, open_for_reading(second) as b:
        found = {"architecture": [], "compile": [], "weights": []}
        whole = [read_text(file, "model_config") is not None for file in (a, b)]
        if all(whole):
            _compare(_by_name(read_config(a)), _by_name(read_config(b)), "", found["architecture"])
            _compare(_training(a), _training(b), "", found["compile"])
        elif any(whole):
            kinds = ["a model" if w else "weights alone" for w in whole]
            found["architecture"].append(f"{first} holds {kinds[0]}, {second} {kinds[1]}")
        arrays = [arrays_of(a), arrays_of(b)]
        check_total([d for part in arrays for pairs in part.values() for _, d in pairs], None)
        _compare_weights(*arrays, tolerance, found["weights"])
        return found


def _by_name(value):
    """Return a config with lists of layers as dicts by their names, which is how people read it."""
    if isinstance(value, dict):
        value = {k: _by_name(v) for k, v in value.items()}
        layers = value.get("layers")
        if isinstance(layers, list) and all(isinstance(e, dict) for e in layers):
            configs = [e["config"] if isinstance(e.get("config"), dict) else {} for e in layers]
            names = [e.get("name", c.get("name")) for e, c in zip(layers, configs)]
            if all(isinstance(n, str) for n in names) and len(set(names)) == len(names):
                value = {**value, "layers": dict(zip(names, layers))}
    return [_by_name(v) for v in value] if isinstance(value, list) else value


def _training(file):
    import json

    from gpunet.saving.hdf5 import read_text

    text = read_text(file, "training_config")
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return "no JSON"


def _compare(a, b, place, lines):
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *(k for k in b if k not in a)]:
            inner = f"{place}.{key}" if place else str(key)
            if key in a and key in b:
                _compare(a[key], b[key], inner, lines)
            else:
                lines.append(f"{inner}: only in the {'first' if key in a else 'second'}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            _compare(x, y, f"{place}[{i}]", lines)
    elif a != b and not _same_number(a, b):
        lines.append(f"{place}: {a!r} and {b!r}")


def _same_number(a, b):
    """Return whether two numbers are one float32: some Keras writes 0.001 with its rounding."""
    import numpy as np

    both = isinstance(a, float) and isinstance(b, (int, float))
    return both and np.float32(a) == np.float32(b)


def _compare_weights(a, b, tolerance, lines):
    import numpy as np

    from gpunet.saving.hdf5 import read_array

    for layer in [*a, *(name for name in b if name not in a)]:
        if layer not in a or layer not in b:
            if a.get(layer) or b.get(layer):
                lines.append(f"{layer}: only in the {'first' if layer in a else 'second'}")
            continue
        if len(a[layer]) != len(b[layer]):
            lines.append(f"{layer}: {len(a[layer])} and {len(b[layer])} arrays")
            continue
        for (name, x), (_, y) in zip(a[layer], b[layer]):
            if x.shape != y.shape:
                lines.append(f"{layer} {name}: shapes {x.shape} and {y.shape}")
                continue
            x, y = read_array(x), read_array(y)
            same = (x == y) | ((x != x) & (y != y))
            with np.errstate(all="ignore"):
                gap = np.abs(x.astype("f8") - y.astype("f8"))[~same]
            gap = gap[~(gap <= tolerance)]
            if gap.size:
                lines.append(f"{layer} {name}: {gap.size} numbers differ, by up to {gap.max():.3g}")

"""What joining saves on a GPU behind and before convolutions: counted, and not measured.

    python -m benchmarks.conv_joined

counts, for a convolution with normalization, shortcut and rectifier behind it, how often an array
of the result's size is read or written besides the convolution's own work, and the launches; and
where the cost model cuts a product along its depth. No GPU is needed.
"""

import dataclasses

from benchmarks.conv_layers import CLOCK, LAUNCH, MEMORY

__all__ = ["CUT", "UNITS", "Pass", "cut", "joined", "main"]


@dataclasses.dataclass(frozen=True)
class Pass:
    """One launch.

    Attributes:
        name: str.
        arrays: int, how many arrays of the result's size it reads or writes.
    """

    name: str
    arrays: int


# What runs besides the convolutions: each op by itself, and joined.
INFERENCE = (
    [Pass("times scale", 2), Pass("plus shift", 2), Pass("plus shortcut", 3), Pass("relu", 2)],
    [Pass("shortcut in the convolution's ending", 1)],
)
FORWARD = (
    [Pass("moments", 1), Pass("moments of parts", 0), Pass("normalize", 2),
     Pass("plus shortcut", 3), Pass("relu", 2)],
    [Pass("moments of tiles", 0), Pass("normalize, plus shortcut, relu", 3)],
)  # fmt: skip
BACK = (
    [Pass("plus the shortcut's gradient", 3), Pass("relu's mask", 3), Pass("sums", 2),
     Pass("sums of parts", 0), Pass("gradient of normalize", 3)],
    [Pass("both in the convolution's ending", 2), Pass("sums", 2), Pass("sums of parts", 0),
     Pass("gradient of normalize", 3)],
)  # fmt: skip
KINDS = {"inference": INFERENCE, "training, forward": FORWARD, "training, back": BACK}

# Name -> batch, side of the images, filters.
UNITS = {
    "ResNet50, 64, 56 x 56": (32, 56, 64),
    "ResNet50, 512, 7 x 7": (32, 7, 512),
    "toy ResNet, 64, 10 x 10": (64, 10, 64),
    "CIFAR ResNet, 16, 32 x 32": (128, 32, 16),
}

# Name -> batch, side, channels and filters of a 3 x 3 convolution.
CUT = {
    "512, 7 x 7, 1 image": (1, 7, 512),
    "512, 7 x 7, 8 images": (8, 7, 512),
    "512, 14 x 14, 1 image": (1, 14, 512),
    "256, 14 x 14, 8 images": (8, 14, 256),
    "512, 14 x 14, 32 images": (32, 14, 512),
}


def joined(batch, side, filters):
    """Return {kind: {'alone' or 'joined': (launches, bytes, seconds)}} on an H200."""
    size, found = 4 * batch * side**2 * filters, {}
    for kind, (alone, together) in KINDS.items():
        found[kind] = {}
        for way, passes in (("alone", alone), ("joined", together)):
            moved = size * sum(p.arrays for p in passes)
            launches = sum("ending" not in p.name for p in passes)
            found[kind][way] = launches, moved, moved / MEMORY + launches * LAUNCH
    return found


def cut(batch, side, channels):
    """Return (parts of the depth, seconds with them, seconds without) on an H200, by the model."""
    from gpunet.fused import conv_kernels, launch, tiles
    from gpunet.ops.window import window

    chip = launch.CHIPS["h200"]
    w = window((side,) * 2, (3, 3), 1, "same")
    g = conv_kernels.Geometry(w, channels, channels, 1, "float32", True, chip)
    product = g.forward_product(batch)
    parts = tiles.splits(product, chip)
    times = [tiles.split_cost(product, n, chip) / CLOCK + LAUNCH for n in (parts, 1)]
    return parts, *times


def main():
    for name, shape in UNITS.items():
        for kind, ways in joined(*shape).items():
            parts = [
                f"{way} {launches} launches {moved / 1e6:6.1f} MB {seconds * 1e6:6.1f} us"
                for way, (launches, moved, seconds) in ways.items()
            ]
            print(f"{name:28} {kind:18} {'; '.join(parts)}")
    for name, shape in CUT.items():
        parts, seconds, whole = cut(*shape)
        print(
            f"{name:28} {parts:2} parts of the depth {seconds * 1e6:6.1f} us, "
            f"whole {whole * 1e6:6.1f} us"
        )


if __name__ == "__main__":
    main()

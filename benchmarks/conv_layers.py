"""The convolutions that are measured by themselves on a GPU, and what they must take at least.

    python -m benchmarks.conv_layers

prints the predictions; no GPU is needed.
"""

from dataclasses import dataclass

__all__ = ["LAYERS", "Layer", "TARGETS", "floor", "predicted"]

# Of an H200, published: TF32 and FP32 operations, bytes of memory and a second; clock in Hz.
TF32, FP32, MEMORY, CLOCK = 495e12, 67e12, 4.8e12, 1.83e9
LAUNCH = 2e-6  # seconds from one kernel of a graph to the next, estimated


@dataclass(frozen=True)
class Layer:
    """One layer, with bias and ReLU, forward and back.

    Args:
        batch, size, channels, filters: ints; images are square.
        kernel, stride: ints.
        groups: int.
        first: bool, the first layer of a model: nobody wants the gradient of its input.
    """

    batch: int
    size: int
    channels: int
    filters: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    first: bool = False

    @property
    def out(self):
        """int, side of the result, with padding ``'same'``."""
        return -(-self.size // self.stride)


LAYERS = {
    "64 to 64, 32 x 32": Layer(64, 32, 64, 64),
    "first, 1 to 32, 28 x 28": Layer(128, 28, 1, 32, first=True),
    "first, 3 to 64, 32 x 32": Layer(64, 32, 3, 64, first=True),
    "first, 3 to 64, 224 x 224": Layer(32, 224, 3, 64, first=True),
    "VGG, 64 to 64, 224 x 224": Layer(16, 224, 64, 64),
    "VGG, 256 to 256, 56 x 56": Layer(32, 56, 256, 256),
    "VGG, 512 to 512, 14 x 14": Layer(32, 14, 512, 512),
    "stride 2, 64 to 128, 56 x 56": Layer(32, 56, 64, 128, stride=2),
    "one cell, 256 to 64, 56 x 56": Layer(32, 56, 256, 64, kernel=1),
    "depthwise, 144, 56 x 56": Layer(32, 56, 144, 144, groups=144),
}

# Layer -> (peer, how many times as fast as it gpunet is to be).
TARGETS = {
    "64 to 64, 32 x 32": [("torch", 1.5), ("torch-compile", 1.0)],
    **{name: [("torch", 1.5)] for name in LAYERS if name.startswith("first")},
    **{name: [("cudnn", 0.65), ("torch-last", 0.65)] for name in LAYERS if name.startswith("VGG")},
}


def floor(layer):
    """Return flops, bytes and seconds that no way of direct convolution can go below.

    Each array is read or written once in each pass: x, kernel and y forward; back, the result and
    its gradient, x and, unless the layer is the first, the gradient of x.
    """
    passes = 2 if layer.first else 3
    positions = layer.batch * layer.out**2
    kernel = layer.kernel**2 * layer.channels // layer.groups * layer.filters
    flops = 2 * positions * kernel * passes
    x, y = layer.batch * layer.size**2 * layer.channels, positions * layer.filters
    moved = 4 * ((x + y + kernel) + (2 * y + x + kernel) + (0 if layer.first else x + kernel))
    return {"flops": flops, "bytes": moved, "seconds": max(flops / TF32, moved / MEMORY)}


def predicted(layer):
    """Return the seconds that each of our kernels is estimated to take; none was measured."""
    from gpunet.fused import conv_kernels, launch, tiles
    from gpunet.ops.window import window

    chip = launch.CHIPS["h200"]
    w = window((layer.size,) * 2, (layer.kernel,) * 2, layer.stride, "same")
    g = conv_kernels.Geometry(w, layer.channels, layer.filters, layer.groups, "float32", True, chip)
    positions = layer.batch * layer.out**2
    x, y = layer.batch * layer.size**2 * layer.channels, positions * layer.filters
    found = {"ending": (3 * 4 * y) / MEMORY}
    one = 2 * positions * layer.kernel**2 * layer.channels // layer.groups * layer.filters

    def streamed(elements):
        return max(4 * elements / MEMORY, one / FP32)

    def multiplied(product):
        return tiles.chosen(product, chip).cost(product, chip) / CLOCK

    product, splits = g.gradient_product(layer.batch)
    parts = splits * layer.kernel**2 * layer.channels // layer.groups * layer.filters
    if g.depthwise:
        found["forward"] = found["kernel"] = found["input"] = streamed(x + y)
    elif layer.kernel == layer.stride == 1:
        found["forward"] = found["kernel"] = found["input"] = max(4 * (x + y) / MEMORY, one / TF32)
    else:
        ahead = g.forward_product(layer.batch)
        found["forward"] = streamed(x + y) if g.few else multiplied(ahead)
        found["kernel"] = multiplied(product) + 2 * 4 * parts / MEMORY
        found["input"] = multiplied(g.transposed_product(layer.batch))
    if layer.first:
        del found["input"]
    return {name: seconds + LAUNCH for name, seconds in found.items()}


def main():
    for name, layer in LAYERS.items():
        least, kernels = floor(layer), predicted(layer)
        parts = ", ".join(f"{k} {s * 1e6:.0f}" for k, s in kernels.items())
        print(
            f"{name:30} {least['flops'] / 1e9:7.1f} GFLOP {least['bytes'] / 1e6:7.0f} MB  "
            f"floor {least['seconds'] * 1e6:6.0f} us  predicted {sum(kernels.values()) * 1e6:6.0f} "
            f"us ({parts})"
        )


if __name__ == "__main__":
    main()

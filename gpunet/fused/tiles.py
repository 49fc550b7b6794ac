"""How the products of `kernels/tiles.cuh` are cut into tiles: a function of shapes and chip."""

import dataclasses
import functools
import math

from gpunet.fused.launch import address

__all__ = ["TILES", "Product", "Tile", "candidates", "chosen", "split_cost", "splits", "vector"]

_STEP = 64  # bytes along the depth that a block goes at once
_LINE = 16  # bytes: what is copied at once at most, and what rows in shared memory are padded by


@dataclasses.dataclass(frozen=True)
class Product:
    """A product that a kernel has to make.

    Attributes:
        rows, columns, depth: ints, of the result, and what each of its sums goes over.
        count: int, how many of them one launch makes.
        size: int, bytes of an element.
        tensor: bool, tensor cores multiply.
        left_deep, right_deep: bools, neighbours in memory of that side are neighbours along the
            depth.
        left_vector, right_vector: ints, elements of that side that can be copied at once.
    """

    rows: int
    columns: int
    depth: int
    count: int
    size: int
    tensor: bool
    left_deep: bool
    right_deep: bool
    left_vector: int
    right_vector: int

    def split(self, parts):
        """Return the product that each of some parts of the depth is."""
        step = _STEP // self.size
        if parts == 1:
            return self
        depth = -(-self.depth // (step * parts)) * step
        return dataclasses.replace(self, depth=depth, count=self.count * parts)


@dataclasses.dataclass(frozen=True)
class Tile:
    """One way to cut a product.

    Attributes:
        m, n: ints, rows and columns that a block makes.
        warp_m, warp_n: ints, those of a warp.
    """

    m: int
    n: int
    warp_m: int
    warp_n: int

    def __str__(self):
        return f"tiles of {self.m} x {self.n}"

    @property
    def threads(self):
        """int, of a block."""
        return 32 * (self.m // self.warp_m) * (self.n // self.warp_n)

    def depth(self, product):
        """Return how far a block goes along the depth at once."""
        return _STEP // product.size

    def stages(self, chip):
        """Return how many steps along the depth are in shared memory at once."""
        return 4 if chip.capability >= 80 else 2

    def defines(self, product, chip):
        """Return what the source is compiled for."""
        return {
            "TENSOR": int(product.tensor),
            "TILE_M": self.m,
            "TILE_N": self.n,
            "TILE_K": self.depth(product),
            "WARP_M": self.warp_m,
            "WARP_N": self.warp_n,
            "STAGES": self.stages(chip),
            "VECTOR_LEFT": product.left_vector,
            "VECTOR_RIGHT": product.right_vector,
        }

    def grid(self, product):
        """Return the blocks of a launch."""
        return (-(-product.rows // self.m), -(-product.columns // self.n), product.count)

    def shared(self, product, chip):
        """Return the bytes of dynamic shared memory, as the kernels lay it out."""
        depth, line = self.depth(product), _LINE // product.size
        total = 0
        for outer, deep in ((self.m, product.left_deep), (self.n, product.right_deep)):
            pad = line if product.size == 2 else 2 * line
            total += outer * (depth + line) if deep else depth * (outer + pad)
        return self.stages(chip) * total * product.size

    def fits(self, product, chip):
        """Return whether the chip has room for it, and each thread few enough copies to make."""
        depth = self.depth(product)
        for outer, deep, wide in (
            (self.m, product.left_deep, product.left_vector),
            (self.n, product.right_deep, product.right_vector),
        ):
            across = (depth if deep else outer) // wide
            if self.threads % across or (deep and outer * depth // wide > 8 * self.threads):
                return False
        return self.shared(product, chip) <= chip.shared

    def cost(self, product, chip):
        """Return the clocks of a multiprocessor that a launch is estimated to take.

        Both tensor cores and shared memory set a pace: the first by products, the second by what
        is copied into it (through the first cache, so twice) and what warps read from it. The
        rates are those published for Hopper, and estimates; nothing here was measured.
        """
        warps = self.threads // 32
        copied = 2 * (self.m + self.n)
        read = warps * (self.warp_m + self.warp_n)
        moved = (copied + read) * product.size / 128
        pace = (1280 if product.size == 2 else 640) if product.tensor else 128
        blocks = math.prod(self.grid(product))
        work = self.m * self.n / pace
        step = max(moved, work) + min(moved, work) / 4 + 200 / self.depth(product) / warps
        return -(-blocks // chip.blocks) * (step * product.depth + 300)


# From many sums for each element read to few; no choice among them has been measured.
TILES = (
    Tile(256, 64, 64, 64),
    Tile(192, 64, 64, 64),
    Tile(128, 128, 64, 64),
    Tile(64, 256, 64, 64),
    Tile(128, 64, 64, 32),
    Tile(64, 128, 32, 64),
    Tile(128, 32, 32, 32),
    Tile(64, 64, 32, 32),
    Tile(64, 32, 32, 16),
    Tile(32, 64, 16, 32),
    Tile(64, 16, 16, 16),
    Tile(32, 32, 16, 16),
)


def candidates(product, chip):
    """Return the tiles that a product can be cut into, the one estimated fastest first."""
    fitting = [t for t in TILES if t.fits(product, chip)]
    # No tile of which a half or more lies beside the result, where there is another.
    full = [t for t in fitting if t.m < 2 * product.rows and t.n < 2 * product.columns]
    fitting = full or fitting[-2:]
    return sorted(fitting, key=lambda tile: tile.cost(product, chip))


@functools.lru_cache(maxsize=4096)
def chosen(product, chip):
    """Return the tile for a product."""
    return candidates(product, chip)[0]


_SPLITS = (2, 3, 4, 6, 8, 12, 16)
_SHORTEST = 8  # steps along the depth of a part, at least


@functools.lru_cache(maxsize=4096)
def splits(product, chip):
    """Return into how many parts the depth of a product is cut, for lack of tiles.

    Their sums go through memory, and one more launch joins them, in their order.
    """
    steps = product.depth * product.size // _STEP
    few = min(math.prod(t.grid(product)) for t in candidates(product, chip)) <= chip.blocks
    ways = [1, *[n for n in _SPLITS if few and n * _SHORTEST <= steps]]
    return min(ways, key=lambda n: split_cost(product, n, chip))


def split_cost(product, parts, chip):
    """Return the clocks that a product takes, cut into parts; estimates, as `Tile.cost`."""
    part = product.split(parts)
    cost = chosen(part, chip).cost(part, chip)
    if parts > 1:
        moved = 4 * (2 * parts + 1) * product.rows * product.columns * product.count
        cost += moved / (_PACE * chip.blocks) + _LAUNCH
    return cost


_PACE = 16  # bytes of memory for each clock of a multiprocessor
_LAUNCH = 3000  # clocks from one kernel to the next


def vector(length, array, size):
    """Return how many elements of an array can be copied at once.

    Args:
        length: int, neighbours in memory come in multiples of it.
        array: CuPy array, which may begin anywhere in a block of memory.
        size: int, bytes of an element.
    """
    return max(1, math.gcd(_LINE, length * size, address(array)) // size)

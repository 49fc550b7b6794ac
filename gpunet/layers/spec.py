"""What a layer expects of its inputs."""

from gpunet.errors import ShapeError

__all__ = ["InputSpec"]


class InputSpec:
    """What a layer expects of an input; checked whenever it is called.

    Args:
        dtype: unused by the checks, kept for scripts that read it.
        shape: tuple, None for sizes that are free.
        ndim: int, exact rank.
        max_ndim, min_ndim: int, bounds of the rank.
        axes: dict axis -> size.
    """

    def __init__(self, dtype=None, shape=None, ndim=None, max_ndim=None, min_ndim=None, axes=None):
        self.dtype, self.shape = dtype, shape
        self.ndim = len(shape) if shape is not None else ndim
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.axes = dict(axes or {})

    def check(self, layer, shape):
        """Raise a ShapeError that names the layer unless a shape fits.

        Args:
            layer: the layer that was called.
            shape: Shape of the input.
        """
        wanted = self._wanted(shape)
        if wanted is not None:
            raise ShapeError(
                f"{type(layer).__name__} {layer.name!r}: expected {wanted} (input shape {shape})"
            )

    def _wanted(self, shape):
        """Return what a shape should have been, and what it is; None if it fits."""
        rank = len(shape)
        if self.ndim is not None and rank != self.ndim:
            return f"an input of rank {self.ndim}, got rank {rank}"
        if self.max_ndim is not None and rank > self.max_ndim:
            return f"an input of rank at most {self.max_ndim}, got rank {rank}"
        if self.min_ndim is not None and rank < self.min_ndim:
            return f"an input of rank at least {self.min_ndim}, got rank {rank}"
        for axis, size in self.axes.items():
            axis = int(axis)
            if not -rank <= axis < rank:
                return f"an input with an axis {axis}, got rank {rank}"
            if size is not None and shape[axis] not in (None, size):
                return f"size {size} along axis {axis}, got {shape[axis]}"
        if self.shape is not None:
            for got, size in zip(shape, self.shape, strict=True):
                if None not in (got, size) and got != size:
                    return f"an input of shape {tuple(self.shape)}"
        return None

    def __repr__(self):
        given = {k: v for k, v in vars(self).items() if v not in (None, {})}
        return f"InputSpec({', '.join(f'{k}={v!r}' for k, v in given.items())})"

"""The gradient of rows that were looked up by number: those rows, not a table of zeros."""

import numpy as np

__all__ = ["RowGradient"]

# Set by gpunet.fused.table: function (xp, values, numbers, shape) -> the sums as an array of that
# shape and whether each row has some, [V]; or None where it hasn't got them.
on_gpu = None


class RowGradient:
    """A gradient that is zero but for some rows; rows with equal numbers count as their sum.

    Args:
        xp: array module.
        values: array (n, ...), the rows.
        numbers: array (n,) of integers.
        shape: tuple (V, ...), the shape of the whole.
    """

    __slots__ = ("xp", "values", "numbers", "shape", "_made")

    def __init__(self, xp, values, numbers, shape):
        self.xp, self.values, self.numbers, self.shape = xp, values, numbers, shape
        self._made = None

    @property
    def dtype(self):
        """numpy.dtype of the rows."""
        return self.values.dtype

    def __add__(self, other):
        """Return the sum with another one, or with an array, which gives an array."""
        if not isinstance(other, RowGradient):
            return self.dense() + other
        both = ((self.values, other.values), (self.numbers, other.numbers))
        return RowGradient(self.xp, *(self.xp.concatenate(pair) for pair in both), self.shape)

    def astype(self, dtype, copy=True):
        """Return one in a dtype; with ``copy`` its rows are its own."""
        values = self.values.astype(dtype, copy=copy)
        return RowGradient(self.xp, values, self.numbers, self.shape)

    def dense(self):
        """Return the whole as an array."""
        made = self._added()
        if made is not None:
            return made[0]
        x = self.xp.zeros(self.shape, self.values.dtype)
        if self.xp is np and self.values.size >= 2 * self.numbers.size:
            numbers, sums = self.summed()
            x[numbers] = sums
        else:
            self.xp.add.at(x, self.numbers, self.values)
        return x

    def _added(self):
        """Return what `on_gpu` gives, once for both who ask."""
        if self._made is None and on_gpu is not None and self.xp is not np:
            self._made = on_gpu(self.xp, self.values, self.numbers, self.shape)
        return self._made

    def summed(self):
        """Return (numbers, rows) with each number once, in order; on NumPy only."""
        if not self.numbers.size:
            return self.numbers, self.values
        numbers = self.numbers % self.shape[0]
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
        starts = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]]))
        counts = np.diff(starts, append=numbers.size)
        sums = self.values[order[starts]]
        # The second rows of all numbers are added at once, then the third ones ...  When fewer
        # numbers are left than rounds were made, each gets the sum of its remaining rows: of n
        # rows, that makes at most 2 * sqrt(n) additions of arrays.
        done, left = 1, np.flatnonzero(counts > 1)
        while left.size > done:
            sums[left] += self.values[order[starts[left] + done]]
            done += 1
            left = left[counts[left] > done]
        for i in left:
            sums[i] += self.values[order[starts[i] + done : starts[i] + counts[i]]].sum(axis=0)
        return numbers[starts], sums

    def touched(self):
        """Return for each row of the whole, (V, 1, ...), whether its number is among these."""
        made = self._added()
        if made is not None:
            return made[1].reshape((self.shape[0],) + (1,) * (len(self.shape) - 1))
        mask = self.xp.zeros((self.shape[0],) + (1,) * (len(self.shape) - 1), bool)
        mask[self.numbers] = True
        return mask

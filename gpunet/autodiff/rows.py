"""The gradient of rows that were looked up by number: those rows, not a table of zeros."""

import numpy as np

__all__ = ["RowGradient"]


class RowGradient:
    """A gradient that is zero but for some rows; rows with equal numbers count as their sum.

    Args:
        xp: array module.
        values: array (n, ...), the rows.
        numbers: array (n,) of integers.
        shape: tuple (V, ...), the shape of the whole.
    """

    __slots__ = ("xp", "values", "numbers", "shape")

    def __init__(self, xp, values, numbers, shape):
        self.xp, self.values, self.numbers, self.shape = xp, values, numbers, shape

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

    def astype(self, dtype):
        """Return one with rows of its own in a dtype."""
        return RowGradient(self.xp, self.values.astype(dtype), self.numbers, self.shape)

    def dense(self):
        """Return the whole as an array."""
        x = self.xp.zeros(self.shape, self.values.dtype)
        if self.xp is np and self.values.size >= 2 * self.numbers.size:
            numbers, sums = self.summed()
            x[numbers] = sums
        else:
            self.xp.add.at(x, self.numbers, self.values)
        return x

    def summed(self):
        """Return (numbers, rows) with each number once, in order; on NumPy only."""
        if not self.numbers.size:
            return self.numbers, self.values
        # Equal numbers are brought together and added up block by block, in their order.
        numbers = self.numbers % self.shape[0]
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
        starts = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]]))
        return numbers[starts], np.add.reduceat(self.values[order], starts, axis=0)

    def touched(self):
        """Return for each row of the whole, (V, 1, ...), whether its number is among these."""
        mask = self.xp.zeros((self.shape[0],) + (1,) * (len(self.shape) - 1), bool)
        mask[self.numbers] = True
        return mask

"""Rows of an HDF5 dataset, read when they are needed."""

import os

import h5py
import numpy as np

from gpunet.errors import FileFormatError

__all__ = ["HDF5Matrix"]


class HDF5Matrix:
    """Part of an HDF5 dataset that `Model.fit` and the like read in batches.

    With ``shuffle='batch'``, whole batches are read, which is much faster than single rows.

    Args:
        datapath: str or path-like, the file.
        dataset: str, name of the dataset in it.
        start: int, the first row.
        end: int, the row after the last; by default all there are.
        normalizer: function of the rows read that returns what is to be used instead.

    Raises:
        OSError: no file, or not an HDF5 file.
        ValueError: no such dataset, or rows that it doesn't have.
    """

    def __init__(self, datapath, dataset, start=0, end=None, normalizer=None):
        self.datapath, self.dataset = os.fspath(datapath), dataset
        self.start, self.normalizer = start, normalizer
        self.data = self._open()
        rows = self.data.shape[0]
        self.end = rows if end is None else end
        if not 0 <= self.start <= self.end <= rows:
            raise ValueError(
                f"HDF5Matrix: rows {start} to {self.end} asked for, but {dataset!r} in "
                f"{self.datapath!r} has {rows}"
            )

    def _open(self):
        file = h5py.File(self.datapath, "r")
        found = file.get(self.dataset)
        if not isinstance(found, h5py.Dataset) or not found.shape:
            names = list(file)
            file.close()
            raise FileFormatError(
                f"HDF5Matrix: {self.datapath!r} has no dataset with rows named "
                f"{self.dataset!r}; it has {names}"
            )
        return found

    def __getstate__(self):
        return {key: value for key, value in vars(self).items() if key != "data"}

    def __setstate__(self, state):
        vars(self).update(state)
        self.data = self._open()

    def __len__(self):
        return self.end - self.start

    def __getitem__(self, key):
        """Return rows.

        Args:
            key: int, slice, or list or array of ints in any order.

        Raises:
            IndexError: rows that aren't there.
        """
        if isinstance(key, slice):
            first, last, step = key.indices(len(self))
            if step < 0:
                return self[list(range(first, last, step))]
            rows = self.data[self.start + first : self.start + max(first, last) : step]
        elif np.ndim(key) == 0:
            rows = self.data[self.start + int(self._checked(key))]
        else:
            # HDF5 wants increasing numbers, each once.
            once, back = np.unique(self._checked(key), return_inverse=True)
            rows = self.data[self.start + once][back.reshape(-1)]
        return rows if self.normalizer is None else self.normalizer(rows)

    def _checked(self, key):
        wanted, count = np.asarray(key), len(self)
        if wanted.dtype == bool:
            wanted = np.flatnonzero(wanted)
        if not wanted.size:
            wanted = wanted.astype(int)  # an empty list is one of floats
        if wanted.size and (wanted.min() < -count or wanted.max() >= count):
            raise IndexError(
                f"HDF5Matrix: rows {wanted.min()} to {wanted.max()} asked for, it has {count}"
            )
        return np.where(wanted < 0, wanted + count, wanted)

    @property
    def shape(self):
        """Tuple, the number of rows in front; as the normalizer leaves it."""
        if self.normalizer is None or not len(self):
            return (len(self), *self.data.shape[1:])
        return (len(self), *np.shape(self[0:1])[1:])

    @property
    def dtype(self):
        """numpy.dtype of what is read; as the normalizer leaves it."""
        if self.normalizer is None or not len(self):
            return self.data.dtype
        return np.asarray(self[0:1]).dtype

    @property
    def ndim(self):
        """int, number of axes."""
        return len(self.shape)

    @property
    def size(self):
        """int, number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

"""Data that lie on a GPU while a model trains: uploaded once, cut into batches there."""

import math
import weakref

import numpy as np

from gpunet import arrays
from gpunet.fused.graphs import free_memory
from gpunet.ops.index import rows_in_order
from gpunet.tensor import Tensor

__all__ = ["Resident", "Residence"]

_SHARE = 1 / 3  # of the free memory that data may take
_ONCE = 256 << 20  # bytes of data that are worth it for a single pass
_KEPT = 1 / 16  # of the free memory that data may keep when nobody reads it any more


class Residence:
    """Room for the data of a model's passes.

    Storage is used again for data of the same shape, so that graphs that read it stay valid.

    Args:
        xp: array module.
        forget: function () that drops the graphs, called when storage is let go.
    """

    def __init__(self, xp, forget):
        self.xp, self._forget = xp, forget
        self._held = []  # [function that returns the Column in it while it is read, array]
        self._orders = []  # [function that returns the Resident likewise, order, place in it]

    def take_in(self, feeder, passes, outputs):
        """Return the `Resident` of an ArrayFeeder's columns, or None if they should stay outside.

        Args:
            feeder: ArrayFeeder.
            passes: int, how many times it will be read.
            outputs: int, how many the model has; 0 if targets don't matter.
        """
        parts = [p or [None] * outputs for p in (feeder.y, feeder.weight)] if outputs else []
        columns = [c for part in (feeder.x, *parts) for c in part]
        given = {id(c): c for c in columns if c is not None}
        held = {id(read()): array for read, array in self._held if id(read()) in given}
        missing = [c for c in given.values() if id(c) not in held]
        if any(c.in_file for c in missing):
            return None
        size = sum(math.prod(c.shape) * _stored(c).itemsize for c in missing)
        room = free_memory(self.xp) * _SHARE
        if size > (room if passes > 1 else min(room, _ONCE)):
            return None
        for c in missing:
            held[id(c)] = self._place(c)
        self._settle()
        found = [None if c is None else (held[id(c)], c.widen, c.dtype) for c in columns]
        return self._with_order(Resident(self.xp, found), feeder.samples)

    def _place(self, column):
        """Return a column on the device, in storage that nobody reads any more if some fits."""
        values, dtype = column.values, _stored(column)
        if isinstance(values, np.ndarray):
            new = self.xp.asarray(np.ascontiguousarray(values, dtype=dtype))
        else:
            new = arrays.to_device(values, dtype)
        for entry in self._held:
            read, array = entry
            if read() is None and array.shape == new.shape and array.dtype == dtype:
                array[...] = new
                entry[0] = weakref.ref(column)
                return array
        if new is values:  # the user's, who may write to it
            new = new.copy()
        self._held.append([weakref.ref(column), new])
        return new

    def _with_order(self, resident, rows):
        for entry in self._orders:
            read, order, place = entry
            if read() is None and len(order) >= rows:
                break
        else:
            order = self.xp.zeros(1 << (rows - 1).bit_length(), "int64")
            entry = [None, order, self.xp.zeros(1, "int64")]
            self._orders.append(entry)
        entry[0] = weakref.ref(resident)
        resident.order, resident.place = entry[1:]
        return resident

    def leave(self, feeder):
        """Note that a feeder's columns aren't read any more; large ones are let go."""
        over = set(map(id, feeder.columns()))
        for entry in self._held:
            if id(entry[0]()) in over:
                entry[0] = _nobody
        self._settle()

    def _settle(self):
        idle = [array for read, array in self._held if read() is None]
        if sum(a.nbytes for a in idle) > free_memory(self.xp) * _KEPT:
            self.drop()

    def drop(self):
        """Let go of what nobody reads any more, and of all graphs."""
        self._held = [h for h in self._held if h[0]() is not None]
        self._orders = [o for o in self._orders if o[0]() is not None]
        self._forget()


def _nobody():
    """Return None: what a weak reference to something dead does."""


class Resident:
    """One pass's data.

    Args:
        xp: array module.
        columns: list of (array, whether rows become ``(N, 1)``, dtype of batches) and Nones.

    Attributes:
        order: int64 array, room for the numbers of a pass's rows.
        place: int64 array [1], how many of them are used up.
    """

    def __init__(self, xp, columns):
        self.xp, self._columns = xp, columns
        self.order = self.place = None

    def arrays(self):
        """Return the list of all arrays that `take` reads."""
        return [self.order, self.place, *[c[0] for c in self._columns if c is not None]]

    def kind(self):
        """Return what, beside those arrays, batches depend on."""
        return tuple([c and c[1:] for c in self._columns])

    def begin(self, numbers):
        """Start a pass.

        Args:
            numbers: array, the rows in their order.
        """
        self.order[: len(numbers)] = self.xp.asarray(numbers)
        self.place[...] = 0

    def take(self, rows):
        """Return a batch of the next rows as a list of Tensors and Nones, and move on."""
        found = []
        for column in self._columns:
            if column is None:
                found.append(None)
                continue
            array, widen, dtype = column
            part = rows_in_order(array, self.order, self.place, rows=rows).array
            part = part.reshape(-1, 1) if widen else part
            found.append(Tensor(part if part.dtype == dtype else part.astype(dtype)))
        self.place += rows
        return found


def _stored(column):
    """Return the dtype in which a column lies on the device: the smaller one of two."""
    own = np.dtype(column.values.dtype).newbyteorder("=")
    return own if own.itemsize < column.dtype.itemsize else column.dtype

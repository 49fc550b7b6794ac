"""Batches made from indices when they are asked for."""

import numpy as np

from gpunet.data.sequence import Sequence
from gpunet.nest import map_nest
from gpunet.training.feeder import positive_int

__all__ = ["Batches"]


class Batches(Sequence):
    """Data in batches that are made when they are asked for, in a new order each epoch.

    The order depends on the seed and the epoch alone.

    Args:
        count: int, number of samples.
        batch_size: int; None gives single samples, without a batch axis.
        make: function from an array of indices to a batch: an array, or a tuple of arrays.
        shuffle: bool; False keeps the order.
        seed: int; drawn from ``np.random`` if None.
        **attributes: set on the object.
    """

    def __init__(self, count, batch_size, make, shuffle=False, seed=None, **attributes):
        self._count, self._make, self._shuffle = count, make, shuffle
        self._size = positive_int(batch_size, "batch_size")
        self._key = int(np.random.randint(2**31) if seed is None else seed) % 2**64
        self._epoch = 0
        vars(self).update(attributes)

    def __len__(self):
        return -(-self._count // (self._size or 1))

    def __getitem__(self, index):
        if not -len(self) <= index < len(self):
            raise IndexError(f"asked for batch {index}, but there are {len(self)}")
        size, number = self._size or 1, index % len(self)
        order = np.arange(self._count)
        if self._shuffle:
            order = np.random.default_rng([self._key, self._epoch]).permutation(self._count)
        batch = self._make(order[number * size : (number + 1) * size])
        return batch if self._size else map_nest(lambda a: a[0], batch)

    def on_epoch_end(self):
        """Go to the next epoch's order."""
        self._epoch += 1

    def map(self, map_func, num_parallel_calls=None, **options):
        """Return the same batches with a function applied to each.

        Args:
            map_func: function of the parts of a batch, such as ``lambda x, y: (x / 255, y)``.
            num_parallel_calls: accepted, as are other options of tf.data; `Model.fit` has
                ``workers``.
        """
        return _Mapped(self, map_func)

    def take(self, count):
        """Return the first ``count`` batches as a list."""
        return [self[i] for i in range(min(count, len(self)))]

    def prefetch(self, buffer_size=None):
        """Return the object itself: `Model.fit` fetches ahead."""
        return self

    def cache(self, filename=None):
        """Return the object itself: nothing is kept."""
        return self


class _Mapped(Batches):
    """Batches with a function applied."""

    def __init__(self, source, function):
        self._source, self._function = source, function

    def __getattr__(self, name):  # such as class_names
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._source, name)

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        batch = self._source[index]
        made = self._function(*batch) if isinstance(batch, tuple) else self._function(batch)
        return map_nest(lambda a: a.numpy() if hasattr(a, "numpy") else a, made)

    def on_epoch_end(self):
        self._source.on_epoch_end()

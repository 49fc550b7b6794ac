"""Batches of images, and those from arrays."""

import contextvars
import os
import threading
import warnings

import numpy as np

from gpunet import config
from gpunet.data.sequence import Sequence
from gpunet.errors import ShapeError
from gpunet.preprocessing.image.files import array_to_img, checked_format
from gpunet.training.feeder import positive_int

__all__ = ["Iterator", "NumpyArrayIterator", "check_subset"]

# The draws of the batch that is being made; None outside of one.
_draws = contextvars.ContextVar("gpunet_image_draws", default=None)


class Iterator(Sequence):
    """Base of batches of images: a `Sequence`, and an endless iterator of batches.

    The order of an epoch and the random changes of a batch depend on the seed, the epoch and the
    batch's number alone.  Subclasses define ``_get_batches_of_transformed_samples(index_array)``.

    Args:
        n: int, number of images.
        batch_size: int; the last batch of an epoch may be smaller.
        shuffle: bool, draw another order for each epoch.
        seed: int; drawn from ``np.random`` if None.
    """

    white_list_formats = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")

    def __init__(self, n, batch_size, shuffle, seed):
        self.n = n
        self.batch_size = positive_int(batch_size, f"{type(self).__name__}: batch_size", 32)
        self.shuffle = shuffle
        self.seed = seed
        self.batch_index = 0
        self.lock = threading.Lock()
        drawn = np.random.randint(2**31) if seed is None else seed
        self._key = int(drawn) % 2**64
        self._epoch = 0
        self._begun = False

    def __getstate__(self):
        return {key: value for key, value in vars(self).items() if key != "lock"}

    def __setstate__(self, state):
        vars(self).update(state, lock=threading.Lock())

    @property
    def total_batches_seen(self):
        """int, number of the next batch, counted from the first epoch."""
        return self._epoch * len(self) + self.batch_index

    @property
    def index_array(self):
        """numpy array, the order of the current epoch's images."""
        return self._order(self._epoch)

    def _order(self, epoch):
        if not self.shuffle:
            return np.arange(self.n)
        return np.random.default_rng([self._key, epoch]).permutation(self.n)

    def __len__(self):
        return -(-self.n // self.batch_size)

    def __getitem__(self, idx):
        if not -len(self) <= idx < len(self):
            raise IndexError(
                f"{type(self).__name__}: asked for batch {idx}, but there are {len(self)}"
            )
        return self._batch(self._epoch, idx % len(self))

    def _batch(self, epoch, number):
        start = number * self.batch_size
        chosen = self._order(epoch)[start : start + self.batch_size]
        token = _draws.set(np.random.default_rng([self._key, epoch, number]))
        try:
            return self._get_batches_of_transformed_samples(chosen)
        finally:
            _draws.reset(token)

    def on_epoch_end(self):
        """Go to the next epoch."""
        self._epoch += 1

    def reset(self):
        """Begin the epoch anew, for use as an iterator."""
        self.batch_index = 0
        self._begun = False

    def __iter__(self):
        return self

    def __next__(self):
        with self.lock:
            if not self.n:
                raise StopIteration
            if self._begun and self.batch_index == 0:
                self.on_epoch_end()
            self._begun = True
            epoch, number = self._epoch, self.batch_index
            self.batch_index = (number + 1) % len(self)
        return self._batch(epoch, number)

    def next(self):
        """Return the next batch."""
        return next(self)

    def _get_batches_of_transformed_samples(self, index_array):
        raise NotImplementedError(
            f"{type(self).__name__} must define _get_batches_of_transformed_samples()"
        )

    # -- for subclasses -------------------------------------------------------------------------

    def _transformed(self, x):
        """Return an image changed at random and standardized."""
        generator = self.image_data_generator
        if not generator:
            return x
        draws = _draws.get()
        seed = None if draws is None else int(draws.integers(2**32))
        x = generator.apply_transform(x, generator.get_random_transform(x.shape, seed))
        return generator.standardize(x)

    def _keep(self, batch, index_array):
        """Write a batch to image files, if the user wants to see it."""
        if not self.save_to_dir:
            return
        draws = _draws.get() or np.random.default_rng()
        for x, index in zip(batch, index_array):
            name = f"{self.save_prefix}_{index}_{draws.integers(10**7)}.{self.save_format}"
            array_to_img(x, self.data_format, scale=True).save(os.path.join(self.save_to_dir, name))


def check_subset(who, subset):
    """Raise a ValueError for a part of the data that there isn't."""
    if subset not in (None, "training", "validation"):
        raise ValueError(
            f"{who}: Invalid subset name: expected 'training' or 'validation', got {subset!r}"
        )


class NumpyArrayIterator(Iterator):
    """Batches of images that lie in an array.

    Args:
        x: array of 4 axes; or a pair of it and an array, or list of arrays, that go along as they
            are.
        y: targets, or None.
        image_data_generator: `ImageDataGenerator`.
        batch_size, shuffle, seed: see `Iterator`.
        sample_weight: array, or None.
        data_format: ``'channels_last'`` or ``'channels_first'``; the global one by default.
        save_to_dir: folder that exists, to write the images to; None writes none.
        save_prefix, save_format: strs, for names of such files.
        subset: ``'training'`` or ``'validation'``, by the generator's ``validation_split``; the
            validation comes first.
        dtype: name of the images' type; `floatx` by default.
        ignore_class_split: bool, don't check that both parts have the same classes.

    Shapes:
        ``iterator[i]`` is ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.

    Raises:
        ValueError: arrays of different lengths, or not of 4 axes.
    """

    def __init__(
        self,
        x,
        y,
        image_data_generator,
        batch_size=32,
        shuffle=False,
        sample_weight=None,
        seed=None,
        data_format=None,
        save_to_dir=None,
        save_prefix="",
        save_format="png",
        subset=None,
        dtype=None,
        ignore_class_split=False,
    ):
        self.data_format = checked_format("NumpyArrayIterator", data_format)
        self.dtype = dtype or config.floatx()
        more = []
        if isinstance(x, (tuple, list)):
            if len(x) != 2:
                raise ValueError(
                    "NumpyArrayIterator: expected x as an array, or a pair of it and what goes "
                    f"along, got {len(x)} parts"
                )
            x, more = x
            more = [np.asarray(a) for a in (more if isinstance(more, list) else [more])]
        x = np.asarray(x, dtype=self.dtype)
        y = None if y is None else np.asarray(y)
        weight = None if sample_weight is None else np.asarray(sample_weight)
        self._check(x, y, weight, more)
        if subset is not None:
            part = self._part(x, y, image_data_generator, subset, ignore_class_split)
            x, more = x[part], [a[part] for a in more]
            y, weight = (None if a is None else a[part] for a in (y, weight))
        self.x, self.x_misc, self.y, self.sample_weight = x, more, y, weight
        self.image_data_generator = image_data_generator
        self.save_to_dir = save_to_dir
        self.save_prefix = save_prefix
        self.save_format = save_format
        super().__init__(len(x), batch_size, shuffle, seed)

    def _check(self, x, y, weight, more):
        if x.ndim != 4:
            raise ShapeError(
                "NumpyArrayIterator: Input data should have rank 4. You passed an array with "
                f"shape {x.shape}"
            )
        for name, a in (("y", y), ("sample_weight", weight), *[("x[1]", a) for a in more]):
            if a is not None and len(a) != len(x):
                raise ShapeError(
                    f"NumpyArrayIterator: `x` (images) and `{name}` should have the same length. "
                    f"Found: x.shape = {x.shape}, {name}.shape = {a.shape}"
                )
        channels = x.shape[3 if self.data_format == "channels_last" else 1]
        if channels not in (1, 3, 4):
            warnings.warn(
                f"NumpyArrayIterator: expected 1, 3 or 4 channels ({self.data_format}), got "
                f"{channels} (shape {x.shape})",
                stacklevel=4,
            )

    @staticmethod
    def _part(x, y, generator, subset, ignore_class_split):
        check_subset("NumpyArrayIterator", subset)
        at = int(len(x) * generator._validation_split)
        if y is not None and not ignore_class_split:
            if not np.array_equal(np.unique(y[:at]), np.unique(y[at:])):
                raise ValueError(
                    "NumpyArrayIterator: Training and validation subsets have different number "
                    "of classes after the split. If your numpy arrays are sorted by the label, "
                    "you might want to shuffle them."
                )
        return slice(None, at) if subset == "validation" else slice(at, None)

    def _get_batches_of_transformed_samples(self, index_array):
        batch = np.zeros((len(index_array), *self.x.shape[1:]), dtype=self.dtype)
        for i, j in enumerate(index_array):
            batch[i] = self._transformed(self.x[j].copy())
        self._keep(batch, index_array)
        x = [batch, *(a[index_array] for a in self.x_misc)] if self.x_misc else batch
        if self.y is None:
            return x
        if self.sample_weight is None:
            return x, self.y[index_array]
        return x, self.y[index_array], self.sample_weight[index_array]

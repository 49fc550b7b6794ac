"""tf.data.Dataset: a sequence of elements that can be mapped, shuffled and batched.

A dataset is a function that starts an iteration over items, and a way from an item to its
element.  Items of a dataset made of arrays are row numbers, so that shuffling, repeating and
batching it moves numbers around, and a batch is one indexing of the arrays.
"""

import itertools

import numpy as np

from gpunet.arrays import device
from gpunet.dropin.tf.arguments import tensor
from gpunet.dropin.tf.dtypes import TensorSpec
from gpunet.dropin.tf.elements import array, arrays, padded, same, stacked, typed
from gpunet.nest import flatten, map_nest, pack
from gpunet.ops import random as _random

__all__ = [
    "AUTOTUNE",
    "INFINITE_CARDINALITY",
    "UNKNOWN_CARDINALITY",
    "Dataset",
    "Options",
    "experimental",
]

AUTOTUNE = -1
INFINITE_CARDINALITY = -1
UNKNOWN_CARDINALITY = -2
_INFINITE = float("inf")


class experimental:
    """tf.data.experimental."""

    AUTOTUNE = AUTOTUNE
    INFINITE_CARDINALITY, UNKNOWN_CARDINALITY = INFINITE_CARDINALITY, UNKNOWN_CARDINALITY

    @staticmethod
    def cardinality(dataset):
        """Return the number of elements; see `Dataset.cardinality`."""
        return dataset.cardinality()


class Options:
    """Options of a pipeline: any attribute can be set, none has an effect."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = vars(self)[name] = Options()
        return made


class Dataset:
    """A sequence of elements: arrays, or tuples and dicts of them.

    Made by `from_tensor_slices` and the like.

    Args:
        start: function without arguments that returns an iterator of items.
        length: number of items; infinity; None if it isn't known.
        element: function item -> nest of arrays; items are elements by default.
        batch: function list of items -> nest of arrays with one more axis.
    """

    def __init__(self, start, length=None, element=None, batch=None):
        self._start, self._length = start, length
        self._element = element or same
        self._batch = batch or (lambda items: stacked([self._element(i) for i in items]))

    # -- sources --------------------------------------------------------------------------

    @classmethod
    def from_tensor_slices(cls, tensors, name=None):
        """Return the dataset of the rows of arrays of one length.

        Args:
            tensors: array, or a nest of arrays.

        Raises:
            ValueError: arrays of different lengths, or without axes.
        """
        nest = arrays(tensors)
        shapes = [a.shape for a in flatten(nest)]
        if not shapes or any(not s for s in shapes) or len({s[0] for s in shapes}) > 1:
            raise ValueError(
                f"Dataset.from_tensor_slices: expected arrays of one length, got shapes {shapes}"
            )
        n = shapes[0][0]

        def batch(rows):
            rows = np.asarray(rows)
            return map_nest(lambda a: a[rows], nest)

        return cls(lambda: iter(range(n)), n, lambda i: map_nest(lambda a: a[i], nest), batch)

    @classmethod
    def from_tensors(cls, tensors, name=None):
        """Return the dataset with one element."""
        nest = arrays(tensors)
        return cls(lambda: iter([nest]), 1)

    @classmethod
    def from_generator(cls, generator, output_types=None, output_shapes=None, args=None,
                       output_signature=None, name=None):  # fmt: skip
        """Return the dataset of what a generator function yields.

        Args:
            generator: function that returns an iterable.
            output_types: nest of dtypes in the structure of an element.
            output_shapes: accepted.
            args: tuple of arguments for ``generator``.
            output_signature: nest of TensorSpecs, in place of ``output_types``.
        """
        if not callable(generator):
            raise TypeError(
                "Dataset.from_generator: expected a function that returns an iterable, so that it "
                f"can be started anew, got {type(generator).__name__}"
            )
        if output_signature is not None:
            output_types = map_nest(lambda spec: spec.dtype, output_signature)

        def start():
            for value in generator(*(args or ())):
                yield arrays(value) if output_types is None else typed(value, output_types)

        return cls(start)

    @classmethod
    def range(cls, *args, **_):
        """Return the dataset of the numbers of Python's range."""
        numbers = range(*map(int, args))
        return cls(lambda: iter(numbers), len(numbers), np.int64, np.asarray)

    @staticmethod
    def zip(*datasets, name=None):
        """Return the dataset of tuples of the elements of others."""
        nest = datasets[0] if len(datasets) == 1 else datasets
        parts = flatten(nest)
        lengths = [d._length for d in parts]

        def start():
            for values in zip(*(d._elements() for d in parts), strict=False):
                yield pack(nest, list(values))

        return Dataset(start, None if None in lengths else min(lengths))

    # -- iteration ------------------------------------------------------------------------

    def _elements(self):
        return map(self._element, self._start())

    def __iter__(self):
        return (map_nest(tensor, element) for element in self._elements())

    def as_numpy_iterator(self):
        """Return an iterator of elements as NumPy arrays."""
        return (map_nest(array, element) for element in self._elements())

    def __len__(self):
        if self._length is None:
            raise TypeError("The dataset length is unknown.")
        if self._length == _INFINITE:
            raise TypeError("The dataset length is infinite.")
        return self._length

    def __bool__(self):
        return True

    def cardinality(self):
        """Return the number of elements, -1 if there is no end and -2 if it isn't known."""
        special = {None: UNKNOWN_CARDINALITY, _INFINITE: INFINITE_CARDINALITY}
        return special.get(self._length, self._length)

    @property
    def element_spec(self):
        """Nest of TensorSpecs, those of the first element."""
        first = next(self.as_numpy_iterator())
        return map_nest(lambda a: TensorSpec(a.shape, a.dtype), first)

    # -- the same elements ----------------------------------------------------------------

    def _items(self, start, length):
        """Return a dataset of items of the same kind."""
        return Dataset(start, length, self._element, self._batch)

    def shuffle(self, buffer_size, seed=None, reshuffle_each_iteration=True, name=None):
        """Return the elements in random order, each drawn from the next ``buffer_size``.

        Args:
            buffer_size: int > 0; the whole order is random if it is at least the length.
            seed: int; unset, the order depends on the seed of gpunet.
            reshuffle_each_iteration: bool, a new order each time.
        """
        if buffer_size < 1:
            raise ValueError(f"Dataset.shuffle: expected a buffer_size > 0, got {buffer_size}")
        rounds = itertools.count()

        def start():
            turn = next(rounds) if reshuffle_each_iteration in (True, None) else 0
            key = [int(seed), turn] if seed is not None else [_random.default().seed, turn]
            draws = np.random.default_rng(key)
            items = self._start()
            if self._length is not None and buffer_size >= self._length:
                items = list(items)
                return (items[i] for i in draws.permutation(len(items)))
            return _from_buffer(items, int(buffer_size), draws)

        return self._items(start, self._length)

    def repeat(self, count=None, name=None):
        """Return the elements ``count`` times over; without end for None or -1."""
        endless = count is None or count < 0

        def start():
            for _ in itertools.count() if endless else range(count):
                empty = True
                for item in self._start():
                    empty = False
                    yield item
                if empty:
                    return

        if self._length is None or not self._length:
            return self._items(start, self._length)
        return self._items(start, _INFINITE if endless else self._length * count)

    def take(self, count, name=None):
        """Return the first ``count`` elements; all for -1."""
        if count < 0:
            return self
        length = None if self._length is None else min(self._length, count)
        return self._items(lambda: itertools.islice(self._start(), count), length)

    def skip(self, count, name=None):
        """Return the elements after the first ``count``; none for -1."""
        if count < 0:
            return self.take(0)
        length = None if self._length is None else max(self._length - count, 0)
        return self._items(lambda: itertools.islice(self._start(), count, None), length)

    def shard(self, num_shards, index, name=None):
        """Return every ``num_shards``-th element, from number ``index`` on."""
        length = self._length
        if length not in (None, _INFINITE):
            length = len(range(index, length, num_shards))
        return self._items(lambda: itertools.islice(self._start(), index, None, num_shards), length)

    def concatenate(self, dataset):
        """Return the elements of this dataset, then those of another."""
        lengths = (self._length, dataset._length)
        return Dataset(
            lambda: itertools.chain(self._elements(), dataset._elements()),
            None if None in lengths else sum(lengths),
        )

    def cache(self, filename="", name=None):
        """Return the same elements, kept in memory from the end of the first iteration on."""
        kept = []

        def start():
            if kept:
                return iter(kept[0])
            return self._keep(kept)

        return Dataset(start, self._length)

    def _keep(self, kept):
        seen = []
        for element in self._elements():
            seen.append(element)
            yield element
        kept[:] = [seen]

    def prefetch(self, buffer_size=None, name=None):
        """Return the dataset itself."""
        return self

    def with_options(self, options, name=None):
        """Return the dataset itself."""
        return self

    def apply(self, transformation_func):
        """Return what a function makes of the dataset."""
        return transformation_func(self)

    # -- other elements -------------------------------------------------------------------

    def map(self, map_func, num_parallel_calls=None, deterministic=None, name=None):
        """Return what a function makes of each element, on the CPU.

        Args:
            map_func: function; the parts of a tuple come as arguments of their own.
        """
        return Dataset(lambda: (_called(map_func, e) for e in self._elements()), self._length)

    def filter(self, predicate, name=None):
        """Return the elements for which a function says true."""
        return Dataset(lambda: (e for e in self._elements() if bool(_called(predicate, e))))

    def flat_map(self, map_func, name=None):
        """Return the elements of the datasets that a function makes of elements."""
        return Dataset(
            lambda: (x for e in self._elements() for x in _made_dataset(map_func, e)._elements())
        )

    def interleave(self, map_func, cycle_length=None, block_length=1, **_):
        """Return what `flat_map` does."""
        return self.flat_map(map_func)

    def enumerate(self, start=0, name=None):
        """Return pairs of a number and an element."""
        return Dataset(
            lambda: zip(map(np.int64, itertools.count(start)), self._elements()), self._length
        )

    def batch(self, batch_size, drop_remainder=False, num_parallel_calls=None,
              deterministic=None, name=None):  # fmt: skip
        """Return batches: elements with one more axis in front.

        Args:
            batch_size: int > 0.
            drop_remainder: bool, leave out a last batch that isn't full.

        Raises:
            ValueError: a size below 1.
        """
        size = int(batch_size)
        if size < 1:
            raise ValueError(f"Dataset.batch: expected a batch_size > 0, got {batch_size}")

        def start():
            items = self._start()
            while part := list(itertools.islice(items, size)):
                if len(part) == size or not drop_remainder:
                    yield part

        length = self._length
        if length not in (None, _INFINITE):
            length = length // size if drop_remainder else -(-length // size)
        return Dataset(start, length, self._batch)

    def padded_batch(self, batch_size, padded_shapes=None, padding_values=0,
                     drop_remainder=False, name=None):  # fmt: skip
        """Return batches of arrays of different lengths, filled up to the longest of each batch."""
        fill = padding_values or 0
        filled = Dataset(self._elements, self._length, batch=lambda items: padded(items, fill))
        return filled.batch(batch_size, drop_remainder)

    def unbatch(self, name=None):
        """Return the rows of the elements."""

        def start():
            for element in self._elements():
                for i in range(len(flatten(element)[0])):
                    yield map_nest(lambda a, i=i: a[i], element)

        return Dataset(start)

    def window(self, size, shift=None, stride=1, drop_remainder=False, name=None):
        """Return datasets of neighbouring elements."""

        def start():
            elements = list(self._elements())
            for first in range(0, len(elements), shift or size):
                part = elements[first : first + size * stride : stride]
                if len(part) == size or not drop_remainder:
                    yield Dataset(lambda part=part: iter(part), len(part))

        return Dataset(start)

    def reduce(self, initial_state, reduce_func, name=None):
        """Return what a function (state, element) makes of all elements, one after another."""
        state = initial_state
        for element in self:
            state = reduce_func(state, element)
        return state

    def __repr__(self):
        length = "?" if self._length is None else self._length
        return f"<Dataset of {length} elements>"


def _called(function, element):
    """Return what a user's function makes of an element, whose tensors lie on the CPU."""
    with device("cpu"):
        tensors = map_nest(lambda a: a if isinstance(a, Dataset) else tensor(a), element)
        return function(*tensors) if isinstance(tensors, tuple) else function(tensors)


def _made_dataset(function, element):
    made = _called(function, element)
    if not isinstance(made, Dataset):
        raise TypeError(f"Dataset.flat_map: expected the function to give a Dataset, got {made!r}")
    return made


def _from_buffer(items, size, draws):
    items = iter(items)
    buffer = list(itertools.islice(items, size))
    for item in items:
        i = int(draws.integers(len(buffer)))
        yield buffer[i]
        buffer[i] = item
    for i in draws.permutation(len(buffer)):
        yield buffer[i]

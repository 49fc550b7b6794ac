"""Sequences: padding, windows over time series, pairs of words."""

import json
import random

import numpy as np

from gpunet.data.sequence import Sequence
from gpunet.training.feeder import is_whole, positive_int

__all__ = [
    "TimeseriesGenerator",
    "make_sampling_table",
    "pad_sequences",
    "skipgrams",
    "timeseries_generator_from_json",
]


def pad_sequences(
    sequences, maxlen=None, dtype="int32", padding="pre", truncating="pre", value=0.0
):
    """Return sequences as one array, padded or cut to the same length.

    Args:
        sequences: list of sequences ``(length, ...)``.
        maxlen: int, the length; by default that of the longest sequence.
        dtype: dtype of the result; ``object`` or ``str`` for texts.
        padding: ``'pre'`` or ``'post'``, where values are added.
        truncating: ``'pre'`` or ``'post'``, where they are taken away.
        value: float, str or array ``(...)``, what is added.

    Returns:
        numpy array ``(len(sequences), maxlen, ...)``.

    Raises:
        ValueError: something that isn't a list of sequences, sequences of different shapes, or
            another ``padding`` or ``truncating``.
    """
    for name, given in (("padding", padding), ("truncating", truncating)):
        if given not in ("pre", "post"):
            raise ValueError(
                f'pad_sequences: {name.title()} type "{given}" not understood; expected '
                f"{name} as 'pre' or 'post'"
            )
    lengths = _lengths(sequences)
    if maxlen is None:
        maxlen = max(lengths, default=0)
    elif not is_whole(maxlen) or maxlen < 0:
        raise ValueError(f"pad_sequences: expected maxlen as an int >= 0, got {maxlen!r}")
    maxlen = int(maxlen)
    first = next((np.asarray(s) for s in sequences if len(s)), np.zeros(0))
    padded = _filled((len(sequences), maxlen, *first.shape[1:]), value, dtype, sequences)
    for i, sequence in enumerate(sequences):
        kept = sequence if lengths[i] <= maxlen else _cut(sequence, lengths[i], maxlen, truncating)
        if not len(kept):
            continue
        kept = np.asarray(kept, dtype=padded.dtype)
        if kept.shape[1:] != first.shape[1:]:
            raise ValueError(
                f"pad_sequences: Shape of sample {kept.shape[1:]} of sequence at position {i} is "
                f"different from expected shape {first.shape[1:]}"
            )
        if padding == "post":
            padded[i, : len(kept)] = kept
        else:
            padded[i, maxlen - len(kept) :] = kept
    return padded


def _lengths(sequences):
    if not hasattr(sequences, "__len__"):
        raise ValueError(
            "pad_sequences: `sequences` must be iterable: expected a list of sequences, got "
            f"{type(sequences).__name__}"
        )
    lengths = []
    for i, sequence in enumerate(sequences):
        if not hasattr(sequence, "__len__"):
            raise ValueError(
                "pad_sequences: `sequences` must be a list of iterables, got "
                f"{sequence!r} at position {i}"
            )
        lengths.append(len(sequence))
    return lengths


def _cut(sequence, length, maxlen, truncating):
    return sequence[length - maxlen :] if truncating == "pre" else sequence[:maxlen]


def _filled(shape, value, dtype, sequences):
    dtype = np.dtype(dtype)
    if dtype.kind in "US" and not dtype.itemsize:  # of any length: as long as the longest text
        texts = [np.asarray(s, dtype).dtype for s in sequences if len(s)]
        dtype = np.result_type(np.asarray(value, dtype).dtype, *texts)
    elif isinstance(value, str) and dtype.kind not in "OUS":
        raise ValueError(
            f"pad_sequences: `dtype` {dtype} is not compatible with `value`'s type: {type(value)}"
            "\nYou should set `dtype=object` for variable length strings."
        )
    return np.full(shape, value, dtype)


class TimeseriesGenerator(Sequence):
    """Batches of windows over a time series, each with the target that follows it.

    Args:
        data: array or list ``(T, ...)``.
        targets: array or list of the same length; a window of steps up to ``t - 1`` gets
            ``targets[t]``.
        length: int, number of steps that a window spans.
        sampling_rate: int, the distance of the steps of one window.
        stride: int, the distance of windows.
        start_index: int, the first step to use.
        end_index: int, the last step to use; by default the last there is.
        shuffle: bool, draw windows at random.  The draws repeat with ``numpy.random.seed``, set
            before the generator is made; each batch depends on its number and the epoch alone.
        reverse: bool, turn time around within windows.
        batch_size: int, number of windows in a batch; the last one may have fewer.

    Shapes:
        ``generator[i]`` is ``((batch, length / sampling_rate, ...), (batch, ...))``.

    Raises:
        ValueError: data and targets of different lengths, or too short for one window.
    """

    def __init__(
        self,
        data,
        targets,
        length,
        sampling_rate=1,
        stride=1,
        start_index=0,
        end_index=None,
        shuffle=False,
        reverse=False,
        batch_size=128,
    ):
        if len(data) != len(targets):
            raise ValueError(
                "TimeseriesGenerator: Data and targets have to be of same length. "
                f"Data length is {len(data)} while target length is {len(targets)}"
            )
        self.data = data
        self.targets = targets
        self.length = _positive("length", length)
        self.sampling_rate = _positive("sampling_rate", sampling_rate)
        self.stride = _positive("stride", stride)
        self.batch_size = _positive("batch_size", batch_size)
        # As in Keras: the step of the first target, so not what was given.
        self.start_index = start_index + self.length
        self.end_index = len(data) - 1 if end_index is None else end_index
        self.shuffle = shuffle
        self.reverse = reverse
        if self.start_index > self.end_index:
            raise ValueError(
                f"TimeseriesGenerator: `start_index+length={self.start_index} > "
                f"end_index={self.end_index}` is disallowed, as no part of the sequence would be "
                "left to be used as current step."
            )
        self._seed = int(np.random.randint(2**31)) if shuffle else 0
        self._epoch = 0

    def __len__(self):
        step = self.batch_size * self.stride
        return (self.end_index - self.start_index + step) // step

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"TimeseriesGenerator: expected an index below {count}, got {index}")
        rows = self._rows(index % count)
        windows = [self.data[row - self.length : row : self.sampling_rate] for row in rows]
        samples = np.array(windows)
        targets = np.array([self.targets[row] for row in rows])
        return (samples[:, ::-1] if self.reverse else samples), targets

    def _rows(self, index):
        """Return the steps of a batch's targets."""
        if self.shuffle:
            drawn = np.random.default_rng([self._seed, self._epoch, index])
            return drawn.integers(self.start_index, self.end_index + 1, size=self.batch_size)
        start = self.start_index + self.batch_size * self.stride * index
        stop = min(start + self.batch_size * self.stride, self.end_index + 1)
        return np.arange(start, stop, self.stride)

    def on_epoch_end(self):
        """Called after each epoch: the next one draws other windows."""
        self._epoch += 1

    def get_config(self):
        """Return the constructor's arguments as a dict; data and targets as JSON texts.

        Raises:
            TypeError: data that JSON can't hold.
        """
        return {
            "data": _to_json("data", self.data),
            "targets": _to_json("targets", self.targets),
            "length": self.length,
            "sampling_rate": self.sampling_rate,
            "stride": self.stride,
            "start_index": self.start_index - self.length,
            "end_index": self.end_index,
            "shuffle": self.shuffle,
            "reverse": self.reverse,
            "batch_size": self.batch_size,
        }

    def to_json(self, **kwargs):
        """Return the configuration as JSON; keyword arguments go to ``json.dumps``."""
        config = {"class_name": type(self).__name__, "config": self.get_config()}
        return json.dumps(config, **kwargs)


def timeseries_generator_from_json(json_string):
    """Return the `TimeseriesGenerator` that `TimeseriesGenerator.to_json` wrote down."""
    config = json.loads(json_string)["config"]
    data, targets = json.loads(config.pop("data")), json.loads(config.pop("targets"))
    return TimeseriesGenerator(data, targets, **config)


def _positive(name, value):
    if value is None:
        raise ValueError(f"TimeseriesGenerator: expected {name} as a positive int, got None")
    return positive_int(value, f"TimeseriesGenerator: {name}")


def _to_json(name, values):
    try:
        return json.dumps(values.tolist() if hasattr(values, "tolist") else values)
    except TypeError as error:
        raise TypeError(f"TimeseriesGenerator: {name} not JSON Serializable: {error}") from None


def make_sampling_table(size, sampling_factor=1e-5):
    """Return for each rank of a word how likely it is kept, by Zipf's law.

    Args:
        size: int, number of words, the most frequent first.
        sampling_factor: float; the smaller, the fewer frequent words are kept.

    Returns:
        numpy array ``(size,)``.

    Reference:
        Mikolov et al., 2013, arXiv:1310.4546.
    """
    gamma = 0.577  # Euler's constant, as far as Keras has it
    rank = np.arange(positive_int(size, "make_sampling_table: size"))
    rank[0] = 1
    inverse_frequency = rank * (np.log(rank) + gamma) + 0.5 - 1.0 / (12.0 * rank)
    f = sampling_factor * inverse_frequency
    return np.minimum(1.0, f / np.sqrt(f))


def skipgrams(
    sequence,
    vocabulary_size,
    window_size=4,
    negative_samples=1.0,
    shuffle=True,
    categorical=False,
    sampling_table=None,
    seed=None,
):
    """Return pairs of words, with labels that say whether the second is near the first.

    Random numbers come from Python's ``random``, so ``random.seed`` repeats them.

    Args:
        sequence: list of words' numbers; 0 stands for no word and is skipped.
        vocabulary_size: int, the largest number + 1.
        window_size: int, the largest distance of a near word.
        negative_samples: float >= 0, number of random pairs for each near one.
        shuffle: bool, shuffle the pairs.
        categorical: bool, labels ``[0, 1]`` and ``[1, 0]`` in place of 1 and 0.
        sampling_table: array ``(vocabulary_size,)``, how likely a word is kept; see
            `make_sampling_table`.
        seed: int for the order of the pairs; drawn if None.

    Returns:
        (list of pairs ``[word, other]``, list of labels).

    Reference:
        Mikolov et al., 2013, arXiv:1301.3781.
    """
    positive_int(vocabulary_size, "skipgrams: vocabulary_size")
    near, far = ([0, 1], [1, 0]) if categorical else (1, 0)
    couples = []
    for i, word in enumerate(sequence):
        if not word:
            continue
        if sampling_table is not None and sampling_table[word] < random.random():
            continue
        for j in range(max(0, i - window_size), min(len(sequence), i + window_size + 1)):
            if j != i and sequence[j]:
                couples.append([word, sequence[j]])
    labels = [near] * len(couples)
    if negative_samples > 0:
        words = [couple[0] for couple in couples]
        random.shuffle(words)
        for i in range(int(len(labels) * negative_samples)):
            couples.append([words[i % len(words)], random.randint(1, vocabulary_size - 1)])
            labels.append(far)
    if shuffle:
        seed = random.randint(0, 10_000_000) if seed is None else seed
        for part in (couples, labels):  # in the same order, since from the same seed
            random.Random(seed).shuffle(part)
    return couples, labels

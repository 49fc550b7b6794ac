"""IMDB: reviews of films as numbers of words, liked or not."""

import json

import numpy as np

from gpunet.datasets.packed import objects, read_npz, shuffled
from gpunet.datasets.sources import fetch
from gpunet.datasets.words import legacy_words, renumbered, short_ones

__all__ = ["load_data", "get_word_index"]


def load_data(
    path="imdb.npz",
    num_words=None,
    skip_top=0,
    maxlen=None,
    seed=113,
    start_char=1,
    oov_char=2,
    index_from=3,
    cache_dir=None,
    **kwargs,
):
    """Load the reviews, fetched on first use.

    Words are numbered by how often they occur, from ``index_from`` + 1.

    Args:
        path: str, name of the file in the cache.
        num_words: int, numbers from here on are left out; None keeps all words.
        skip_top: int, numbers below are left out.
        maxlen: int, reviews of this length or more are dropped.
        seed: int, for the order.
        start_char: int in front of each review, or None.
        oov_char: int in place of words that are left out, or None to close the gaps.
        index_from: int, added to the numbers in the file.
        cache_dir: str or path-like, the cache; ``~/.keras`` by default.
        **kwargs: ``nb_words``, older spelling of ``num_words``.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: object arrays of 25,000 lists of ints, and int64
        labels, 1 for liked.

    Raises:
        ValueError: no review is as short as ``maxlen`` asks.

    Reference:
        Maas et al., Learning word vectors for sentiment analysis, 2011, aclanthology.org/P11-1015.
    """
    num_words = legacy_words("imdb", num_words, kwargs)
    x_train, y_train, x_test, y_test = read_npz(
        fetch("imdb.npz", path, cache_dir=cache_dir), "x_train", "y_train", "x_test", "y_test"
    )
    rng = np.random.RandomState(seed)
    train, test = shuffled(rng, x_train, y_train), shuffled(rng, x_test, y_test)
    train, test = (short_ones(maxlen, start_char is not None, *part) for part in (train, test))
    if not len(train[0]) or not len(test[0]):
        raise ValueError(
            f"imdb: no review is shorter than maxlen={maxlen}, the start included; raise it"
        )
    x = np.concatenate([train[0], test[0]])
    x = renumbered(x, num_words, skip_top, start_char, oov_char, index_from)
    middle = len(train[0])
    return (objects(x[:middle]), train[1]), (objects(x[middle:]), test[1])


def get_word_index(path="imdb_word_index.json"):
    """Return the number of each word, as in the file: dict str -> int from 1.

    With the default arguments of `load_data` a word's number there is 3 higher.

    Args:
        path: str, name of the file in the cache.
    """
    with open(fetch("imdb_word_index.json", path), encoding="utf8") as file:
        return json.load(file)

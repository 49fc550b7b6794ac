"""Reuters: newswires of 1987 as numbers of words, by topic."""

import json

import numpy as np

from gpunet.datasets.packed import objects, read_npz, shuffled, split_at
from gpunet.datasets.sources import fetch
from gpunet.datasets.words import legacy_words, renumbered, short_ones

__all__ = ["load_data", "get_word_index", "get_label_names"]

_TOPICS = (
    "cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade reserves "
    "ship cotton carcass crude nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold tin "
    "strategic-metal livestock retail ipi iron-steel rubber heat jobs lei bop zinc orange pet-chem "
    "dlr gas silver wpi hog lead"
)


def load_data(
    path="reuters.npz",
    num_words=None,
    skip_top=0,
    maxlen=None,
    test_split=0.2,
    seed=113,
    start_char=1,
    oov_char=2,
    index_from=3,
    cache_dir=None,
    **kwargs,
):
    """Load the newswires, fetched on first use.

    Words are numbered by how often they occur, from ``index_from`` + 1.

    Args:
        path: str, name of the file in the cache.
        num_words: int, numbers from here on are left out; None keeps all words.
        skip_top: int, numbers below are left out.
        maxlen: int, newswires of this length or more are dropped.
        test_split: float, the part that is kept for testing.
        seed: int, for the order.
        start_char: int in front of each newswire, or None.
        oov_char: int in place of words that are left out, or None to close the gaps.
        index_from: int, added to the numbers in the file.
        cache_dir: str or path-like, the cache; ``~/.keras`` by default.
        **kwargs: ``nb_words``, older spelling of ``num_words``.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: object arrays of 8,982 and 2,246 lists of ints,
        and int64 topics, 0 to 45.

    Raises:
        ValueError: no newswire is as short as ``maxlen`` asks, or a split outside of [0, 1).

    Reference:
        Lewis, Reuters-21578 text categorization collection, 1997, doi:10.24432/C52G6M.
    """
    num_words = legacy_words("reuters", num_words, kwargs)
    arrays = read_npz(fetch("reuters.npz", path, cache_dir=cache_dir), "x", "y")
    rng = np.random.RandomState(seed)
    x, y = short_ones(maxlen, start_char is not None, *shuffled(rng, *arrays))
    if not len(x):
        raise ValueError(
            f"reuters: no newswire is shorter than maxlen={maxlen}, the start included; raise it"
        )
    x = renumbered(x, num_words, skip_top, start_char, oov_char, index_from)
    return split_at(test_split, objects(x), y)


def get_word_index(path="reuters_word_index.json"):
    """Return the number of each word, as in the file: dict str -> int from 1.

    With the default arguments of `load_data` a word's number there is 3 higher.

    Args:
        path: str, name of the file in the cache.
    """
    with open(fetch("reuters_word_index.json", path), encoding="utf8") as file:
        return json.load(file)


def get_label_names():
    """Return the names of the topics 0 to 45, as a tuple."""
    return tuple(_TOPICS.split())

"""Texts as lists of the numbers of their words."""

import itertools
import warnings

import numpy as np

__all__ = ["legacy_words", "short_ones", "renumbered"]


def legacy_words(who, num_words, options):
    """Return ``num_words``, or what its older spelling ``nb_words`` says.

    Raises:
        TypeError: other options.
    """
    if "nb_words" in options:
        warnings.warn(f"{who}: nb_words is called num_words now", stacklevel=3)
        num_words = options["nb_words"]
    unknown = sorted(options.keys() - {"nb_words"})
    if unknown:
        raise TypeError(f"{who}: unknown argument(s) {unknown}")
    return num_words


def short_ones(maxlen, added, x, y):
    """Return the texts, and their labels, that are shorter than ``maxlen``.

    Args:
        maxlen: int, or None for all.
        added: int, words to be added to each text.
        x: array of lists.
        y: array.
    """
    if not maxlen:
        return x, y
    keep = np.fromiter((len(text) + added < maxlen for text in x), bool, len(x))
    return x[keep], y[keep]


def renumbered(texts, num_words, skip_top, start_char, oov_char, index_from):
    """Return texts with shifted numbers, a start, and rare and frequent words left out.

    Args:
        texts: list of lists of ints.
        num_words: int, numbers from here on are left out, or None.
        skip_top: int, numbers below are left out.
        start_char: int in front of each text, or None.
        oov_char: int in place of what is left out, or None to close the gaps.
        index_from: int, added to the numbers; without a start too.

    Returns:
        List of lists of ints.
    """
    index_from = index_from or 0
    start = [] if start_char is None else [start_char - index_from]
    # All texts as one array: Python is slow on some millions of words.
    lengths = np.fromiter((len(text) + len(start) for text in texts), "int64", len(texts))
    chain = itertools.chain.from_iterable(itertools.chain(start, text) for text in texts)
    words = np.fromiter(chain, "int64", int(lengths.sum())) + index_from
    # The highest number itself is left out where no limit is given, as in Keras.
    limit = num_words or (int(words.max()) if words.size else 0)
    keep = (words >= skip_top) & (words < limit)
    if oov_char is None:
        of_text = np.repeat(np.arange(len(lengths)), lengths)
        lengths = np.bincount(of_text[keep], minlength=len(lengths))
        words = words[keep]
    else:
        words[~keep] = oov_char
    flat, ends = words.tolist(), np.cumsum(lengths).tolist()
    return [flat[end - length : end] for end, length in zip(ends, lengths.tolist())]

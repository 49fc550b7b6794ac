"""Texts to sequences of numbers."""

import collections
import hashlib
import json
import math
import warnings

import numpy as np

__all__ = ["Tokenizer", "hashing_trick", "one_hot", "text_to_word_sequence", "tokenizer_from_json"]

_FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_MODES = ("binary", "count", "tfidf", "freq")


def text_to_word_sequence(text, filters=_FILTERS, lower=True, split=" "):
    """Return the words of a text.

    Args:
        text: str.
        filters: str or list of the characters that separate words, besides ``split``.
        lower: bool, make all letters small.
        split: str between words.

    Returns:
        list of str.

    Raises:
        TypeError: no text.
    """
    if not isinstance(text, str):
        raise TypeError(f"text_to_word_sequence: expected text as a str, got {text!r}")
    if lower:
        text = text.lower()
    text = text.translate(str.maketrans(dict.fromkeys(filters, split)))
    return [word for word in text.split(split) if word]


def one_hot(text, n, filters=_FILTERS, lower=True, split=" ", analyzer=None):
    """Return a number from 1 to ``n - 1`` for each word of a text, by Python's ``hash``.

    Python's hash of texts changes from run to run unless PYTHONHASHSEED is set; for numbers that
    don't change, see `hashing_trick`.

    Args:
        text, filters, lower, split: as in `text_to_word_sequence`.
        n: int > 1, the largest number + 1.
        analyzer: function from text to words, in place of splitting.
    """
    return hashing_trick(text, n, hash, filters, lower, split, analyzer)


def hashing_trick(
    text, n, hash_function=None, filters=_FILTERS, lower=True, split=" ", analyzer=None
):
    """Return a number from 1 to ``n - 1`` for each word of a text; different words may share one.

    Args:
        text, filters, lower, split: as in `text_to_word_sequence`.
        n: int > 1, the largest number + 1.
        hash_function: ``'md5'``, which gives the same numbers in every run, a function from str
            to int, or None for Python's ``hash``, which doesn't.
        analyzer: function from text to words, in place of splitting.

    Raises:
        ValueError: ``n`` leaves no numbers.
    """
    if not n > 1:
        raise ValueError(f"hashing_trick: expected n as an int > 1, got {n!r}")
    if hash_function is None:
        hash_function = hash
    elif hash_function == "md5":
        hash_function = _md5
    elif not callable(hash_function):
        raise ValueError(
            f"hashing_trick: expected hash_function as 'md5' or a function, got {hash_function!r}"
        )
    if analyzer is None:
        words = text_to_word_sequence(text, filters, lower, split)
    else:
        words = analyzer(text)
    return [hash_function(word) % (n - 1) + 1 for word in words]


def _md5(word):
    return int(hashlib.md5(word.encode(), usedforsecurity=False).hexdigest(), 16)


class Tokenizer:
    """Numbers words, the most frequent first, and turns texts into numbers.  0 is no word.

    Args:
        num_words: int, numbers from there on are left out (so ``num_words - 1`` words are kept);
            None keeps all.
        filters: str or list of the characters that separate words, besides ``split``.
        lower: bool, make all letters small.
        split: str between words.
        char_level: bool, every character is a word.
        oov_token: str that stands for words that aren't known; it gets the number 1.
        document_count: int, number of texts fitted before.
        analyzer: function from text to words, in place of splitting.
        **kwargs: ``nb_words``, the old name of ``num_words``.

    Attributes:
        word_counts: dict word -> how often it was seen, in the order in which they were.
        word_docs: dict word -> number of texts that have it.
        word_index: dict word -> number; index_word is the reverse.
        index_docs: dict number -> number of texts that have the word.
    """

    def __init__(
        self,
        num_words=None,
        filters=_FILTERS,
        lower=True,
        split=" ",
        char_level=False,
        oov_token=None,
        document_count=0,
        analyzer=None,
        **kwargs,
    ):
        if "nb_words" in kwargs:
            warnings.warn(
                "The `nb_words` argument in `Tokenizer` has been renamed `num_words`.",
                stacklevel=2,
            )
            num_words = kwargs.pop("nb_words")
        if kwargs:
            raise TypeError(f"Tokenizer: Unrecognized keyword arguments: {list(kwargs)}")
        self.num_words = num_words
        self.filters = filters
        self.lower = lower
        self.split = split
        self.char_level = char_level
        self.oov_token = oov_token
        self.document_count = document_count
        self.analyzer = analyzer
        self.word_counts = collections.OrderedDict()
        self.word_docs = collections.defaultdict(int)
        self.index_docs = collections.defaultdict(int)
        self.word_index = {}
        self.index_word = {}

    # -- fitting ------------------------------------------------------------------------------

    def fit_on_texts(self, texts):
        """Count the words of texts and number them.

        Args:
            texts: iterable of str, or of lists of words.
        """
        for text in texts:
            self.document_count += 1
            words = self._words(text)
            for word in words:
                self.word_counts[word] = self.word_counts.get(word, 0) + 1
            for word in dict.fromkeys(words):
                self.word_docs[word] += 1
        ordered = sorted(self.word_counts, key=self.word_counts.get, reverse=True)
        if self.oov_token is not None:
            ordered.insert(0, self.oov_token)
        self.word_index = {word: i for i, word in enumerate(ordered, 1)}
        self.index_word = {i: word for word, i in self.word_index.items()}
        for word, count in self.word_docs.items():
            self.index_docs[self.word_index[word]] = count

    def fit_on_sequences(self, sequences):
        """Count in how many sequences numbers are, for `sequences_to_matrix` without texts.

        Args:
            sequences: list of lists of numbers.
        """
        self.document_count += len(sequences)
        for sequence in sequences:
            for number in set(sequence):
                self.index_docs[number] += 1

    def _words(self, text):
        """Return the words of a text, or the words of a list as the tokenizer spells them."""
        if self.char_level or isinstance(text, list):
            if not self.lower:
                return text
            return [t.lower() for t in text] if isinstance(text, list) else text.lower()
        if self.analyzer is not None:
            return self.analyzer(text)
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    # -- texts and sequences --------------------------------------------------------------------

    def texts_to_sequences(self, texts):
        """Return a list of numbers for each text; unknown words are left out or ``oov_token``.

        Args:
            texts: iterable of str, or of lists of words.
        """
        return list(self.texts_to_sequences_generator(texts))

    def texts_to_sequences_generator(self, texts):
        """Yield what `texts_to_sequences` returns."""
        unknown = self.word_index.get(self.oov_token)
        for text in texts:
            numbers = (self._known(self.word_index.get(w), unknown) for w in self._words(text))
            yield [number for number in numbers if number is not None]

    def sequences_to_texts(self, sequences):
        """Return a text for each list of numbers, its words joined by spaces.

        Args:
            sequences: iterable of lists of numbers.
        """
        return list(self.sequences_to_texts_generator(sequences))

    def sequences_to_texts_generator(self, sequences):
        """Yield what `sequences_to_texts` returns."""
        unknown = self.word_index.get(self.oov_token)
        for sequence in sequences:
            numbers = (self._known(n if n in self.index_word else None, unknown) for n in sequence)
            yield " ".join(self.index_word[number] for number in numbers if number is not None)

    def _known(self, number, unknown):
        """Return a number that is in use, that of unknown words for any other."""
        if number is None or (self.num_words and number >= self.num_words):
            return unknown
        return number

    # -- matrices -------------------------------------------------------------------------------

    def texts_to_matrix(self, texts, mode="binary"):
        """Return a row for each text; see `sequences_to_matrix`."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(self, sequences, mode="binary"):
        """Return a row for each list of numbers, with a column for each number.

        Args:
            sequences: list of lists of numbers.
            mode: ``'binary'`` (1 for what is there), ``'count'``, ``'freq'`` (count divided by
                the length of the list), or ``'tfidf'``.

        Returns:
            float64 numpy array ``(len(sequences), num_words)``, without ``num_words`` as wide as
            all words need.

        Raises:
            ValueError: another mode, or a tokenizer that wasn't fitted.
        """
        if mode not in _MODES:
            raise ValueError(
                f"sequences_to_matrix: Unknown vectorization mode: expected mode as one of "
                f"{_MODES}, got {mode!r}"
            )
        if not self.num_words and not self.word_index:
            raise ValueError(
                "sequences_to_matrix: Specify a dimension (`num_words` argument), or fit on some "
                "text data first."
            )
        if mode == "tfidf" and not self.document_count:
            raise ValueError("sequences_to_matrix: Fit the Tokenizer on some data before tfidf.")
        width = self.num_words or len(self.word_index) + 1
        matrix = np.zeros((len(sequences), width))
        for row, sequence in zip(matrix, sequences):
            for number, count in collections.Counter(sequence).items():
                if number < width:
                    row[number] = self._weight(number, count, len(sequence), mode)
        return matrix

    def _weight(self, number, count, length, mode):
        if mode == "binary":
            return 1
        if mode == "count":
            return count
        if mode == "freq":
            return count / length
        documents = self.index_docs.get(number, 0)
        return (1 + math.log(count)) * math.log(1 + self.document_count / (1 + documents))

    # -- configuration ----------------------------------------------------------------------------

    def get_config(self):
        """Return arguments and counts as a dict; the dicts of words as JSON texts.

        An ``analyzer`` isn't part of it.
        """
        config = {name: getattr(self, name) for name in _ARGUMENTS}
        return config | {name: json.dumps(getattr(self, name)) for name in _COUNTS}

    def to_json(self, **kwargs):
        """Return the configuration as JSON; keyword arguments go to ``json.dumps``."""
        config = {"class_name": type(self).__name__, "config": self.get_config()}
        return json.dumps(config, **kwargs)


_ARGUMENTS = (
    "num_words",
    "filters",
    "lower",
    "split",
    "char_level",
    "oov_token",
    "document_count",
)
# Attribute -> what makes the key of its JSON text a key again.
_COUNTS = {
    "word_counts": str,
    "word_docs": str,
    "index_docs": int,
    "index_word": int,
    "word_index": str,
}


def tokenizer_from_json(json_string):
    """Return the `Tokenizer` that `Tokenizer.to_json` of gpunet or Keras wrote down.

    Raises:
        ValueError: a text that isn't one.
    """
    try:
        config = dict(json.loads(json_string)["config"])
        counts = {
            name: {key(k): v for k, v in json.loads(config.pop(name)).items()}
            for name, key in _COUNTS.items()
        }
        tokenizer = Tokenizer(**config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            "tokenizer_from_json: expected json_string as Tokenizer.to_json() writes it "
            f"({type(error).__name__}: {error})"
        ) from None
    for name, found in counts.items():
        mapping = getattr(tokenizer, name)
        mapping.update(found)
    return tokenizer

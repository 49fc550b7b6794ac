"""Layers that number the terms of a vocabulary, on the host."""

from collections import Counter
from pathlib import Path

import numpy as np

from gpunet.layers.categories import HostLayer, encoded, encoded_shape, host_values
from gpunet.layers.hashes import fingerprint
from gpunet.layers.preprocessing import _mode, _not_sparse
from gpunet.registry import layers as registered

__all__ = ["IntegerLookup", "StringLookup"]


class _Vocabulary(HostLayer):
    """Base of the layers that have a vocabulary or learn it."""

    def adapt(self, data, batch_size=None, steps=None):
        """Learn the vocabulary anew: the terms of the data, the most frequent first.

        Args:
            data: array or list, or iterable of batches.
            batch_size: int, how an array is cut into batches; 32 by default.
            steps: int, how many batches of an iterable are used; None for all.
        """
        if hasattr(data, "shape") or isinstance(data, (list, tuple)):
            data, size = self._values(data), batch_size or 32
            data = [data[i : i + size] for i in range(0, len(data), size)] if data.ndim else [data]
        self.reset_state()
        for i, batch in enumerate(data):
            if steps is not None and i >= steps:
                break
            self.update_state(batch[0] if isinstance(batch, tuple) else batch)
        self.finalize_state()

    def _values(self, values):
        return host_values(self._who, values)

    @classmethod
    def from_config(cls, config):
        """Make a layer from its config, which holds the terms.

        Raises:
            ValueError: it names a file; configs come in model files, and those open nothing.
        """
        if isinstance(config.get("vocabulary"), (str, bytes, Path)):
            raise ValueError(
                f"{cls.__name__} {config.get('name')!r}: its config names the file "
                f"{config['vocabulary']!r} as vocabulary, which isn't opened; make the layer in "
                "Python, or put the terms into the config"
            )
        return super().from_config(config)


class _Lookup(_Vocabulary):
    """Base of `StringLookup` and `IntegerLookup`."""

    has_shape_rule = True
    _names = ()  # of the config, in Keras's order

    def _take(self, max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights,
              invert, output_mode, sparse, pad_to_max_tokens):  # fmt: skip
        kind = type(self).__name__
        if max_tokens is not None and max_tokens <= 1:
            raise ValueError(f"{kind}: expected max_tokens > 1, got {max_tokens!r}")
        if pad_to_max_tokens and max_tokens is None:
            raise ValueError(f"{kind}: pad_to_max_tokens needs max_tokens")
        if num_oov_indices < 0:
            raise ValueError(f"{kind}: expected num_oov_indices >= 0, got {num_oov_indices!r}")
        mode = _mode(kind, _plain_mode(output_mode), ("int", "tf_idf"))
        if invert and mode != "int":
            raise ValueError(f"{kind}: invert=True needs output_mode 'int', got {output_mode!r}")
        if idf_weights is not None and mode != "tf_idf":
            raise ValueError(f"{kind}: idf_weights need output_mode 'tf_idf', got {output_mode!r}")
        if mode == "int" and not self.dtype.startswith(("int", "uint")):
            raise ValueError(f"{kind}: output_mode 'int' needs a whole dtype, got {self.dtype!r}")
        self.max_tokens, self.num_oov_indices = max_tokens, num_oov_indices
        self.mask_token, self.oov_token = mask_token, oov_token
        self.invert, self.output_mode = bool(invert), mode
        self.sparse = _not_sparse(kind, sparse)
        self.pad_to_max_tokens = bool(pad_to_max_tokens)
        self._fixed = vocabulary is not None
        self._tokens, self._numbers, self._idf = [], {}, None
        self.reset_state()
        if self._fixed:
            self.set_vocabulary(vocabulary, idf_weights)

    @property
    def _first(self):
        """Number of the first term."""
        return self._oov + self.num_oov_indices

    @property
    def _oov(self):
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def _depth(self):
        return self.max_tokens if self.pad_to_max_tokens else self.vocabulary_size()

    # -- the vocabulary -------------------------------------------------------------------

    def vocabulary_size(self):
        """Return the number of terms, those for masks and unknown ones among them."""
        return self._first + len(self._tokens)

    def get_vocabulary(self, include_special_tokens=True):
        """Return the list of terms; the place of one is its number.

        Args:
            include_special_tokens: bool, whether those for masks and unknown ones are there.
        """
        return (self._special() if include_special_tokens else []) + list(self._tokens)

    def _special(self):
        return [self.mask_token] * self._oov + [self.oov_token] * self.num_oov_indices

    def set_vocabulary(self, vocabulary, idf_weights=None):
        """Use a vocabulary in place of the present one.

        Args:
            vocabulary: list or 1D array of terms, with the terms for masks and unknown ones in
                front or without them, or the path of a file with a term in each line.
            idf_weights: list of floats, one for each term, for output_mode ``'tf_idf'``.

        Raises:
            ValueError: an empty vocabulary, one with a term twice, or one that is too large.
        """
        if (self.output_mode == "tf_idf") != (idf_weights is not None):
            raise ValueError(
                f"{self._who}: idf_weights go with output_mode 'tf_idf', which is "
                f"{self.output_mode!r}, got {idf_weights!r}"
            )
        given = self._read(vocabulary)
        if not given:
            raise ValueError(f"{self._who}: expected a vocabulary with terms, got an empty one")
        special = given[: self._first] == self._special()
        tokens = given[self._first :] if special else given
        twice = [t for t, n in Counter(tokens).items() if n > 1]
        reserved = [self.mask_token] + [self.oov_token] * self.invert
        reserved = [t for t in reserved if t is not None and t in tokens]
        if twice or reserved:
            raise ValueError(
                f"{self._who}: the vocabulary has terms twice: {twice}, "
                f"or reserved terms elsewhere than in front: {reserved}"
            )
        if self.max_tokens is not None and self._first + len(tokens) > self.max_tokens:
            raise ValueError(
                f"{self._who}: expected at most {self.max_tokens} terms, "
                f"got {self._first + len(tokens)}"
            )
        if idf_weights is not None:
            idf_weights = np.asarray(idf_weights, "float64")
            if idf_weights.shape != (len(given),):
                raise ValueError(
                    f"{self._who}: expected {len(given)} idf_weights, got {idf_weights.shape}"
                )
        self._keep(tokens, idf_weights, special)

    def _read(self, vocabulary):
        if isinstance(vocabulary, (str, Path)):
            vocabulary = Path(vocabulary).read_text(encoding="utf8").splitlines()
            vocabulary = vocabulary if isinstance(self, StringLookup) else map(int, vocabulary)
        vocabulary = list(vocabulary)
        return self._values(vocabulary).tolist() if vocabulary else []

    def _keep(self, tokens, idf, padded=False):
        self._tokens = tokens
        self._numbers = {token: i + self._first for i, token in enumerate(tokens)}
        if idf is not None:
            front = [] if padded else [np.mean(idf)] * self._first
            self._idf = np.concatenate([front, idf])

    # -- learning -------------------------------------------------------------------------

    def reset_state(self):
        """Forget the terms counted so far; the vocabulary stays."""
        self._counts, self._documents, self._num_documents = Counter(), Counter(), 0

    def update_state(self, data):
        """Count the terms of a batch; a batch of rank 1 is one document.

        Args:
            data: array or list.
        """
        values = self._values(data)
        self._count(values.reshape((1, -1) if values.ndim < 2 else (len(values), -1)).tolist())

    def _count(self, rows):
        if self._fixed:
            raise ValueError(f"{self._who}: adapt() can't change a vocabulary that is given")
        for row in rows:
            self._counts.update(row)
            self._documents.update(set(row))
        self._num_documents += len(rows)

    def finalize_state(self):
        """Make the vocabulary of the terms counted so far."""
        counts = self._counts
        if self._fixed or not counts:
            return
        for special in (self.mask_token, self.oov_token):
            counts.pop(special, None)
        tokens = sorted(counts, key=lambda token: (counts[token], token), reverse=True)
        if self.max_tokens is not None:
            tokens = tokens[: self.max_tokens - self._first]
        idf = None
        if self.output_mode == "tf_idf":
            found = np.array([self._documents[token] for token in tokens])
            idf = np.log(1 + self._num_documents / (1 + found))
        self._keep(tokens, idf)
        self.reset_state()

    # -- being called ---------------------------------------------------------------------

    def call(self, inputs):
        if self.invert:
            return self._terms(host_values(self._who, inputs))
        numbers = self._numbers_of(self._values(inputs))
        return self._tensor(numbers if self.output_mode == "int" else self._rows(numbers))

    def _terms(self, numbers):
        known = dict(enumerate(self._tokens, self._first))
        if self.mask_token is not None:
            known[0] = self.mask_token
        terms = [known.get(number, self.oov_token) for number in numbers.reshape(-1).tolist()]
        made = np.array(terms, object).reshape(numbers.shape)
        return made if isinstance(self, StringLookup) else self._tensor(made.astype("int64"))

    def _numbers_of(self, values):
        """Return the numbers of terms; -1 for masked ones that have no number."""
        flat = values.reshape(-1).tolist()
        known = {token: self._number(token) for token in set(flat)}
        return np.array([known[token] for token in flat], "int64").reshape(values.shape)

    def _number(self, token):
        if self.mask_token is not None and token == self.mask_token:
            return self._oov - 1
        number = self._numbers.get(token)
        if number is not None:
            return number
        if self.num_oov_indices == 0:
            raise ValueError(
                f"{self._who}: {token!r} isn't in the vocabulary, and num_oov_indices is 0"
            )
        if self.num_oov_indices == 1:
            return self._oov
        text = isinstance(token, str)
        hashed = fingerprint(token.encode("utf8", "surrogateescape")) if text else token
        return self._oov + hashed % self.num_oov_indices

    def _rows(self, numbers):
        if not self._tokens and not self.pad_to_max_tokens:
            raise RuntimeError(f"{self._who}: call adapt() on data first, or give a vocabulary")
        idf = None
        if self.output_mode == "tf_idf":
            idf = np.zeros(self._depth)
            if self._idf is not None:
                idf[: len(self._idf)] = self._idf
        return encoded(self._who, numbers, self.output_mode, self._depth, idf)

    def compute_output_shape(self, input_shape):
        if self.output_mode == "int":
            return input_shape
        return encoded_shape(self._who, input_shape, self.output_mode, self._depth)

    def get_config(self):
        """Return the config; what `adapt` learned is written as ``vocabulary``."""
        found = {**super().get_config(), **{name: getattr(self, name) for name in self._names}}
        found["idf_weights"] = None if self._idf is None else self._idf[self._first :].tolist()
        found["vocabulary"] = list(self._tokens) or None
        return found


_COMMON = ("invert", "max_tokens", "num_oov_indices", "oov_token", "mask_token", "output_mode",
           "sparse", "pad_to_max_tokens")  # fmt: skip


@registered.register()
class StringLookup(_Lookup):
    """Numbers strings by their places in a vocabulary, or the other way round.

    Args:
        max_tokens: int, the largest size of the vocabulary.
        num_oov_indices: int, how many numbers unknown strings share, by their hashes.
        mask_token: str that gets number 0, or is left out in other modes than ``'int'``.
        oov_token: str that `invert` gives for unknown numbers.
        vocabulary: list of str or path of a file; None learns it in `adapt`.
        idf_weights: list of floats, for output_mode ``'tf_idf'``.
        encoding: str, as in Keras.
        invert: bool, whether numbers are turned into strings; gives a NumPy array.
        output_mode: ``'int'``, ``'one_hot'``, ``'multi_hot'``, ``'count'`` or ``'tf_idf'``.
        sparse: only False is available.
        pad_to_max_tokens: bool, whether rows have the length ``max_tokens``.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same; other modes as `CategoryEncoding`
    """

    _names = (*_COMMON, "encoding")

    def __init__(self, max_tokens=None, num_oov_indices=1, mask_token=None, oov_token="[UNK]",
                 vocabulary=None, idf_weights=None, encoding="utf-8", invert=False,
                 output_mode="int", sparse=False, pad_to_max_tokens=False, **kwargs):  # fmt: skip
        kwargs.pop("vocabulary_size", None)
        kwargs.pop("vocabulary_dtype", None)
        kwargs.setdefault("dtype", "int64" if output_mode == "int" else None)
        super().__init__(**kwargs)
        self.encoding = encoding
        self._take(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights,
                   invert, output_mode, sparse, pad_to_max_tokens)  # fmt: skip

    def _values(self, values):
        values = super()._values(values)
        return values if values.dtype.kind == "O" else values.astype(str).astype(object)


@registered.register()
class IntegerLookup(_Lookup):
    """Numbers whole numbers by their places in a vocabulary, or the other way round.

    Args:
        max_tokens: int, the largest size of the vocabulary.
        num_oov_indices: int, how many numbers unknown values share, by their remainders.
        mask_token: int that gets number 0, or is left out in other modes than ``'int'``.
        oov_token: int that `invert` gives for unknown numbers.
        vocabulary: list of ints or path of a file; None learns it in `adapt`.
        vocabulary_dtype: ``'int64'`` or ``'int32'``.
        idf_weights: list of floats, for output_mode ``'tf_idf'``.
        invert: bool, whether numbers are turned into values of the vocabulary.
        output_mode: ``'int'``, ``'one_hot'``, ``'multi_hot'``, ``'count'`` or ``'tf_idf'``.
        sparse: only False is available.
        pad_to_max_tokens: bool, whether rows have the length ``max_tokens``.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same; other modes as `CategoryEncoding`
    """

    _names = (*_COMMON, "vocabulary_dtype")

    def __init__(self, max_tokens=None, num_oov_indices=1, mask_token=None, oov_token=-1,
                 vocabulary=None, vocabulary_dtype="int64", idf_weights=None, invert=False,
                 output_mode="int", sparse=False, pad_to_max_tokens=False, **kwargs):  # fmt: skip
        kwargs.pop("vocabulary_size", None)
        if vocabulary_dtype not in ("int64", "int32"):
            raise ValueError(
                "IntegerLookup: expected vocabulary_dtype 'int64' or 'int32', "
                f"got {vocabulary_dtype!r}"
            )
        kwargs.setdefault("dtype", "int64" if output_mode == "int" else None)
        super().__init__(**kwargs)
        self.vocabulary_dtype = vocabulary_dtype
        self._take(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights,
                   invert, output_mode, sparse, pad_to_max_tokens)  # fmt: skip

    def _values(self, values):
        values = super()._values(values)
        if values.dtype.kind == "O":
            raise TypeError(f"{self._who}: expected whole numbers, got strings")
        return values.astype("int64")


def _plain_mode(mode):
    return {"tf-idf": "tf_idf", "binary": "multi_hot"}.get(mode, mode)

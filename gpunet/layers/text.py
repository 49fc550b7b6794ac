"""Texts as numbers: cut into terms, which are numbered; on the host."""

import re

import numpy as np

from gpunet import config
from gpunet.layers.categories import encoded_shape, host_values
from gpunet.layers.lookup import StringLookup, _plain_mode, _Vocabulary
from gpunet.layers.preprocessing import _not_sparse
from gpunet.registry import layers as registered

__all__ = ["TextVectorization"]

_PUNCTUATION = re.compile(r'[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']')
_STANDARDIZE = (None, "lower_and_strip_punctuation", "lower", "strip_punctuation")
_MODES = ("int", "multi_hot", "count", "tf_idf")


@registered.register()
class TextVectorization(_Vocabulary):
    """Cuts texts into terms and numbers them.

    Args:
        max_tokens: int, the largest size of the vocabulary.
        standardize: ``'lower_and_strip_punctuation'``, ``'lower'``, ``'strip_punctuation'``,
            None, or a function of an array of str.
        split: ``'whitespace'``, ``'character'``, None, or a function of a list of str that
            gives a list of lists.
        ngrams: int n for all runs of up to n terms, or a tuple of their lengths.
        output_mode: ``'int'``, ``'multi_hot'``, ``'count'`` or ``'tf_idf'``.
        output_sequence_length: int, the length that rows of ``'int'`` are cut or padded to.
        pad_to_max_tokens: bool, whether other rows have the length ``max_tokens``.
        vocabulary: list of str or path of a file; None learns it in `adapt`.
        idf_weights: list of floats, for output_mode ``'tf_idf'``.
        sparse, ragged: only False is available.
        encoding: str, as in Keras.
        **kwargs: see `Layer`.

    Shapes:
        (batch,) or (batch, 1) -> (batch, terms), other modes (batch, vocabulary)
    """

    has_shape_rule = True

    def __init__(self, max_tokens=None, standardize="lower_and_strip_punctuation",
                 split="whitespace", ngrams=None, output_mode="int",
                 output_sequence_length=None, pad_to_max_tokens=False, vocabulary=None,
                 idf_weights=None, sparse=False, ragged=False, encoding="utf-8",
                 **kwargs):  # fmt: skip
        kind, mode = "TextVectorization", _plain_mode(output_mode)
        kwargs.pop("vocabulary_size", None)
        if kwargs.pop("dtype", "string") not in ("string", str, None):
            raise ValueError(f"{kind}: expected dtype 'string', which is that of its input")
        super().__init__(dtype="int64" if mode == "int" else config.floatx(), **kwargs)
        if not (callable(standardize) or standardize in _STANDARDIZE):
            raise ValueError(f"{kind}: unknown standardize {standardize!r}")
        if not (callable(split) or split in (None, "whitespace", "character")):
            raise ValueError(f"{kind}: unknown split {split!r}")
        if mode not in _MODES:
            raise ValueError(f"{kind}: expected output_mode in {_MODES}, got {output_mode!r}")
        if ragged:
            raise ValueError(f"{kind}: ragged=True, which gives ragged tensors, isn't available")
        if output_sequence_length is not None and mode != "int":
            raise ValueError(f"{kind}: output_sequence_length needs output_mode 'int'")
        self.standardize, self.split, self.ngrams = standardize, split, ngrams
        if isinstance(ngrams, list):
            self.ngrams = tuple(ngrams)
        self.output_mode, self.output_sequence_length = mode, output_sequence_length
        self.sparse, self.ragged, self.encoding = _not_sparse(kind, sparse), False, encoding
        self.max_tokens, self.pad_to_max_tokens = max_tokens, bool(pad_to_max_tokens)
        self._terms = StringLookup(
            max_tokens, mask_token="", vocabulary=vocabulary, idf_weights=idf_weights,
            output_mode=mode, pad_to_max_tokens=pad_to_max_tokens, name=f"{self.name}_lookup",
        )  # fmt: skip

    # -- the vocabulary -------------------------------------------------------------------

    def get_vocabulary(self, include_special_tokens=True):
        """Return the list of terms; see `StringLookup.get_vocabulary`."""
        return self._terms.get_vocabulary(include_special_tokens)

    def set_vocabulary(self, vocabulary, idf_weights=None):
        """Use a vocabulary in place of the present one; see `StringLookup.set_vocabulary`."""
        self._terms.set_vocabulary(vocabulary, idf_weights)

    def vocabulary_size(self):
        """Return the number of terms, those for padding and unknown ones among them."""
        return self._terms.vocabulary_size()

    def reset_state(self):
        """Forget the terms counted so far; the vocabulary stays."""
        self._terms.reset_state()

    def update_state(self, data):
        """Count the terms of a batch of texts."""
        self._terms._count(self._cut(data)[0])

    def finalize_state(self):
        """Make the vocabulary of the terms counted so far."""
        self._terms.finalize_state()

    # -- being called ---------------------------------------------------------------------

    def _cut(self, inputs):
        """Return (list of lists of terms, whether the input was a single sample)."""
        values = host_values(self._who, inputs)
        if values.dtype.kind != "O":
            raise TypeError(f"{self._who}: expected strings, got dtype {values.dtype}")
        if values.ndim > 2 or (values.ndim == 2 and self.split and values.shape[1] != 1):
            raise ValueError(
                f"{self._who}: expected texts of shape (batch,) or (batch, 1), got {values.shape}"
            )
        if callable(self.standardize):
            values = np.asarray(self.standardize(values), object)
        elif self.standardize:
            for place in np.ndindex(values.shape):
                values[place] = self._standard(values[place])
        if self.split is None:
            rows = values.tolist() if values.ndim == 2 else [values.reshape(-1).tolist()]
        else:
            rows = self._split(values.reshape(-1).tolist())
        if self.ngrams is not None:
            rows = [self._runs(row) for row in rows]
        return rows, values.ndim == 0 or (values.ndim == 1 and self.split is None)

    def _standard(self, text):
        if self.standardize.startswith("lower"):  # ASCII letters alone, as TensorFlow
            text = re.sub("[A-Z]+", lambda found: found.group().lower(), text)
        return _PUNCTUATION.sub("", text) if "strip" in self.standardize else text

    def _split(self, texts):
        if callable(self.split):
            return [list(row) for row in self.split(texts)]
        if self.split == "character":
            return [list(text) for text in texts]
        return [re.findall(r"[^ \t\n\r\f\v]+", text) for text in texts]

    def _runs(self, row):
        sizes = range(1, self.ngrams + 1) if isinstance(self.ngrams, int) else self.ngrams
        return [" ".join(row[i : i + n]) for n in sizes for i in range(len(row) - n + 1)]

    def call(self, inputs):
        rows, single = self._cut(inputs)
        longest = max(map(len, rows), default=0)
        filled = np.full((len(rows), longest), "", object)
        for i, row in enumerate(rows):
            filled[i, : len(row)] = row
        numbers = self._terms._numbers_of(filled)  # the padding is the masked term
        if self.output_mode != "int":
            made = self._terms._rows(numbers)
        elif self.output_sequence_length is None:
            made = numbers
        else:
            made = np.zeros((len(rows), self.output_sequence_length), "int64")
            kept = numbers[:, : self.output_sequence_length]
            made[:, : kept.shape[1]] = kept
        return self._tensor(made[0] if single else made)

    def compute_output_shape(self, input_shape):
        if self.output_mode == "int":
            return (input_shape[0], self.output_sequence_length)
        shape = (input_shape[0], None)
        return encoded_shape(self._who, shape, self.output_mode, self._terms._depth)

    def get_config(self):
        """Return the config; what `adapt` learned is written as ``vocabulary``."""
        names = ("max_tokens", "standardize", "split", "ngrams", "output_mode",
                 "output_sequence_length", "pad_to_max_tokens", "sparse", "ragged")  # fmt: skip
        inner = self._terms.get_config()
        return {
            **super().get_config(),
            "dtype": "string",
            **{name: getattr(self, name) for name in names},
            **{name: inner[name] for name in ("vocabulary", "idf_weights")},
            "encoding": self.encoding,
        }

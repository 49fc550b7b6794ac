"""Padding, windows and tokenizers against stored outputs of Keras."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from gpunet.preprocessing import sequence, text

_FILE = Path(__file__).resolve().parents[1] / "fixtures" / "keras" / "preprocessing.json"
_CASES = json.loads(_FILE.read_text(encoding="utf8"))["cases"]


def of_kind(kind):
    return [pytest.param(*c["args"], c["result"], id=str(c["args"])[:60])
            for c in _CASES if c["kind"] == kind]  # fmt: skip


@pytest.mark.parametrize(("given", "options", "want"), of_kind("pad_sequences"))
def test_pad_sequences(given, options, want):
    got = sequence.pad_sequences(given, **options)
    assert list(got.shape) == want["shape"] and str(got.dtype) == want["dtype"]
    assert got.tolist() == want["values"]


@pytest.mark.parametrize(("size", "options", "want"), of_kind("windows"))
def test_timeseries_generator(size, options, want):
    data = np.arange(2 * size).reshape(size, 2)
    generator = sequence.TimeseriesGenerator(data, data[:, 0] + 1000, **options)
    assert [[x.tolist(), y.tolist()] for x, y in generator] == want
    again = sequence.timeseries_generator_from_json(generator.to_json())
    assert [[x.tolist(), y.tolist()] for x, y in again] == want


@pytest.mark.parametrize("case", [c for c in _CASES if c["kind"] == "make_sampling_table"])
def test_make_sampling_table(case):
    got = sequence.make_sampling_table(*case["args"])
    np.testing.assert_allclose(got, case["result"], rtol=1e-10)


@pytest.mark.parametrize(("options", "want"), of_kind("skipgrams"))
def test_skipgrams(options, want):
    state = random.getstate()
    random.seed(7)
    got = sequence.skipgrams([1, 2, 0, 3, 4, 5, 1, 3], 6, **options)
    random.setstate(state)
    assert [list(part) for part in got] == want


@pytest.mark.parametrize(("given", "options", "want"), of_kind("words"))
def test_text_to_word_sequence(given, options, want):
    assert text.text_to_word_sequence(given, **options) == want


@pytest.mark.parametrize(("given", "n", "want"), of_kind("hashing_trick"))
def test_hashing_trick(given, n, want):
    assert text.hashing_trick(given, n, "md5") == want


@pytest.mark.parametrize(("options", "texts", "new", "want"), of_kind("tokenizer"))
def test_tokenizer(options, texts, new, want):
    tokenizer = text.Tokenizer(**options)
    tokenizer.fit_on_texts(texts)
    check(tokenizer, new, want)
    assert list(tokenizer.word_counts) == list(want["attributes"]["word_counts"])
    check(text.tokenizer_from_json(tokenizer.to_json()), new, want)
    check(text.tokenizer_from_json(want["json"]), new, want)
    config = json.loads(want["json"])
    assert list(json.loads(tokenizer.to_json())["config"]) == list(config["config"])


def check(tokenizer, new, want):
    for name, values in want["attributes"].items():
        assert {str(k): v for k, v in getattr(tokenizer, name).items()} == values, name
    assert tokenizer.document_count == want["document_count"]
    assert tokenizer.texts_to_sequences(new) == want["sequences"]
    assert tokenizer.sequences_to_texts([[0, 1, 2, 3, 7, 400], [2, 2, 1]]) == want["texts"]
    for mode, values in want["matrices"].items():
        np.testing.assert_allclose(tokenizer.texts_to_matrix(new, mode), values, rtol=1e-10)

"""What gpunet.preprocessing.text does besides Keras's numbers: errors and odd arguments."""

import json

import numpy as np
import pytest

from gpunet.preprocessing.text import (
    Tokenizer,
    hashing_trick,
    one_hot,
    text_to_word_sequence,
    tokenizer_from_json,
)


def fitted(texts, **options):
    tokenizer = Tokenizer(**options)
    tokenizer.fit_on_texts(texts)
    return tokenizer


def test_one_hot_and_hashing():
    numbers = one_hot("a b a!", 10)
    assert numbers[0] == numbers[2] and all(1 <= n < 10 for n in numbers)
    assert hashing_trick("a bb ccc", 5, len) == [2, 3, 4]
    assert hashing_trick("x-y", 9, ord, analyzer=lambda text: text.split("-")) == [
        ord("x") % 8 + 1,
        ord("y") % 8 + 1,
    ]
    assert one_hot("A b", 2, lower=False, split="b") == [1]
    with pytest.raises(ValueError, match="expected n as an int > 1, got 1"):
        one_hot("a", 1)
    with pytest.raises(ValueError, match="expected hash_function as 'md5' or a function, got 'x'"):
        hashing_trick("a", 5, "x")
    with pytest.raises(TypeError, match="expected text as a str, got 5"):
        text_to_word_sequence(5)


def test_filters_as_a_list():
    assert text_to_word_sequence("a,b;c", filters=[",", ";"]) == ["a", "b", "c"]


def test_analyzer():
    tokenizer = fitted(["a|b", "b|C"], analyzer=lambda text: text.split("|"))
    assert tokenizer.word_index == {"b": 1, "a": 2, "C": 3}
    assert tokenizer.texts_to_sequences(["C|a|x"]) == [[3, 2]]


def test_a_text_as_texts_of_one_letter():
    tokenizer = fitted("hello", char_level=True)
    assert tokenizer.word_index == {"l": 1, "h": 2, "e": 3, "o": 4}
    assert tokenizer.document_count == 5
    assert tokenizer.texts_to_sequences(["Hell"]) == [[2, 3, 1, 1]]


def test_fitting_twice_and_from_a_generator():
    tokenizer = fitted(iter(["a b", "c"]))
    assert tokenizer.word_index == {"a": 1, "b": 2, "c": 3}
    tokenizer.fit_on_texts(text for text in ["c c", "b"])
    assert tokenizer.word_index == {"c": 1, "b": 2, "a": 3}
    assert dict(tokenizer.index_docs) == {1: 2, 2: 2, 3: 1} and tokenizer.document_count == 4


def test_sequences_without_texts():
    tokenizer = Tokenizer(num_words=4)
    tokenizer.fit_on_sequences([[1, 1, 2], [2, 9]])
    assert tokenizer.document_count == 2 and dict(tokenizer.index_docs) == {1: 1, 2: 2, 9: 1}
    got = tokenizer.sequences_to_matrix([[1, 1, 2, 9], []], "freq")
    np.testing.assert_allclose(got, [[0, 0.5, 0.25, 0], [0, 0, 0, 0]])
    got = tokenizer.sequences_to_matrix(np.array([[1, 1, 2]]), "tfidf")
    np.testing.assert_allclose(got, [[0, (1 + np.log(2)) * np.log(2), np.log(1 + 2 / 3), 0]])


def test_errors_of_matrices():
    with pytest.raises(ValueError, match="Specify a dimension"):
        Tokenizer().sequences_to_matrix([[1]])
    with pytest.raises(ValueError, match="expected mode as one of .*, got 'bin'"):
        fitted(["a"]).texts_to_matrix(["a"], "bin")
    with pytest.raises(ValueError, match="Fit the Tokenizer on some data"):
        Tokenizer(num_words=3).sequences_to_matrix([[1]], "tfidf")


def test_arguments():
    assert Tokenizer(5, document_count=3).document_count == 3
    with pytest.warns(UserWarning, match="renamed `num_words`"):
        assert Tokenizer(nb_words=7).num_words == 7
    with pytest.raises(TypeError, match=r"Unrecognized keyword arguments: \['words'\]"):
        Tokenizer(words=3)


def test_json_survives_dumps_options():
    tokenizer = fitted(["ünïcode ünï", "b"], oov_token="?", lower=False)
    again = tokenizer_from_json(tokenizer.to_json(ensure_ascii=False, indent=1))
    assert again.get_config() == tokenizer.get_config()
    again.fit_on_texts(["b b"])  # the counts go on
    assert again.word_counts["b"] == 3 and again.word_docs["b"] == 2


@pytest.mark.parametrize(
    "given", ["", "[]", "{}", '{"config": {}}', '{"config": {"word_docs": 1}}']
)
def test_json_of_something_else(given):
    with pytest.raises(ValueError, match="expected json_string as Tokenizer.to_json"):
        tokenizer_from_json(given)


def test_json_with_a_part_damaged():
    config = json.loads(fitted(["a"]).to_json())
    config["config"]["index_word"] = '{"x": "a"}'
    with pytest.raises(ValueError, match="ValueError: invalid literal"):
        tokenizer_from_json(json.dumps(config))

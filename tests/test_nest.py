"""Nested lists, tuples and dicts."""

import collections

import pytest

from gpunet.nest import flatten, is_nested, map_nest, pack

Pair = collections.namedtuple("Pair", "first second")
NESTS = [
    1,
    [],
    [1, 2],
    (1, (2, [3])),
    {"b": 1, "a": [2, {"c": 3}]},
    Pair(1, [2, 3]),
    [(), {}, 1],
]


@pytest.mark.parametrize("nest", NESTS, ids=repr)
def test_round_trip(nest):
    packed = pack(nest, flatten(nest))
    assert packed == nest and type(packed) is type(nest)


@pytest.mark.parametrize("nest", NESTS, ids=repr)
def test_map(nest):
    doubled = map_nest(lambda n: 2 * n, nest)
    assert flatten(doubled) == [2 * n for n in flatten(nest)]
    assert type(doubled) is type(nest)


def test_dicts_keep_the_order_of_writing():
    assert flatten({"b": 1, "a": 2}) == [1, 2]
    assert list(pack({"b": 0, "a": 0}, [1, 2])) == ["b", "a"]


def test_structure_is_that_of_the_first_argument():
    assert pack({"x": (0, 0), "y": [0]}, iter([1, 2, 3])) == {"x": (1, 2), "y": [3]}
    assert pack(Pair(0, 0), [1, 2]).second == 2


def test_is_nested():
    assert all(is_nested(n) for n in ([], (), {}, Pair(1, 2)))
    assert not any(is_nested(n) for n in (1, "text", None, {1}))

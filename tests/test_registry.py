import threading

import pytest

from gpunet import layers, registry
from gpunet.errors import UnknownNameError
from gpunet.registry import Registry, custom_object_scope, register_keras_serializable


class Thing:
    def __init__(self, size=1, **rest):
        self.size, self.rest = size, rest

    def get_config(self):
        return {"size": self.size}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class Nested(Thing):
    @classmethod
    def from_config(cls, config, custom_objects=None):
        made = cls(**config)
        made.known = custom_objects
        return made


def plain(x):
    return x


@pytest.fixture
def things():
    made = Registry("thing", neutral=[("fast", False)])
    made.register("thing", "old_thing")(Thing)
    made.register()(plain)
    return made


@pytest.fixture
def clean():
    """Take back what a test registers globally."""
    before = dict(registry.get_custom_objects())
    yield
    registry.get_custom_objects().clear()
    registry.get_custom_objects().update(before)


def test_get(things):
    thing = Thing(3)
    assert things.get(None) is None
    assert things.get(thing) is thing
    assert things.get(plain) is things.get("plain") is plain
    for form in ("Thing", "old_thing", Thing, {"class_name": "Thing", "config": {}}):
        assert type(things.get(form)) is Thing
    with pytest.raises(TypeError, match="thing: expected a name.*got 3"):
        things.get(3)


def test_unknown_names_suggest_similar_ones(things):
    with pytest.raises(UnknownNameError, match="'old_thin'; did you mean 'old_thing'.*custom_obj"):
        things.get("old_thin")
    with pytest.raises(ValueError, match="Unknown thing 'zzz'"):
        things.get("zzz")


@pytest.mark.parametrize("config", [{}, {"class_name": 3}, {"class_name": None, "config": {}}])
def test_dicts_without_class_name(things, config):
    with pytest.raises(ValueError, match="class_name"):
        things.get(config)


def test_serialize(things):
    assert things.serialize(None) is None
    assert things.serialize("anything") == "anything"
    assert things.serialize(plain) == "plain"
    assert things.serialize(Thing(4)) == {"class_name": "Thing", "config": {"size": 4}}
    assert things.deserialize(things.serialize(Thing(4))).size == 4
    with pytest.raises(ValueError, match="name"):
        things.serialize(3)


def test_forms_of_later_kerases(things):
    entry = {"module": "keras.things", "class_name": "Thing", "config": {"size": 2},
             "registered_name": None, "build_config": {"input_shape": [1]}}  # fmt: skip
    assert things.deserialize(entry).size == 2
    assert things.deserialize({**entry, "class_name": "Package>Thing"}).size == 2
    function = {"module": "builtins", "class_name": "function", "config": "plain",
                "registered_name": "function"}  # fmt: skip
    assert things.deserialize(function) is plain
    mine = {**function, "config": "mine", "registered_name": "mine"}
    assert things.deserialize(mine, {"mine": len}) is len
    registered = {**entry, "registered_name": "Pack>Other"}
    assert type(things.deserialize(registered, {"Pack>Other": Nested})) is Nested


def test_neutral_keys_are_dropped_unless_the_class_knows_them(things):
    entry = {"class_name": "Thing", "config": {"size": 2, "fast": False}}
    assert things.deserialize(entry).rest == {}
    assert things.deserialize({**entry, "config": {"fast": True}}).rest == {"fast": True}

    class Fast(Thing):
        def __init__(self, fast=True, **rest):
            super().__init__(**rest)
            self.fast = fast

    made = things.deserialize({**entry, "class_name": "Fast"}, {"Fast": Fast})
    assert made.fast is False


def test_custom_objects_reach_from_config(things):
    objects = {"Nested": Nested}
    made = things.deserialize({"class_name": "Nested", "config": {}}, objects)
    assert made.known is objects


def test_precedence(things):
    first, second, third = (type(n, (Thing,), {}) for n in "abc")
    entry = {"class_name": "Thing", "config": {}}
    assert type(things.deserialize(entry)) is Thing
    registry.get_custom_objects()["Thing"] = third
    try:
        assert type(things.deserialize(entry)) is third
        with custom_object_scope({"Thing": second}):
            assert type(things.deserialize(entry)) is second
            assert type(things.deserialize(entry, {"Thing": first})) is first
    finally:
        registry.get_custom_objects().pop("Thing")


def test_scopes_nest_and_end(things):
    with custom_object_scope({"a": len}, {"b": max}, None):
        with custom_object_scope({"a": min}):
            assert things.find("a") is min and things.find("b") is max
        assert things.find("a") is len
        with pytest.raises(ZeroDivisionError), custom_object_scope({"c": abs}):
            _ = 1 / 0
        with pytest.raises(UnknownNameError):
            things.find("c")
    for name in "ab":
        with pytest.raises(UnknownNameError):
            things.find(name)


def test_scopes_are_those_of_one_thread(things):
    found = []

    def look():
        found.append(registry.get_registered_object("only_here"))

    with custom_object_scope({"only_here": len}):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert found == [None]


def test_register_keras_serializable(clean):
    @register_keras_serializable(package="Mine")
    class Own(layers.Layer):
        pass

    @register_keras_serializable("Mine", "other")
    def named(x):
        return x

    assert registry.get_registered_name(Own) == "Mine>Own"
    assert registry.get_registered_name(named) == "Mine>other"
    assert registry.get_registered_object("Mine>Own") is Own
    assert registry.activations.serialize(named) == "Mine>other"
    assert registry.activations.deserialize("Mine>other") is named
    entry = registry.layers.serialize(Own(name="o"))
    assert entry["class_name"] == "Mine>Own"
    assert type(registry.layers.deserialize(entry)) is Own
    with pytest.raises(ValueError, match="get_config"):
        register_keras_serializable()(type("Bare", (), {}))


@pytest.mark.parametrize(
    "name", ["os.system", "builtins>eval", "subprocess.Popen", "__import__", "gpunet.models.Model"]
)
def test_nothing_is_imported_by_name(name):
    for table in (registry.layers, registry.losses, registry.activations, registry.optimizers):
        with pytest.raises(UnknownNameError):
            table.get(name)
        with pytest.raises(UnknownNameError):
            table.deserialize({"class_name": name, "config": {}, "module": "os"})

"""Name <-> object and config <-> object: one table for each kind of thing.

Nothing is ever imported by name: a config can only reach what was registered here or handed
in as a custom object.
"""

import contextlib
import difflib
import inspect
from contextvars import ContextVar

from gpunet.errors import UnknownNameError

__all__ = [
    "Registry",
    "activations",
    "constraints",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "regularizers",
    "schedules",
    "custom_object_scope",
    "CustomObjectScope",
    "get_custom_objects",
    "register_keras_serializable",
    "get_registered_name",
    "get_registered_object",
    "takes",
]

_global_custom = {}
_scoped_custom = ContextVar("gpunet_custom_objects", default=None)
_registered_names = {}  # object -> "package>name"


def get_custom_objects():
    """Return the dict of custom objects that every lookup sees; writing to it registers."""
    return _global_custom


@contextlib.contextmanager
def custom_object_scope(*args):
    """Make custom objects known inside a ``with`` block, in this thread or task alone.

    Args:
        *args: dicts name -> class or function.
    """
    merged = dict(_scoped_custom.get() or {})
    for objects in args:
        merged.update(objects or {})
    token = _scoped_custom.set(merged)
    try:
        yield
    finally:
        _scoped_custom.reset(token)


CustomObjectScope = custom_object_scope


def register_keras_serializable(package="Custom", name=None):
    """Decorator: make a class or function known to files under ``package>name``.

    Args:
        package: str, the prefix.
        name: str; the object's own name by default.
    """

    def add(obj):
        if inspect.isclass(obj) and not hasattr(obj, "get_config"):
            raise ValueError(f"register_keras_serializable: {obj.__name__} has no get_config")
        registered = f"{package}>{name or obj.__name__}"
        _global_custom[registered] = obj
        _registered_names[obj] = registered
        return obj

    return add


def get_registered_name(obj):
    """Return the name under which an object is written to files."""
    try:
        return _registered_names.get(obj, getattr(obj, "__name__", None))
    except TypeError:  # not hashable
        return obj.__name__


def get_registered_object(name, custom_objects=None, module_objects=None):
    """Return the object registered under a name, None if there is none."""
    for table in (custom_objects, _scoped_custom.get(), _global_custom, module_objects):
        if table and name in table:
            return table[name]
    return None


def all_custom_objects(custom_objects=None):
    """Return one dict of all custom objects that a lookup sees now."""
    return {**_global_custom, **(_scoped_custom.get() or {}), **(custom_objects or {})}


class Registry:
    """The named things of one kind.

    Args:
        kind: str for error texts, such as ``'loss'``.
        neutral: list of (key, value) that other versions of Keras write into configs and that
            change nothing.
    """

    def __init__(self, kind, neutral=()):
        self.kind = kind
        self.neutral = neutral
        self.table = {}

    def register(self, *names):
        """Decorator: add a class or function under its own name and the given aliases."""

        def add(obj):
            for name in (obj.__name__, *names):
                self.table[name] = obj
            return obj

        return add

    def _look_up(self, name, custom_objects):
        found = get_registered_object(name, custom_objects, self.table)
        if found is None and ">" in name:  # "keras>Dense", "Package>MyLayer"
            found = get_registered_object(name.rpartition(">")[2], custom_objects, self.table)
        return found

    def knows(self, name, custom_objects=None):
        """Return whether `find` would find something under a name."""
        return self._look_up(name, custom_objects) is not None

    def find(self, name, custom_objects=None):
        """Return the class or function behind a name.

        Raises:
            UnknownNameError: there is none; the text lists similar names.
        """
        found = self._look_up(name, custom_objects)
        if found is None:
            close = difflib.get_close_matches(name, self.table, n=3)
            hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
            raise UnknownNameError(
                f"Unknown {self.kind} {name!r}{hint} "
                f"One of your own can be passed in custom_objects={{{name!r}: ...}}."
            )
        return found

    def get(self, identifier, custom_objects=None):
        """Turn an identifier into an object.

        Args:
            identifier: None, name, config dict, class, or an object, which is returned as is.
            custom_objects: dict name -> class or function.

        Raises:
            UnknownNameError: unknown name.
            TypeError: something that can't be an identifier.
        """
        if identifier is None:
            return None
        if isinstance(identifier, str):
            found = self.find(identifier, custom_objects)
            return found() if inspect.isclass(found) else found
        if isinstance(identifier, dict):
            return self.deserialize(identifier, custom_objects)
        if inspect.isclass(identifier):
            return identifier()
        if callable(identifier) or hasattr(identifier, "get_config"):
            return identifier
        raise TypeError(
            f"{self.kind}: expected a name, a function, an object or a config dict, "
            f"got {identifier!r}"
        )

    def serialize(self, obj):
        """Return what `get` turns back into the object: None, a name or a config dict."""
        if obj is None or isinstance(obj, (str, dict)):
            return obj
        if hasattr(obj, "get_config") and not inspect.isclass(obj):
            return {"class_name": get_registered_name(type(obj)), "config": obj.get_config()}
        name = get_registered_name(obj)
        if name is None:
            raise ValueError(f"{self.kind}: {obj!r} has neither a name nor get_config()")
        return name

    def deserialize(self, config, custom_objects=None):
        """Make an object from its config.

        Args:
            config: name or ``{"class_name": ..., "config": {...}}``; the keys that later
                versions of Keras add (``module``, ``registered_name``) are understood.
            custom_objects: dict name -> class or function.
        """
        if not isinstance(config, dict):
            return self.get(config, custom_objects)
        name = config.get("class_name")
        if not isinstance(name, str):
            raise ValueError(f"{self.kind}: expected a dict with 'class_name', got {config!r}")
        inner = config.get("config") or {}
        registered = config.get("registered_name")
        if name == "function" and isinstance(inner, str):
            name = inner
        if isinstance(registered, str) and get_registered_object(registered, custom_objects):
            name = registered
        cls = self.find(name, custom_objects)
        if not inspect.isclass(cls):
            return cls
        if isinstance(inner, dict):
            inner = {k: v for k, v in inner.items() if (k, v) not in self.neutral or takes(cls, k)}
        return from_config(cls, inner, custom_objects)


def takes(cls, name):
    """Return whether a constructor, or one that it passes arguments on to, names a parameter."""
    return any(
        name in inspect.signature(base.__init__).parameters
        for base in cls.__mro__
        if "__init__" in base.__dict__ and base is not object
    )


def from_config(cls, config, custom_objects=None):
    """Call ``cls.from_config``, handing custom objects on where it takes them."""
    config = dict(config) if isinstance(config, dict) else config
    if "custom_objects" in inspect.signature(cls.from_config).parameters:
        return cls.from_config(config, custom_objects=custom_objects)
    with custom_object_scope(custom_objects):
        return cls.from_config(config)


activations = Registry("activation")
constraints = Registry("constraint")
initializers = Registry(
    "initializer",
    [("input_axes", None), ("output_axes", None), ("dtype", "float32"), ("dtype", None)],
)
layers = Registry("layer", [("optional", False), ("quantization_config", None)])
losses = Registry("loss")
metrics = Registry("metric")
optimizers = Registry("optimizer")
regularizers = Registry("regularizer")
schedules = Registry("learning-rate schedule")

"""Lambda: any function of tensors as a layer."""

import base64
import contextlib
import dis
import inspect
import marshal
import sys
import types
from contextvars import ContextVar

import numpy as np

from gpunet import registry
from gpunet.errors import FileFormatError, UnknownNameError
from gpunet.layers.arguments import is_shape
from gpunet.layers.base import Layer, placeholders
from gpunet.nest import flatten, map_nest

__all__ = ["Lambda", "safe_mode_scope"]

_safe_mode = ContextVar("gpunet_safe_mode", default=True)


@contextlib.contextmanager
def safe_mode_scope(enabled):
    """Say whether configs read inside a ``with`` block may hold bytecode (False: they may)."""
    token = _safe_mode.set(bool(enabled))
    try:
        yield
    finally:
        _safe_mode.reset(token)


@registry.layers.register()
class Lambda(Layer):
    """Applies a function of tensors.

    Args:
        function: function of the input, and of ``mask`` and ``training`` if it has such
            parameters.
        output_shape: shape without the batch axis, or function of the input's shape; only
            needed where the function can't be traced on symbolic tensors.
        mask: None, a mask, or function ``(inputs, mask)`` that returns the output's mask.
        arguments: dict of further keyword arguments of the function.
        **kwargs: see `Layer`.
    """

    built = True

    def __init__(self, function, output_shape=None, mask=None, arguments=None, **kwargs):
        super().__init__(**kwargs)
        if not callable(function):
            raise TypeError(f"Lambda: expected a function, got {type(function).__name__}")
        self.function = function
        self._output_shape = output_shape
        self.mask = mask
        self.supports_masking = mask is not None
        self.arguments = dict(arguments or {})
        parameters = _parameters(function)
        self._takes_mask = "mask" in parameters
        self._takes_training = "training" in parameters

    def call(self, inputs, mask=None, training=None):
        options = dict(self.arguments)
        if self._takes_mask:
            options["mask"] = mask
        if self._takes_training:
            options["training"] = training
        return self.function(inputs, **options)

    def _trace(self, args, kwargs):
        try:
            return super()._trace(args, kwargs)
        except TypeError:  # the function looks at values
            if self._output_shape is None:
                raise
            shape = self.compute_output_shape(map_nest(lambda t: t.shape, args[0]))
            return placeholders(shape, flatten(args[0])[0].dtype)

    def compute_output_shape(self, input_shape):
        if self._output_shape is None:
            return super().compute_output_shape(input_shape)
        if callable(self._output_shape):
            return self._output_shape(input_shape)
        first = input_shape if is_shape(input_shape) else input_shape[0]
        return (first[0], *self._output_shape)

    def compute_mask(self, inputs, mask=None):
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    @property
    def _own_mask_rule(self):
        return self.mask is not None

    def get_config(self):
        """Return the config, functions by name; those made by ``lambda`` as Keras writes them."""
        found = self._base_config()
        for key, value in (
            ("function", self.function),
            ("output_shape", self._output_shape),
            ("mask", self.mask),
        ):
            prefix = "" if key == "function" else f"{key}_"
            if callable(value):
                found[key], kind = write_function(value, self.name)
                found[f"{prefix or 'function_'}type"] = kind
                found[f"{prefix}module"] = getattr(value, "__module__", None)
            elif key == "output_shape":
                found.update(output_shape=value, output_shape_type="raw", output_shape_module=None)
        found["arguments"] = {
            k: {"type": "ndarray", "value": v.tolist()} if isinstance(v, np.ndarray) else v
            for k, v in self.arguments.items()
        }
        return found

    def _clone(self):
        if type(self).__init__ is not Lambda.__init__:
            return super()._clone()
        functions = (self.function, self._output_shape, self.mask, self.arguments)
        return type(self)(*functions, **self._base_config())

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a layer from its config.

        A function is looked up by name; for an anonymous one, ``custom_objects`` may hold a
        function under the layer's name, else its bytecode is needed, which safe mode refuses.
        """
        config = dict(config)
        layer = config.get("name")
        for key, prefix in (("function", ""), ("output_shape", "output_shape_"), ("mask", "mask_")):
            kind = config.pop(f"{prefix or 'function_'}type", None)
            module = config.pop(f"{prefix}module", None)
            if key == "function" or kind in ("function", "lambda") or _is_code(config.get(key)):
                config[key] = read_function(config[key], kind, module, layer, custom_objects)
        if isinstance(config.get("output_shape"), list):
            config["output_shape"] = tuple(config["output_shape"])
        config["arguments"] = {
            k: np.array(v["value"]) if isinstance(v, dict) and v.get("type") == "ndarray" else v
            for k, v in (config.get("arguments") or {}).items()
        }
        return cls(**config)


def _is_code(value):
    """Return whether a value is a function in the form in which Keras 3 writes it."""
    return isinstance(value, dict) and value.get("class_name") in ("__lambda__", "function")


def _parameters(function):
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions tell nothing
        return {}


def write_function(function, layer):
    if isinstance(function, types.FunctionType) and function.__name__ == "<lambda>":
        code = base64.encodebytes(marshal.dumps(function.__code__)).decode("ascii")
        closure = [cell.cell_contents for cell in function.__closure__ or ()] or None
        return [code, function.__defaults__, closure], "lambda"
    name = registry.get_registered_name(function)
    if name is None:
        raise ValueError(
            f"Lambda {layer!r}: {function!r} has no name under which it could be saved; "
            "use a function made by def"
        )
    return name, "function"


def read_function(value, kind, module, layer, custom_objects):
    """Return the function that a config means."""
    by_layer = registry.get_registered_object(layer or "", custom_objects)
    if isinstance(value, dict) and value.get("class_name") == "__lambda__":
        inner = value.get("config") or {}
        value, kind = [inner.get("code"), inner.get("defaults"), inner.get("closure")], "lambda"
    elif isinstance(value, dict):
        value = value.get("config")
    if kind == "lambda" or isinstance(value, (list, tuple)):
        if callable(by_layer):
            return by_layer
        if _safe_mode.get():
            raise ValueError(
                f"Lambda {layer!r}: its function is stored as Python bytecode, which could do "
                f"anything. Pass the function itself, custom_objects={{{layer!r}: function}}, or, "
                "if you trust the file, safe_mode=False."
            )
        return _from_bytecode(value, module, layer, custom_objects)
    if not isinstance(value, str):
        raise FileFormatError(f"Lambda {layer!r}: expected a function, its config holds {value!r}")
    function = registry.get_registered_object(value, custom_objects) or by_layer
    if not callable(function):
        raise UnknownNameError(
            f"Lambda {layer!r}: unknown function {value!r}; "
            f"pass it in custom_objects={{{value!r}: ...}}"
        )
    return function


# -- bytecode, which only safe_mode=False lets in ---------------------------------------------


def _from_bytecode(value, module, layer, custom_objects):
    from gpunet import backend

    text, defaults, closure = (*value, None, None)[:3]
    if isinstance(defaults, dict):  # Keras 3 writes tuples so
        defaults = defaults.get("items")
    code, reason = None, "it is no code"
    try:
        code = marshal.loads(base64.b64decode(text.encode("ascii")))
    except Exception as error:  # marshal raises whatever the bytes lead it to
        reason = str(error)
    if not isinstance(code, types.CodeType) or not _runs_here(code):
        raise FileFormatError(
            f"Lambda {layer!r}: the bytecode of its function is damaged or of another version of "
            f"Python than {sys.version_info.major}.{sys.version_info.minor} ({reason}); pass the "
            f"function in custom_objects={{{layer!r}: function}}"
        )
    cells = tuple(types.CellType(c) for c in closure) if closure else None
    if len(cells or ()) != len(code.co_freevars):
        raise FileFormatError(f"Lambda {layer!r}: its function lacks variables from around it")
    names = {"K": backend, "backend": backend, "np": np}
    known = sys.modules.get(module) if isinstance(module, str) else None
    names.update(vars(known) if known is not None else {})
    names.update(registry.all_custom_objects(custom_objects))
    return types.FunctionType(code, names, "<lambda>", tuple(defaults or ()) or None, cells)


def _runs_here(code):
    """Return whether bytecode could be this Python's: others crash the interpreter."""
    try:
        names = [i.opname for i in dis.get_instructions(code)]
    except Exception:  # operands that point nowhere
        return False
    starts = sys.version_info < (3, 11) or "RESUME" in names
    nested = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return starts and not any(n.startswith("<") for n in names) and all(map(_runs_here, nested))

"""Lambda: any function of tensors as a layer."""

import base64
import contextlib
import inspect
import marshal
import types
from contextvars import ContextVar

from gpunet import registry
from gpunet.errors import FileFormatError
from gpunet.layers.base import Layer

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

    def _infer(self, args, kwargs):
        try:
            return super()._infer(args, kwargs)
        except TypeError:
            if self._output_shape is None:
                raise
            from gpunet.graph import SymbolicTensor
            from gpunet.nest import map_nest

            first = args[0][0] if isinstance(args[0], (list, tuple)) else args[0]
            shape = self.compute_output_shape(map_nest(lambda t: t.shape, args[0]))
            return SymbolicTensor(shape, first.dtype)

    def compute_output_shape(self, input_shape):
        if self._output_shape is None:
            return super().compute_output_shape(input_shape)
        if callable(self._output_shape):
            return self._output_shape(input_shape)
        first = input_shape[0] if isinstance(input_shape, list) else input_shape
        return (first[0], *self._output_shape)

    def compute_mask(self, inputs, mask=None):
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    @property
    def _own_mask_rule(self):
        return self.mask is not None

    @property
    def makes_masks(self):
        """bool, whether a mask was given."""
        return self.mask is not None

    def get_config(self):
        function, kind = _write(self.function, self.name)
        shape = self._output_shape
        shape_kind = "raw"
        if callable(shape):
            shape, shape_kind = _write(shape, self.name)
        return {
            **self._base_config(),
            "function": function,
            "function_type": kind,
            "module": getattr(self.function, "__module__", None),
            "output_shape": shape,
            "output_shape_type": shape_kind,
            "output_shape_module": getattr(self._output_shape, "__module__", None),
            "arguments": self.arguments,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a layer from its config.

        A function is looked up by name; for an anonymous one, ``custom_objects`` may hold a
        function under the layer's name, else its bytecode is needed, which safe mode refuses.
        """
        config = dict(config)
        name = config.get("name")
        for key in ("module", "output_shape_module", "mask_module", "mask_type"):
            config.pop(key, None)
        kind = config.pop("function_type", None)
        config["function"] = _read(config["function"], kind, name, custom_objects)
        kind = config.pop("output_shape_type", "raw")
        if kind != "raw":
            config["output_shape"] = _read(config["output_shape"], kind, name, custom_objects)
        elif isinstance(config.get("output_shape"), list):
            config["output_shape"] = tuple(config["output_shape"])
        return cls(**config)


def _parameters(function):
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions tell nothing
        return {}


def _write(function, layer):
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


def _read(value, kind, layer, custom_objects):
    found = registry.get_registered_object(layer or "", custom_objects)
    if isinstance(value, dict) and value.get("class_name") == "__lambda__":  # Keras 3, tf_keras
        inner = value.get("config", {})
        value, kind = [inner.get("code"), inner.get("defaults"), inner.get("closure")], "lambda"
    if kind == "lambda" or isinstance(value, (list, tuple)):
        if found is not None:
            return found
        if _safe_mode.get():
            raise ValueError(
                f"Lambda {layer!r}: its function is stored as Python bytecode, which could do "
                f"anything. Pass the function itself, custom_objects={{{layer!r}: function}}, or, "
                "if you trust the file, safe_mode=False."
            )
        return _from_bytecode(value, layer)
    name = value["config"] if isinstance(value, dict) else value
    function = registry.get_registered_object(name, custom_objects)
    if function is None:
        function = found
    if function is None:
        raise registry.UnknownNameError(
            f"Lambda {layer!r}: unknown function {name!r}; "
            f"pass it in custom_objects={{{name!r}: ...}}"
        )
    return function


def _from_bytecode(value, layer):
    from gpunet import backend, ops

    code, defaults, closure = (*value, None, None)[:3]
    try:
        code = marshal.loads(base64.b64decode(code.encode("ascii")))
    except (ValueError, EOFError, TypeError) as error:
        raise FileFormatError(
            f"Lambda {layer!r}: the bytecode of its function was written by another version of "
            f"Python ({error}); pass the function in custom_objects={{{layer!r}: function}}"
        ) from None
    cells = tuple(types.CellType(c) for c in closure) if closure else None
    defaults = tuple(defaults) if defaults else None
    return types.FunctionType(code, {"K": backend, "ops": ops}, "<lambda>", defaults, cells)

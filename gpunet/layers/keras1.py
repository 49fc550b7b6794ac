"""Keras 1: its names of classes and arguments, table by table, in files and in programs.

The names that it changed exist in no later version under the same class, so that no version needs
to be known.
"""

import functools

from gpunet.errors import FileFormatError, warn

__all__ = ["accept", "rename"]

_CLASSES = {
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "TimeDistributedDense": "Dense",
}
_COMMON = {"input_dtype": "dtype"}
_AFFINE = {
    "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint",
    "bias": "use_bias",
}
_WINDOW = {"border_mode": "padding", "dim_ordering": "data_format"}
_CONV = {
    **_AFFINE,
    **_WINDOW,
    "nb_filter": "filters",
    "subsample": "strides",
    "subsample_length": "strides",
    "filter_length": "kernel_size",
    "atrous_rate": "dilation_rate",
    "depthwise_init": "depthwise_initializer",
    "pointwise_init": "pointwise_initializer",
}
_RECURRENT = {
    **_AFFINE,
    "output_dim": "units",
    "inner_init": "recurrent_initializer",
    "inner_activation": "recurrent_activation",
    "U_regularizer": "recurrent_regularizer",
    "U_constraint": "recurrent_constraint",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "forget_bias_init": "unit_forget_bias",
}
_POOL = {**_WINDOW, "pool_length": "pool_size", "stride": "strides"}
_RATE = {"p": "rate"}

# Class -> its old arguments under their new names.
_ARGUMENTS = {
    "Dense": {**_AFFINE, "output_dim": "units"},
    "Embedding": {
        "init": "embeddings_initializer",
        "W_regularizer": "embeddings_regularizer",
        "W_constraint": "embeddings_constraint",
    },
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "SeparableConv2D"), _CONV),
    **dict.fromkeys(("LocallyConnected1D", "LocallyConnected2D"), _CONV),
    **dict.fromkeys(("SimpleRNN", "GRU", "LSTM"), _RECURRENT),
    "ConvLSTM2D": {**_CONV, **_RECURRENT, "output_dim": "filters"},
    **dict.fromkeys(
        [f"{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3)], _POOL
    ),
    **dict.fromkeys([f"Global{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (2, 3)],
                    _WINDOW),
    **dict.fromkeys([f"{kind}{n}D" for kind in ("ZeroPadding", "Cropping") for n in (2, 3)],
                    _WINDOW),
    **dict.fromkeys(("UpSampling2D", "UpSampling3D"), _WINDOW),
    "UpSampling1D": {"length": "size"},
    **dict.fromkeys(("Dropout", "GaussianDropout"), _RATE),
    **{f"SpatialDropout{n}D": {**_RATE, "dim_ordering": "data_format"} for n in (1, 2, 3)},
    "GaussianNoise": {"sigma": "stddev"},
    "BatchNormalization": {
        "beta_init": "beta_initializer",
        "gamma_init": "gamma_initializer",
        "gamma_regularizer": "gamma_regularizer",
        "beta_regularizer": "beta_regularizer",
    },
    "PReLU": {"init": "alpha_initializer"},
}  # fmt: skip

# Lengths of windows that had an argument for each axis.
_SIZES = (
    ("nb_row", "nb_col"),
    ("kernel_dim1", "kernel_dim2", "kernel_dim3"),
)
# Class -> arguments that said nothing of the result, or only this value is what there is today.
_ANY = object()
_DROPPED = {
    "Dense": {"input_dim": _ANY, "input_length": _ANY},
    "Conv1D": {"input_dim": _ANY, "input_length": _ANY},
    "LocallyConnected1D": {"input_dim": _ANY, "input_length": _ANY},
    "Conv2DTranspose": {"output_shape": _ANY},
    "Embedding": {"dropout": 0.0},
    "BatchNormalization": {"mode": 0},
    **dict.fromkeys(
        ("SimpleRNN", "GRU", "LSTM", "ConvLSTM2D"),
        {"consume_less": _ANY, "input_dim": _ANY, "input_length": _ANY},
    ),
}
_ALONE = {"mode", "consume_less"}  # of these, the names that show that Keras 1 wrote the rest
_VALUES = {"dim_ordering": {"tf": "channels_last", "th": "channels_first", "default": None}}
_CONSTRAINTS = {"m": "max_value"}


def rename(name, config):
    """Return (class name, config) of a layer as Keras 2 writes them.

    Args:
        name: str, the class.
        config: dict; anything that Keras 1 didn't write stays as it is.

    Raises:
        FileFormatError: what no later Keras can do.
    """
    name = _CLASSES.get(name, name)
    arguments = _ARGUMENTS.get(name, {})
    if not (config.keys() & (arguments.keys() | _DROPPED.get(name, {}).keys() | _COMMON.keys())):
        return name, config
    old = config.keys() & (arguments.keys() | {"nb_row", "kernel_dim1"} | _ALONE)
    config = _with_sizes(config)
    found = {}
    for key, value in config.items():
        kept = _DROPPED.get(name, {}).get(key) if old else None
        if kept is _ANY:
            continue
        if kept is not None:
            if value != kept:
                raise FileFormatError(
                    f"{name} {config.get('name')!r}: {key}={value!r} of Keras 1 has no "
                    "counterpart in later versions"
                )
            continue
        value = _VALUES.get(key, {}).get(value, value) if isinstance(value, str) else value
        new = arguments.get(key, _COMMON.get(key, key))
        if new in found and found[new] is not None:
            continue
        found[new] = _value(new, value)
    return name, found


def _with_sizes(config):
    for parts in _SIZES:
        if all(key in config for key in parts):
            sizes = [config[key] for key in parts]
            config = {k: v for k, v in config.items() if k not in parts}
            return {**config, "kernel_size": sizes}
    return config


def _value(key, value):
    """Return an argument's value of today: objects had a ``name`` among their options."""
    if key == "unit_forget_bias" and isinstance(value, str):
        return value in ("one", "ones")
    if not (isinstance(value, dict) and "name" in value and "class_name" not in value):
        return value
    options = {k: v for k, v in value.items() if k != "name"}
    if key.endswith("regularizer") and "l2" in options:
        return {"class_name": "L1L2", "config": options}
    if key.endswith("constraint"):
        options = {_CONSTRAINTS.get(k, k): v for k, v in options.items()}
        return {"class_name": value["name"], "config": options}
    return value


# -- in programs ----------------------------------------------------------------------------

# Classes whose kernel had an argument for each axis -> the number of axes.
_AXES = {
    **dict.fromkeys(("Conv2D", "Conv2DTranspose", "SeparableConv2D", "LocallyConnected2D"), 2),
    "Conv3D": 3,
}
_INPUT = ("input_dim", "input_length")  # which files repeat in ``batch_input_shape``


def accept(classes):
    """Have layers take their arguments of Keras 1 too, as Keras 2 does, with a warning.

    Args:
        classes: iterable of classes; those without old arguments stay as they are.
    """
    for cls in classes:
        old = {k for k, new in _ARGUMENTS.get(cls.__name__, {}).items() if k != new}
        old |= _DROPPED.get(cls.__name__, {}).keys() & _ALONE
        if old:
            cls.__init__ = _accepting(cls.__name__, cls.__init__, frozenset(old))


def _accepting(name, constructor, old):
    @functools.wraps(constructor)
    def __init__(self, *args, **kwargs):
        if not old.isdisjoint(kwargs):
            given = self._constructor[1].keys() >= kwargs.keys()
            args, kwargs = _of_today(name, args, kwargs)
            if given:  # not what a subclass hands on
                kept = {k: v for k, v in kwargs.items() if k != "weights"}
                self.__dict__["_constructor"] = (args, kept)
        constructor(self, *args, **kwargs)

    return __init__


def _of_today(name, args, kwargs):
    """Return positional and keyword arguments as Keras 2 has them; warn."""
    axes = _AXES.get(name)
    if axes and len(args) == 1 + axes:  # Conv2D(32, 3, 3, border_mode="same")
        args, kwargs = args[:1], {"kernel_size": args[1:], **kwargs}
    kept = {key: kwargs.pop(key) for key in _INPUT if key in kwargs}
    found = {**rename(name, kwargs)[1], **kept}
    written = [*map(repr, args), *(f"{key}={value!r}" for key, value in found.items())]
    warn(f"Update your `{name}` call to the Keras 2 API: `{name}({', '.join(written)})`")
    return args, found

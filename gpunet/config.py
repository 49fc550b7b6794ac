"""Settings shared by the whole package: default float type, fuzz factor, image layout."""

import math
import os

from gpunet.recording import edited

__all__ = [
    "floatx",
    "set_floatx",
    "epsilon",
    "set_epsilon",
    "image_data_format",
    "image_dim_ordering",
    "set_image_data_format",
    "set_image_dim_ordering",
    "fused_enabled",
    "set_fused",
    "precision",
    "set_precision",
    "cudnn",
    "set_cudnn",
]

_FLOATS = ("float16", "float32", "float64")
_FORMATS = ("channels_last", "channels_first")
_CUDNN = ("auto", "always", "never")

_floatx = "float32"
_epsilon = 1e-7
_image_data_format = "channels_last"
_precision = "tf32"
_fused = os.environ.get("GPUNET_FUSED", "1") != "0"
_cudnn = None  # unless it was set: what the environment says


def floatx():
    """Return the name of the default float type, ``'float32'`` unless it was set."""
    return _floatx


def set_floatx(floatx):
    """Set the default float type; layers read it when they are constructed.

    Args:
        floatx: ``'float16'``, ``'float32'`` or ``'float64'``.

    Raises:
        ValueError: any other value.
    """
    global _floatx
    name = str(floatx)
    if name not in _FLOATS:
        raise ValueError(f"set_floatx: expected one of {', '.join(_FLOATS)}, got {floatx!r}")
    _floatx = name
    edited()


def epsilon():
    """Return the fuzz factor that keeps divisions and logarithms finite, 1e-7 unless set."""
    return _epsilon


def set_epsilon(e):
    """Set the fuzz factor.

    Args:
        e: float > 0.

    Raises:
        ValueError: any other value.
    """
    global _epsilon
    try:
        value = float(e)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"set_epsilon: expected a float > 0, got {e!r}")
    _epsilon = value
    edited()


def image_data_format():
    """Return ``'channels_last'`` (the default) or ``'channels_first'``."""
    return _image_data_format


def set_image_data_format(data_format):
    """Set the layout that image layers assume when none is given.

    Args:
        data_format: ``'channels_last'`` or ``'channels_first'``.

    Raises:
        ValueError: any other value.
    """
    global _image_data_format
    if data_format not in _FORMATS:
        raise ValueError(
            f"set_image_data_format: expected one of {', '.join(_FORMATS)}, got {data_format!r}"
        )
    _image_data_format = str(data_format)


_ORDERINGS = {"tf": "channels_last", "th": "channels_first"}


def image_dim_ordering():
    """Return `image_data_format` as Keras 1 called it: ``'tf'`` or ``'th'``."""
    return next(old for old, name in _ORDERINGS.items() if name == _image_data_format)


def set_image_dim_ordering(dim_ordering):
    """Set the layout that image layers assume, by its name in Keras 1.

    Args:
        dim_ordering: ``'tf'`` for channels last, or ``'th'``.

    Raises:
        ValueError: any other value.
    """
    if dim_ordering not in _ORDERINGS:
        raise ValueError(f"set_image_dim_ordering: expected 'tf' or 'th', got {dim_ordering!r}")
    set_image_data_format(_ORDERINGS[dim_ordering])


def fused_enabled():
    """Return whether ops may use their fused implementations."""
    return _fused


def set_fused(enabled):
    """Switch the fused implementations of all ops on or off.

    Args:
        enabled: bool; False runs the plain array functions, for comparing and debugging.
    """
    global _fused
    _fused = bool(enabled)
    edited()


def precision():
    """Return how float32 is multiplied on a GPU: ``'tf32'`` (the default) or ``'strict'``."""
    return _precision


def set_precision(precision):
    """Set how float32 is multiplied on a GPU.

    Args:
        precision: ``'tf32'``, products on tensor cores with 10 bits of mantissa, added up in
            float32; or ``'strict'``, float32 throughout.

    Raises:
        ValueError: any other value.
    """
    global _precision
    if precision not in ("tf32", "strict"):
        raise ValueError(f"set_precision: expected 'tf32' or 'strict', got {precision!r}")
    _precision = precision
    edited()


def cudnn():
    """Return where convolutions on a GPU go to cuDNN; see `set_cudnn`.

    Raises:
        ValueError: the environment variable ``GPUNET_CUDNN`` has another value.
    """
    if _cudnn is not None:
        return _cudnn
    wanted = os.environ.get("GPUNET_CUDNN", "auto")
    if wanted not in _CUDNN:
        raise ValueError(
            f"environment variable GPUNET_CUDNN={wanted!r}: expected one of {', '.join(_CUDNN)}"
        )
    return wanted


def set_cudnn(where):
    """Set where convolutions on a GPU go to cuDNN, which ``pip install gpunet[cudnn]`` installs.

    Args:
        where: ``'auto'`` (the default), where it is installed and was found to be faster: with
            the environment variable ``GPUNET_AUTOTUNE=1`` both are timed once for each shape;
            ``'always'``, where cuDNN can do the convolution; or ``'never'``. The environment
            variable ``GPUNET_CUDNN`` says the same.

    Raises:
        ValueError: any other value.
    """
    global _cudnn
    if where not in _CUDNN:
        raise ValueError(f"set_cudnn: expected one of {', '.join(_CUDNN)}, got {where!r}")
    _cudnn = where
    edited()

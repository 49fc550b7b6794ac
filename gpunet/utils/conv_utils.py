"""Checks of convolution arguments and lengths of their outputs, as layers of users import them."""

import numpy as np

from gpunet import config

__all__ = [
    "normalize_tuple",
    "normalize_padding",
    "normalize_data_format",
    "conv_output_length",
    "conv_input_length",
    "deconv_length",
]


def normalize_tuple(value, n, name):
    """Return ``n`` ints: those given, or one of them ``n`` times.

    Args:
        value: int, or sequence of ``n`` ints.
        n: int.
        name: str, the argument's name for error texts.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, (int, np.integer)):
        return (int(value),) * n
    try:
        values = tuple(value)
        fits = len(values) == n and all(int(v) == v for v in values)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"{name}: expected an int or {n} ints, got {value!r}")
    return tuple(map(int, values))


def normalize_padding(value):
    """Return a padding in lower case.

    Raises:
        ValueError: none of ``'valid'``, ``'same'``, ``'causal'`` and ``'full'``.
    """
    padding = str(value).lower()
    if padding not in ("valid", "same", "causal", "full"):
        raise ValueError(f"padding: expected 'valid', 'same', 'causal' or 'full', got {value!r}")
    return padding


def normalize_data_format(value):
    """Return a data format in lower case, the configured one for None.

    Raises:
        ValueError: neither ``'channels_first'`` nor ``'channels_last'``.
    """
    data_format = config.image_data_format() if value is None else str(value).lower()
    if data_format not in ("channels_first", "channels_last"):
        raise ValueError(
            f"data_format: expected 'channels_first' or 'channels_last', got {value!r}"
        )
    return data_format


def conv_output_length(input_length, filter_size, padding, stride, dilation=1):
    """Return how long the output of a convolution is, None for an unknown input.

    Args:
        input_length: int or None.
        filter_size: int.
        padding: ``'valid'``, ``'same'``, ``'causal'`` or ``'full'``.
        stride: int.
        dilation: int.
    """
    padding = normalize_padding(padding)
    if input_length is None:
        return None
    reach = (filter_size - 1) * dilation  # by how much a window is longer than 1
    length = input_length + {"valid": -reach, "full": reach}.get(padding, 0)
    return -(-length // stride)


def conv_input_length(output_length, filter_size, padding, stride):
    """Return the shortest input of a convolution whose output is so long; None for None."""
    padding = normalize_padding(padding)
    if output_length is None:
        return None
    border = {"valid": 0, "same": filter_size // 2, "full": filter_size - 1}[padding]
    return (output_length - 1) * stride - 2 * border + filter_size


def deconv_length(dim_size, stride_size, kernel_size, padding, output_padding, dilation=1):
    """Return how long the output of a transposed convolution is, None for an unknown input.

    Args:
        dim_size: int or None.
        stride_size: int.
        kernel_size: int.
        padding: ``'valid'``, ``'same'`` or ``'full'``.
        output_padding: int, or None for what fits the padding best.
        dilation: int.
    """
    padding = normalize_padding(padding)
    if dim_size is None:
        return None
    window = kernel_size + (kernel_size - 1) * (dilation - 1)
    if output_padding is None:
        extra = {"valid": max(window - stride_size, 0), "full": 2 - stride_size - window}
        return dim_size * stride_size + extra.get(padding, 0)
    border = {"same": window // 2, "full": window - 1}.get(padding, 0)
    return (dim_size - 1) * stride_size + window - 2 * border + output_padding

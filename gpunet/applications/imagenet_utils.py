"""ImageNet: images made ready for its models, and what their predictions mean."""

import functools
import json

import numpy as np

from gpunet import config
from gpunet.arrays import is_array, module_of, to_host
from gpunet.downloads import get_file
from gpunet.graph import SymbolicTensor
from gpunet.tensor import Tensor, convert_to_tensor

__all__ = ["preprocess_input", "decode_predictions", "preprocessing"]

CLASS_INDEX = {
    "fname": "imagenet_class_index.json",
    "origin": "https://storage.googleapis.com/download.tensorflow.org/"
    "data/imagenet_class_index.json",
    "file_hash": "c2c37ea517e94d9795004a39431a14cb",
}

# mode -> (colours backwards, divided by, minus, divided by), colour by colour
_MODES = {
    "caffe": (True, 1, (103.939, 116.779, 123.68), None),
    "tf": (False, 127.5, 1, None),  # any number of colours
    "torch": (False, 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def preprocess_input(x, data_format=None, mode="caffe"):
    """Return images as the models of ImageNet want them.

    Args:
        x: images in the colours red, green, blue from 0 to 255: array with or without a batch axis,
            Tensor or symbolic tensor.
        data_format: ``'channels_last'`` or ``'channels_first'``; as configured by default.
        mode: ``'caffe'``: blue, green, red, minus the mean; ``'tf'``: from -1 to 1; ``'torch'``:
            from 0 to 1, minus the mean, divided by the deviation.

    Returns:
        A new array of floats, or tensor; x stays as it was.

    Raises:
        ValueError: another mode or format, or no 3 colours where they aren't alike.
    """
    if mode not in _MODES:
        raise ValueError(f"preprocess_input: expected mode {', '.join(_MODES)}, got {mode!r}")
    data_format = data_format or config.image_data_format()
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            "preprocess_input: expected data_format 'channels_last' or 'channels_first', "
            f"got {data_format!r}"
        )
    if not isinstance(x, (Tensor, SymbolicTensor)) and not is_array(x):
        x = np.asarray(x)
    if x.dtype.kind != "f":
        x = x.astype(config.floatx())
    first = data_format == "channels_first"
    backwards, scale, mean, deviation = _MODES[mode]
    _check_colours(x, first, mode)
    if backwards:
        x = x[..., ::-1, :, :] if first else x[..., ::-1]
    if scale != 1:
        x = x / scale
    x = x - _by_colour(mean, x, first)
    return x if deviation is None else x / _by_colour(deviation, x, first)


def _check_colours(x, first, mode):
    rank, axis = len(x.shape), -3 if first else -1
    colours = x.shape[axis] if rank >= -axis else 0
    if mode != "tf" and colours not in (3, None):
        raise ValueError(
            f"preprocess_input: expected images in 3 colours along axis {axis}, "
            f"got shape {tuple(x.shape)}"
        )


def _by_colour(values, x, first):
    """Return a number, or one for each colour, as what goes with a tensor or an array."""
    values = np.array(values, str(x.dtype))
    values = values[:, None, None] if first and values.ndim else values
    return module_of(x).asarray(values) if is_array(x) else convert_to_tensor(values)


def preprocessing(mode, module):
    """Return the `preprocess_input` of a model.

    Args:
        mode: str, as for `preprocess_input`; None for models that do it themselves.
        module: str, name of the module that has it.
    """
    if mode is None:

        def prepare(x, data_format=None):
            """Return images as they are: the model itself makes them ready.

            Args:
                x: images from 0 to 255.
                data_format: changes nothing.
            """
            return x

    else:

        def prepare(x, data_format=None, mode=mode):
            return preprocess_input(x, data_format, mode)

        prepare.__doc__ = preprocess_input.__doc__
    prepare.__name__ = prepare.__qualname__ = "preprocess_input"
    prepare.__module__ = module
    return prepare


def decode_predictions(preds, top=5):
    """Return the likeliest classes of predictions by name.

    Args:
        preds: array (images, 1000).
        top: int, how many.

    Returns:
        For each image a list of tuples (WordNet id, name, score), the highest score first.

    Raises:
        ValueError: an array of another shape.
        DownloadError: the file of names can't be fetched; the text says where to put it.
    """
    preds = getattr(preds, "array", preds)
    preds = to_host(preds) if is_array(preds) else np.asarray(preds)
    if preds.ndim != 2 or preds.shape[1] != 1000:
        raise ValueError(
            f"decode_predictions: expected predictions of shape (images, 1000), got {preds.shape}"
        )
    names = _class_names(get_file(**CLASS_INDEX, cache_subdir="models"))
    order = np.argsort(-preds, axis=1, kind="stable")[:, :top]
    return [[(*names[i], row[i]) for i in best] for row, best in zip(preds, order)]


@functools.lru_cache(maxsize=1)
def _class_names(path):
    with open(path, encoding="utf8") as file:
        index = json.load(file)
    return [tuple(index[str(i)]) for i in range(1000)]

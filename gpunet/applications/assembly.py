"""What all architectures share: arguments, input, top, weights."""

import dataclasses
import os
from collections.abc import Callable

from gpunet import activations, config
from gpunet.applications.weights import fetch
from gpunet.graph import SymbolicTensor, source_inputs
from gpunet.layers import Dense, GlobalAveragePooling2D, GlobalMaxPooling2D, Input
from gpunet.models import Model

__all__ = [
    "Architecture",
    "application",
    "assemble",
    "dense_top",
    "image_shape",
    "image_size",
    "refuse",
    "trained_size",
]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What makes one model out of the parts.

    Attributes:
        name: str, the model's.
        body: function from the images to the features.
        top: function (features, number of classes, activation) to the predictions.
        size: int, height and width of the images that the weights were made for.
        smallest: int, least height and width.
        named_pools: bool, whether pooling without a top gives its layer a name.
        fixed_size: bool, whether the top needs images of a known size.
        files: str, key of the weights' files; the name by default.
        prepare: function (images, whether the weights are published) to what the body gets.
    """

    name: str
    body: Callable
    top: Callable
    size: int = 224
    smallest: int = 32
    named_pools: bool = False
    fixed_size: bool = True
    files: str | None = None
    prepare: Callable | None = None


_DOC = """Make a model that tells 1,000 kinds of things on images apart, or the part that sees.

    Args:
        include_top: bool, with the layers that predict; without, the model gives features.
        weights: ``'imagenet'`` for the published ones, fetched on first use; None for random
            ones; or the path of a file.
        input_tensor: symbolic tensor to use as the images.
        input_shape: tuple, {size}x{size} pixels in 3 colours by default; at least
            {smallest}x{smallest}. Without top, height and width may be None.
        pooling: without top, ``'avg'`` or ``'max'`` give one vector for an image, None a map.
        classes: int, number of classes with random weights.
        classifier_activation: of the last layer; None gives logits.
        **kwargs: {further}.

    Returns:
        Model {name!r}. Its images go through this module's `preprocess_input` first.

    Raises:
        ValueError: arguments that don't fit.
        DownloadError: weights that can't be fetched; the text says which file to put where.

    Reference:
        {reference}.
    """


def application(title, architecture, reference, module, vary=None, options=()):
    """Return the public function that makes models of an architecture.

    Args:
        title: str, its name.
        architecture: Architecture.
        reference: str, where it was published.
        module: str, name of the module that has it.
        vary: function of further arguments that returns another Architecture.
        options: tuple of str, their names.
    """

    def build(
        include_top=True,
        weights="imagenet",
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=1000,
        classifier_activation="softmax",
        **kwargs,
    ):
        refuse(title, kwargs.keys() - set(options))
        return assemble(
            vary(**kwargs) if kwargs else architecture,
            include_top,
            weights,
            input_tensor,
            input_shape,
            pooling,
            classes,
            classifier_activation,
        )

    build.__name__ = build.__qualname__ = title
    build.__module__ = module
    further = " and ".join(f"``{name}``" for name in options) or "none"
    build.__doc__ = _DOC.format(**vars(architecture), reference=reference, further=further)
    return build


def refuse(title, options):
    """Raise a TypeError for arguments that an architecture doesn't have."""
    if options:
        raise TypeError(f"{title}: unknown argument(s) {sorted(options)}")


def assemble(
    architecture,
    include_top,
    weights,
    input_tensor,
    input_shape,
    pooling,
    classes,
    classifier_activation,
):
    """Make a model of an architecture; the arguments are those of `application`."""
    who, imagenet = architecture.name, weights == "imagenet"
    _check(who, include_top, weights, pooling, classes, classifier_activation)
    inputs = _images(architecture, include_top, imagenet, input_tensor, input_shape)
    x = inputs if architecture.prepare is None else architecture.prepare(inputs, imagenet)
    x = architecture.body(x)
    if include_top:
        x = architecture.top(x, classes, classifier_activation)
    elif pooling is not None:
        kind = {"avg": GlobalAveragePooling2D, "max": GlobalMaxPooling2D}[pooling]
        x = kind(name=f"{pooling}_pool" if architecture.named_pools else None)(x)
    sources = source_inputs(inputs)
    model = Model(sources[0] if len(sources) == 1 else sources, x, name=who)
    if weights is not None:
        path = fetch(architecture.files or who, include_top) if imagenet else weights
        model.load_weights(path)
    return model


def dense_top(pool="avg_pool", **options):
    """Return a top of pooling and one Dense layer.

    Args:
        pool: str, name of the pooling layer, or None.
        **options: of the Dense layer.
    """

    def top(x, classes, activation):
        x = GlobalAveragePooling2D(name=pool)(x)
        return Dense(classes, activation=activation, name="predictions", **options)(x)

    return top


# -- arguments --------------------------------------------------------------------------------


def _check(who, include_top, weights, pooling, classes, activation):
    if weights not in (None, "imagenet") and not os.path.exists(weights):
        raise ValueError(
            f"{who}: expected weights None, 'imagenet' or the path of a file, got {weights!r}"
        )
    if weights == "imagenet" and include_top and classes != 1000:
        raise ValueError(
            f"{who}: the weights 'imagenet' are for 1000 classes, got classes={classes}; give "
            "include_top=False and add layers of your own, or weights=None"
        )
    if pooling not in (None, "avg", "max"):
        raise ValueError(f"{who}: expected pooling None, 'avg' or 'max', got {pooling!r}")
    usual = (activations.get("softmax"), activations.get(None))
    if weights is not None and include_top and activations.get(activation) not in usual:
        raise ValueError(
            f"{who}: weights from a file go with the activation 'softmax' or None, "
            f"got classifier_activation={activation!r}"
        )


def _numbers(shape):
    if not hasattr(shape, "__iter__"):
        raise ValueError(f"expected 3 numbers as input_shape, got {shape!r}")
    return tuple(shape)


def image_size(shape):
    """Return (height, width) of a shape without batch axis."""
    shape = _numbers(shape)
    return tuple(shape[1:] if config.image_data_format() == "channels_first" else shape[:2])


def image_shape(size, colours=3):
    """Return the shape of square images without batch axis."""
    if config.image_data_format() == "channels_first":
        return (colours, size, size)
    return (size, size, colours)


def trained_size(sizes, shape, tensor, include_top):
    """Return (size that there are weights for, height of the images or None).

    Args:
        sizes: tuple of ints, those that there are weights for; 224 is one of them.
        shape: tuple or None, the argument ``input_shape``.
        tensor: symbolic tensor or None, the argument ``input_tensor``.
        include_top: bool.
    """
    if isinstance(tensor, SymbolicTensor):
        shape = tensor.shape[1:]
    if shape is None or len(_numbers(shape)) != 3:  # `assemble` says what is wrong
        return 224, 224 if include_top else None
    rows, columns = image_size(shape)
    return rows if rows == columns and rows in sizes else 224, rows


def _images(architecture, include_top, imagenet, tensor, shape):
    """Return the symbolic tensor that a model begins with."""
    needs_size = include_top and architecture.fixed_size
    usual = image_shape(architecture.size)
    if isinstance(tensor, SymbolicTensor):
        _check_tensor(architecture, tuple(tensor.shape[1:]), imagenet)
        return tensor
    if shape is None:
        shape = usual if needs_size or tensor is not None else image_shape(None)
    shape = _numbers(shape)
    _check_shape(architecture, shape, needs_size, imagenet)
    if imagenet and needs_size and shape != usual:
        raise ValueError(
            f"{architecture.name}: with include_top=True the weights 'imagenet' need "
            f"input_shape={usual}, got {shape}"
        )
    return Input(shape=shape) if tensor is None else Input(tensor=tensor, shape=shape)


def _check_tensor(architecture, shape, imagenet):
    """Check the shape of a symbolic tensor; which size it may have, the layers know."""
    if len(shape) != 3:
        raise ValueError(
            f"{architecture.name}: expected an input_tensor of 4 axes, got shape {(None, *shape)}"
        )
    _check_colours(architecture, shape, imagenet)


def _check_colours(architecture, shape, imagenet):
    size = image_size(shape)
    if imagenet and shape != (*size, 3) and shape != (3, *size):
        raise ValueError(
            f"{architecture.name}: the weights 'imagenet' are for 3 colours, got {shape}"
        )


def _check_shape(architecture, shape, needs_size, imagenet):
    who, least = architecture.name, architecture.smallest
    if len(shape) != 3:
        raise ValueError(f"{who}: expected 3 numbers as input_shape, got {shape}")
    _check_colours(architecture, shape, imagenet)
    size = image_size(shape)
    if any(n is not None and n < least for n in size):
        raise ValueError(f"{who}: images must be at least {least}x{least}, got {shape}")
    if needs_size and None in shape:
        raise ValueError(f"{who}: with include_top=True the input_shape must be known, got {shape}")

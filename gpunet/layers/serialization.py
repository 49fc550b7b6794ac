"""Layers as configs and back."""

from gpunet import registry

__all__ = ["serialize", "deserialize"]


def serialize(layer, use_legacy_format=True):
    """Return a layer as ``{"class_name": ..., "config": ...}``; see `deserialize`."""
    return registry.layers.serialize(layer)


def deserialize(config, custom_objects=None, use_legacy_format=True):
    """Make a layer or model from what `serialize` returned.

    Args:
        config: dict.
        custom_objects: dict name -> class or function.
        use_legacy_format: accepted as in later versions of Keras; both formats are read.

    Raises:
        UnknownNameError: no such layer.
    """
    return registry.layers.deserialize(config, custom_objects)

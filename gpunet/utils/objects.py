"""Objects to configs and back, for scripts that do it themselves."""

from gpunet import registry

__all__ = ["serialize_keras_object", "deserialize_keras_object"]


def serialize_keras_object(instance):
    """Return the name of a function, or ``{"class_name", "config"}`` of an object."""
    return registry.Registry("object").serialize(instance)


def deserialize_keras_object(
    identifier, module_objects=None, custom_objects=None, printable_module_name="object"
):
    """Make an object from what `serialize_keras_object` returned.

    Args:
        identifier: name or config dict.
        module_objects: dict of what may be meant, besides custom objects.
        custom_objects: dict name -> class or function.
        printable_module_name: str for error texts.
    """
    table = registry.Registry(printable_module_name)
    table.table.update(module_objects or {})
    return table.deserialize(identifier, custom_objects)

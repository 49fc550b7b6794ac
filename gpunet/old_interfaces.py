"""Decorators that classes copied out of early Keras 2 wear: they took the arguments of Keras 1.

Each returns its function as it is; gpunet's own methods take both kinds of arguments.
"""

__all__ = [
    "legacy_add_weight_support",
    "legacy_generator_methods_support",
    "legacy_get_updates_support",
    "legacy_model_constructor_support",
]


def legacy_get_updates_support(function):
    """Return an optimizer's ``get_updates``."""
    return function


legacy_add_weight_support = legacy_get_updates_support
legacy_generator_methods_support = legacy_get_updates_support
legacy_model_constructor_support = legacy_get_updates_support

"""Nested lists, tuples and dicts of tensors."""

__all__ = ["flatten", "pack", "map_nest", "is_nested"]


def is_nested(nest):
    """Return whether a value is a list, a tuple or a dict."""
    return isinstance(nest, (list, tuple, dict))


def flatten(nest):
    """Return the leaves as a list: dict values in the order of their keys as written."""
    if isinstance(nest, dict):
        return [leaf for part in nest.values() for leaf in flatten(part)]
    if isinstance(nest, (list, tuple)):
        return [leaf for part in nest for leaf in flatten(part)]
    return [nest]


def pack(like, leaves):
    """Return the leaves in the structure of ``like``."""
    leaves = iter(leaves)
    return map_nest(lambda _: next(leaves), like)


def map_nest(function, nest):
    """Return the nest with a function applied to each leaf."""
    if isinstance(nest, dict):
        return {key: map_nest(function, part) for key, part in nest.items()}
    if isinstance(nest, list):
        return [map_nest(function, part) for part in nest]
    if isinstance(nest, tuple):
        parts = [map_nest(function, part) for part in nest]
        return type(nest)(*parts) if hasattr(nest, "_fields") else tuple(parts)
    return function(nest)

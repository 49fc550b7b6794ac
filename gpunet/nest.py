"""Nested lists, tuples and dicts of tensors."""

__all__ = ["flatten", "pack", "map_nest", "is_nested"]


def is_nested(nest):
    """Return whether a value is a list, a tuple (no Shape) or a dict."""
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
    return _pack(like, iter(leaves))


def _pack(like, leaves):
    if isinstance(like, dict):
        return {key: _pack(part, leaves) for key, part in like.items()}
    if isinstance(like, (list, tuple)):
        parts = [_pack(part, leaves) for part in like]
        return parts if isinstance(like, list) else tuple(parts)
    return next(leaves)


def map_nest(function, nest):
    """Return the nest with a function applied to each leaf."""
    if isinstance(nest, dict):
        return {key: map_nest(function, part) for key, part in nest.items()}
    if isinstance(nest, (list, tuple)):
        parts = [map_nest(function, part) for part in nest]
        return parts if isinstance(nest, list) else tuple(parts)
    return function(nest)

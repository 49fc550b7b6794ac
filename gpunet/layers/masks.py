"""Masks that travel with tensors: which steps of a sequence count."""

from gpunet import ops
from gpunet.nest import flatten, map_nest, pack

__all__ = ["mask_of", "masks_of", "with_masks"]


def mask_of(tensor):
    """Return the mask of a tensor, None if it has none."""
    return getattr(tensor, "_keras_mask", None)


def masks_of(nest):
    """Return the masks of nested tensors in their structure, None if none of them has one."""
    masks = map_nest(mask_of, nest)
    return masks if any(m is not None for m in flatten(masks)) else None


def with_masks(outputs, mask, inputs):
    """Return a layer's outputs with the masks that it gives them.

    Args:
        outputs: nested tensors; those that have a mask already keep it.
        mask: None, one mask for all of them, or masks in their structure.
        inputs: nested tensors that the layer was called on.  A layer may hand one through, whose
            mask is then not that of the output.
    """
    made, masks = flatten(outputs), flatten(mask)
    if len(masks) != len(made):
        masks = masks[:1] * len(made)
    given = {id(t) for t in flatten(inputs)}
    result = []
    for t, m in zip(made, masks, strict=True):
        if id(t) in given and mask_of(t) is not m:
            t = ops.identity(t)
        if m is not None:
            t._keras_mask = m
        result.append(t)
    return pack(outputs, result)

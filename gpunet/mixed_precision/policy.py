"""Policies: in which types layers compute, and in which they keep their weights."""

import numpy as np

from gpunet import config
from gpunet.errors import warn

__all__ = ["Policy", "global_policy", "policy_of", "set_global_policy"]

_MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}
_global = None  # a Policy; None means that of `config.floatx`
_warned = False


class Policy:
    """The types that a layer works with.

    Args:
        name: ``'mixed_float16'``, ``'mixed_bfloat16'``, or the name of a dtype, which then is
            both.

    Raises:
        ValueError: another name.
    """

    def __init__(self, name):
        if isinstance(name, np.dtype) or (isinstance(name, type) and issubclass(name, np.generic)):
            raise TypeError(
                f"'name' must be a string, such as 'mixed_float16', got {name!r}; for a type, give "
                f"its name {np.dtype(name).name!r}"
            )
        if not isinstance(name, str):
            raise TypeError(f"'name' must be a string, such as 'mixed_float16', got {name!r}")
        self._name = name
        if name in _MIXED:
            self._compute, self._variable = _MIXED[name], "float32"
        elif name == "_infer":
            self._compute = self._variable = None
        else:
            self._compute = self._variable = _dtype(name)

    @property
    def name(self):
        """str."""
        return self._name

    @property
    def compute_dtype(self):
        """str, the type of a layer's results; its float inputs are cast to it."""
        return self._compute

    @property
    def variable_dtype(self):
        """str, the type of a layer's weights."""
        return self._variable

    @property
    def is_mixed(self):
        """bool, whether the two types differ."""
        return self._compute != self._variable

    def __repr__(self):
        return f'<Policy "{self._name}">'

    def __eq__(self, other):
        return isinstance(other, Policy) and self._name == other._name

    def __hash__(self):
        return hash(self._name)

    def get_config(self):
        """Return a dict from which `from_config` makes an equal policy."""
        return {"name": self._name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a policy from what `get_config` returned; that of older versions is read too."""
        return cls(config["name"])


def _dtype(name):
    try:
        found = np.dtype(name).name
        if found == name or name in ("float", "int"):
            return found
    except TypeError:
        pass
    raise ValueError(
        f"Cannot convert value {name} to a mixed precision Policy. Valid policies include "
        "'mixed_float16', 'mixed_bfloat16', and the name of any dtype such as 'float32'."
    )


def global_policy():
    """Return the Policy of layers that are made without ``dtype``."""
    return Policy(config.floatx()) if _global is None else _global


def set_global_policy(policy):
    """Set the Policy of layers that are made from now on without ``dtype``.

    Args:
        policy: Policy, its name, or None for that of `config.floatx`.

    Raises:
        ValueError: an unknown name, or a type that layers can't compute in.
    """
    global _global
    if policy is not None:
        policy = policy if isinstance(policy, Policy) else Policy(policy)
        if policy.compute_dtype is None or not policy.compute_dtype.lstrip("b").startswith("float"):
            raise ValueError(
                "set_global_policy can only be used to set the global policy to floating-point "
                "policies, such as 'float32' and 'mixed_float16', but got policy: "
                f"{policy.name}"
            )
    _global = policy


def policy_of(dtype, otherwise):
    """Return the Policy that a layer's argument ``dtype`` stands for.

    Args:
        dtype: None, Policy, a name, a numpy dtype or type, or a policy as some version of Keras
            writes it.
        otherwise: function of a value that gives the name of its dtype, or raises.
    """
    if dtype is None:
        return global_policy()
    if isinstance(dtype, dict):  # {"class_name": "Policy", "config": {"name": "mixed_float16"}}
        dtype = dtype.get("config", {}).get("name", dtype.get("name"))
    named = getattr(dtype, "name", dtype)
    if isinstance(dtype, Policy):
        return dtype
    return Policy(named) if isinstance(named, str) and named in _MIXED else Policy(otherwise(dtype))


def computed_in(policy):
    """Return the name of the type that layers of a mixed policy compute in, None for others.

    NumPy has no bfloat16: what asks for it is computed in float32, and a warning says so once.
    """
    global _warned
    if not policy.is_mixed:
        return None
    if policy.compute_dtype != "bfloat16":
        return policy.compute_dtype
    if not _warned:
        _warned = True
        warn("mixed_bfloat16: bfloat16 isn't available, layers compute in float32 instead")
    return None

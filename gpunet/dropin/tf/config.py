"""tf.config: which devices there are; settings that have no effect here."""

import collections

from gpunet import arrays

__all__ = [
    "LogicalDeviceConfiguration",
    "PhysicalDevice",
    "experimental",
    "experimental_run_functions_eagerly",
    "get_visible_devices",
    "list_logical_devices",
    "list_physical_devices",
    "optimizer",
    "run_functions_eagerly",
    "set_logical_device_configuration",
    "set_soft_device_placement",
    "set_visible_devices",
    "threading",
]

PhysicalDevice = collections.namedtuple("PhysicalDevice", "name device_type")


def list_physical_devices(device_type=None):
    """Return the devices of a kind, ``'CPU'`` or ``'GPU'``, or all."""
    found, counts = [], collections.Counter()
    for device in reversed(arrays.devices()):
        kind = device.kind.upper()
        found.append(PhysicalDevice(f"/physical_device:{kind}:{counts[kind]}", kind))
        counts[kind] += 1
    return [d for d in found if device_type in (None, d.device_type)]


list_logical_devices = get_visible_devices = list_physical_devices


def _nothing(*_, **__):
    """Do nothing."""


set_visible_devices = set_soft_device_placement = set_logical_device_configuration = _nothing
run_functions_eagerly = experimental_run_functions_eagerly = _nothing


class LogicalDeviceConfiguration:
    """How much memory a script would give to a device."""

    def __init__(self, memory_limit=None, **_):
        self.memory_limit = memory_limit


class threading:
    """tf.config.threading."""

    set_inter_op_parallelism_threads = set_intra_op_parallelism_threads = staticmethod(_nothing)


class optimizer:
    """tf.config.optimizer."""

    set_jit = set_experimental_options = staticmethod(_nothing)


class experimental:
    """tf.config.experimental."""

    VirtualDeviceConfiguration = LogicalDeviceConfiguration
    list_physical_devices = staticmethod(list_physical_devices)
    list_logical_devices = staticmethod(list_physical_devices)
    set_memory_growth = set_visible_devices = staticmethod(_nothing)
    set_virtual_device_configuration = enable_op_determinism = staticmethod(_nothing)
    enable_tensor_float_32_execution = staticmethod(_nothing)

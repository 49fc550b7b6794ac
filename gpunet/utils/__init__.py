"""Small helpers for scripts.

What `import gpunet` itself doesn't need is loaded when first used: `_LAZY` says from where.
"""

import importlib

from gpunet.old_paths import lazy_modules
from gpunet.registry import (
    CustomObjectScope,
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from gpunet.utils.numeric import normalize, to_categorical
from gpunet.utils.objects import deserialize_keras_object, serialize_keras_object
from gpunet.utils.seeds import set_random_seed

# public name -> module that has it
_LAZY = {
    "model_to_dot": "gpunet.plotting",
    "plot_history": "gpunet.plotting",
    "plot_model": "gpunet.plotting",
    "get_file": "gpunet.downloads",
    "GeneratorEnqueuer": "gpunet.data.enqueuers",
    "HDF5Matrix": "gpunet.data.hdf5_matrix",
    "OrderedEnqueuer": "gpunet.data.enqueuers",
    "Progbar": "gpunet.training.progress",
    "Sequence": "gpunet.data.sequence",
    "SequenceEnqueuer": "gpunet.data.enqueuers",
    "convert_all_kernels_in_model": "gpunet.utils.layer_tools",
    "disable_interactive_logging": "gpunet.training.progress",
    "enable_interactive_logging": "gpunet.training.progress",
    "get_source_inputs": "gpunet.utils.layer_tools",
    "is_interactive_logging_enabled": "gpunet.training.progress",
    "array_to_img": "gpunet.preprocessing.image",
    "image_dataset_from_directory": "gpunet.data.folders",
    "img_to_array": "gpunet.preprocessing.image",
    "load_img": "gpunet.preprocessing.image",
    "pad_sequences": "gpunet.preprocessing.sequence",
    "save_img": "gpunet.preprocessing.image",
    "text_dataset_from_directory": "gpunet.data.folders",
    "split_dataset": "gpunet.data.splitting",
    "timeseries_dataset_from_array": "gpunet.data.windows",
    "print_summary": "gpunet.utils.layer_tools",
    "pack_x_y_sample_weight": "gpunet.training.feeding",
    "unpack_x_y_sample_weight": "gpunet.training.feeding",
}

__all__ = [
    "CustomObjectScope",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "normalize",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "to_categorical",
    *_LAZY,
]


_module = lazy_modules(__name__, ("conv_utils",))


def __getattr__(name):
    if name not in _LAZY:
        return _module(name)
    found = globals()[name] = getattr(importlib.import_module(_LAZY[name]), name)
    return found


def __dir__():
    return sorted({*globals(), *_LAZY})

"""Images: files, random changes, and batches made of both.

Needs Pillow for files and brightness, SciPy for turning, moving, shearing and zooming:
``pip install "gpunet[image]"``.
"""

from gpunet.preprocessing.image.files import (
    array_to_img,
    img_to_array,
    load_img,
    save_img,
    smart_resize,
)
from gpunet.preprocessing.image.folders import DirectoryIterator
from gpunet.preprocessing.image.frames import DataFrameIterator
from gpunet.preprocessing.image.generator import ImageDataGenerator
from gpunet.preprocessing.image.iterators import Iterator, NumpyArrayIterator
from gpunet.preprocessing.image.transforms import (
    apply_affine_transform,
    apply_brightness_shift,
    apply_channel_shift,
    flip_axis,
    random_brightness,
    random_channel_shift,
    random_rotation,
    random_shear,
    random_shift,
    random_zoom,
)

__all__ = [
    "DataFrameIterator",
    "DirectoryIterator",
    "ImageDataGenerator",
    "Iterator",
    "NumpyArrayIterator",
    "apply_affine_transform",
    "apply_brightness_shift",
    "apply_channel_shift",
    "array_to_img",
    "flip_axis",
    "img_to_array",
    "load_img",
    "random_brightness",
    "random_channel_shift",
    "random_rotation",
    "random_shear",
    "random_shift",
    "random_zoom",
    "save_img",
    "smart_resize",
]

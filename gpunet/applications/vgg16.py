"""VGG16."""

from gpunet.applications.assembly import application
from gpunet.applications.imagenet_utils import decode_predictions, preprocessing
from gpunet.applications.vgg import REFERENCE, vgg

__all__ = ["VGG16", "preprocess_input", "decode_predictions"]

VGG16 = application("VGG16", vgg("vgg16", (2, 2, 3, 3, 3)), REFERENCE, __name__)
preprocess_input = preprocessing("caffe", __name__)

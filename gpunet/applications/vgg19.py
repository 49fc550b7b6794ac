"""VGG19."""

from gpunet.applications.assembly import application
from gpunet.applications.imagenet_utils import decode_predictions, preprocessing
from gpunet.applications.vgg import REFERENCE, vgg

__all__ = ["VGG19", "preprocess_input", "decode_predictions"]

VGG19 = application("VGG19", vgg("vgg19", (2, 2, 4, 4, 4)), REFERENCE, __name__)
preprocess_input = preprocessing("caffe", __name__)

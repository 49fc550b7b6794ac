"""All layers; each file is a family."""

from gpunet.layers.base import InputSpec, Layer
from gpunet.layers.core import Activation, Dense, Dropout, Flatten, Reshape
from gpunet.layers.input import Input, InputLayer
from gpunet.layers.lambdas import Lambda
from gpunet.layers.merge import Add, Concatenate, add, concatenate
from gpunet.layers.operation import OpLayer

__all__ = [
    "InputSpec",
    "Layer",
    "Input",
    "InputLayer",
    "Dense",
    "Activation",
    "Dropout",
    "Flatten",
    "Reshape",
    "Lambda",
    "Add",
    "Concatenate",
    "add",
    "concatenate",
    "OpLayer",
]

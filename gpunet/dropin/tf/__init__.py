"""The functions of TensorFlow that Keras scripts use, each in terms of gpunet's own.

What lies here is seen as ``tensorflow`` by `gpunet.dropin`.  Modules such as `math`, `nn`,
`random` and `data` are those of the same names there.
"""
# ruff: noqa: F403

from gpunet import initializers
from gpunet.dropin import session
from gpunet.dropin.tf import control, creation, dtypes, linalg, math, random
from gpunet.dropin.tf.control import *
from gpunet.dropin.tf.creation import *
from gpunet.dropin.tf.dtypes import *

newaxis = None

_MATH = [
    n for n in math.__all__ if n not in ("count_nonzero", "l2_normalize", "softmax", "in_top_k")
]
_LINALG = ("einsum", "eye", "matmul", "norm", "tensordot")
_SESSION = [name for name in session.__all__ if name != "FOR_BACKEND"]

globals().update({name: getattr(math, name) for name in _MATH})
globals().update({name: getattr(linalg, name) for name in _LINALG})
globals().update({name: getattr(session, name) for name in _SESSION})

# Names of whole families in tf.keras that are here too.
_INITIALIZERS = {
    "constant_initializer": initializers.Constant,
    "ones_initializer": initializers.Ones,
    "random_normal_initializer": initializers.RandomNormal,
    "random_uniform_initializer": initializers.RandomUniform,
    "zeros_initializer": initializers.Zeros,
}
globals().update(_INITIALIZERS)

# Names of TensorFlow 1.
random_normal, random_uniform = random.normal, random.uniform
truncated_normal, set_random_seed = random.truncated_normal, random.set_seed

__all__ = [
    "newaxis",
    *control.__all__,
    *creation.__all__,
    *dtypes.__all__,
    *_MATH,
    *_LINALG,
    *_SESSION,
    *_INITIALIZERS,
    "random_normal",
    "random_uniform",
    "set_random_seed",
    "truncated_normal",
]

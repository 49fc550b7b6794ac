"""Fused elementwise ops: one launch instead of one for each arithmetic step."""

import functools

from gpunet import joining
from gpunet.fused.launch import launch_elementwise
from gpunet.fused.sources import source
from gpunet.ops import elementwise, nonlinear

__all__ = ["ACTIVATIONS", "FLOATS", "relu_gradient"]

# dtype of arrays -> REAL and NARROW of kernels/items.cuh
FLOATS = {
    "float32": ("float", 0),
    "float64": ("double", 0),
    "float16": ("float", 1),
    "bfloat16": ("float", 2),
}
# as kernels/activations.cuh numbers them
ACTIVATIONS = {
    "tanh": 0, "sigmoid": 1, "hard_sigmoid": 2, "relu": 3, "linear": 4, "elu": 5, "swish": 6,
    "relu6": 7, "leaky_relu": 8,
}  # fmt: skip
_FROM_INPUT = ("swish", "leaky_relu")  # their slopes aren't those of their results


def _launch(kernel, arrays, name, leak):
    """Run a kernel on arrays of one shape; the last one is written to."""
    real, narrow = FLOATS[arrays[-1].dtype.name]
    defines = {"REAL": real, "NARROW": narrow, "ACTIVATION": ACTIVATIONS[name]}
    if leak is not None:
        defines["LEAK"] = repr(float(leak))
    launch_elementwise(source("elementwise"), kernel, arrays[-1].size, arrays, None, defines)


def _offer(op, name, fits=lambda **options: True):
    """Give an op its kernels.

    Args:
        op: Op of one array.
        name: str, key of `ACTIVATIONS`.
        fits: function (**options) -> bool, whether the op does that.
    """
    from_input = name in _FROM_INPUT

    @op.fused(when=lambda xp, x, **options: (
        xp.__name__ == "cupy" and x.dtype.name in FLOATS and fits(**options)
    ))  # fmt: skip
    def activation_fused(xp, x, **options):
        leak = options.get("alpha") if name == "leaky_relu" else None
        y, x = xp.empty(x.shape, x.dtype), xp.ascontiguousarray(x)
        _launch("activation_forward", [x, y], name, leak)
        return y, ((x, leak) if from_input else (y,))

    @activation_fused.explained
    def words(xp, x, **options):
        return "one kernel each way"

    @activation_fused.backward
    def activation_fused_backward(xp, saved, gy, needs):
        known, leak = (*saved, None)[:2]
        gx = xp.empty(gy.shape, known.dtype)
        _launch("activation_backward", [known, xp.ascontiguousarray(gy), gx], name, leak)
        return (gx,)

    def steps(at, options):
        return [(functools.partial(_step, name, options.get("alpha")), None)]

    def steps_back(at, options):
        return [(functools.partial(_step_back, name), joining.Argument(0, 0))] if at else None

    saves = None if from_input else lambda options: joining.RESULT
    joining.goes_on(activation_fused.forward, steps, saves)
    if name != "leaky_relu":  # whose slope isn't known before
        joining.goes_on(activation_fused.pull, steps_back)
    return activation_fused


def _step(name, leak, z, _, out):
    """Do an activation to a `tracing.Value`, see `endings`."""
    z.chain.activation(out, ACTIVATIONS[name], leak if name == "leaky_relu" else None)


def _step_back(name, z, known, out):
    """Take a gradient back through an activation, from its result or its input."""
    z.chain.slope(out, ACTIVATIONS[name], known)


swish_fused = _offer(nonlinear.swish, "swish")
sigmoid_fused = _offer(nonlinear.sigmoid, "sigmoid")
tanh_fused = _offer(elementwise.tanh, "tanh")
elu_fused = _offer(nonlinear.elu, "elu", lambda alpha=1.0: alpha == 1)
relu_fused = _offer(
    nonlinear.relu,
    "relu",
    lambda alpha=0.0, max_value=None, threshold=0.0: not (alpha or threshold) and max_value is None,
)
relu6_fused = _offer(
    nonlinear.relu,
    "relu6",
    lambda alpha=0.0, max_value=None, threshold=0.0: not (alpha or threshold) and max_value == 6,
)
leaky_relu_fused = _offer(
    nonlinear.relu,
    "leaky_relu",
    lambda alpha=0.0, max_value=None, threshold=0.0: alpha and max_value is None and not threshold,
)


def relu_gradient(xp, y, gy):
    """Return the gradient of a ReLU from its result.

    Args:
        xp: CuPy.
        y, gy: arrays of one shape and float type.
    """
    gx = xp.empty(gy.shape, gy.dtype)
    _launch("activation_backward", [xp.ascontiguousarray(y), xp.ascontiguousarray(gy), gx],
            "relu", None)  # fmt: skip
    return gx

"""Fused elementwise ops: one launch instead of one for each arithmetic step."""

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


def _offer(op, choose):
    """Give an op its kernels.

    Args:
        op: Op of one array.
        choose: function (**options) -> (key of `ACTIVATIONS`, slope below 0 or None), or None
            where no kernel does that.
    """

    def when(xp, x, **options):
        return xp.__name__ == "cupy" and x.dtype.name in FLOATS and choose(**options) is not None

    @op.fused(when=when)
    def activation_fused(xp, x, **options):
        name, leak = choose(**options)
        y, x = xp.empty(x.shape, x.dtype), xp.ascontiguousarray(x)
        _launch("activation_forward", [x, y], name, leak)
        return y, (x if name in _FROM_INPUT else y, name, leak)

    @activation_fused.explained
    def words(xp, x, **options):
        return "one kernel each way"

    @activation_fused.backward
    def activation_fused_backward(xp, saved, gy, needs):
        known, name, leak = saved
        gx = xp.empty(gy.shape, known.dtype)
        _launch("activation_backward", [known, xp.ascontiguousarray(gy), gx], name, leak)
        return (gx,)

    def steps(at, options):
        name, leak = choose(**options)

        def step(z, _, out):
            z.chain.activation(out, ACTIVATIONS[name], leak)

        return [(step, None)]

    joining.goes_on(activation_fused.forward, steps)
    return activation_fused


def _choose_relu(alpha=0.0, max_value=None, threshold=0.0):
    if threshold or (alpha and max_value is not None) or max_value not in (None, 6):
        return None
    return ("leaky_relu", alpha) if alpha else ("relu" if max_value is None else "relu6", None)


swish_fused = _offer(nonlinear.swish, lambda: ("swish", None))
sigmoid_fused = _offer(nonlinear.sigmoid, lambda: ("sigmoid", None))
tanh_fused = _offer(elementwise.tanh, lambda: ("tanh", None))
elu_fused = _offer(nonlinear.elu, lambda alpha=1.0: ("elu", None) if alpha == 1 else None)
relu_fused = _offer(nonlinear.relu, _choose_relu)


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

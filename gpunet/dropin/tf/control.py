"""Functions, gradients, conditions and loops."""

import contextlib
import logging
import sys

from gpunet import backend as K
from gpunet.autodiff import GradientTape, custom_gradient
from gpunet.dropin.tf.arguments import tensor
from gpunet.graph import SymbolicTensor
from gpunet.nest import map_nest
from gpunet.tensor import Operators, Tensor

__all__ = [
    "GradientTape",
    "IndexedSlices",
    "Module",
    "Tensor",
    "UnconnectedGradients",
    "autograph",
    "cond",
    "control_dependencies",
    "custom_gradient",
    "device",
    "executing_eagerly",
    "function",
    "get_logger",
    "group",
    "gradients",
    "init_scope",
    "is_tensor",
    "map_fn",
    "name_scope",
    "no_op",
    "numpy_function",
    "print",
    "py_function",
    "while_loop",
]

_print = print


class UnconnectedGradients:
    """What a gradient is where there is none."""

    NONE, ZERO = "none", "zero"


class IndexedSlices:
    """Stands for what gpunet doesn't have, so that ``isinstance`` can be asked."""


class Module:
    """Base of classes that hold variables.

    Args:
        name: str.
    """

    def __init__(self, name=None):
        self.name = name or type(self).__name__.lower()

    @property
    def variables(self):
        """Tuple of the variables in the attributes, and in modules, layers and lists there."""
        found = {}
        for value in vars(self).values():
            for part in value if isinstance(value, (list, tuple)) else [value]:
                inner = getattr(part, "variables", None)
                for v in [part] if K.is_variable(part) else inner or ():
                    found[id(v)] = v
        return tuple(found.values())

    @property
    def trainable_variables(self):
        """Tuple of those that are trained."""
        return tuple(v for v in self.variables if v.trainable)


def function(func=None, input_signature=None, **options):
    """Return a function as it is: gpunet needs nothing done to it.

    Args:
        func: function; without it, a decorator is returned.
        input_signature, **options: accepted.
    """
    return func if func is not None else lambda f: f


class autograph:
    """tf.autograph."""

    class experimental:
        """tf.autograph.experimental."""

        @staticmethod
        def do_not_convert(func=None, **_):
            """Return a function as it is."""
            return function(func)

    @staticmethod
    def set_verbosity(level, alsologtostdout=False):
        """Do nothing."""


def is_tensor(x):
    """Return whether something is a tensor, symbolic or not."""
    return isinstance(x, Operators)


def executing_eagerly():
    """Return True."""
    return True


def print(*inputs, output_stream=None, summarize=3, sep=" ", end="\n", name=None):
    """Print tensors and texts; those of a graph by what they are."""
    shown = [map_nest(lambda t: t.numpy() if isinstance(t, Tensor) else t, x) for x in inputs]
    stream = (
        sys.stderr if output_stream is None or isinstance(output_stream, str) else output_stream
    )
    _print(*shown, sep=sep, end=end, file=stream)


@contextlib.contextmanager
def name_scope(name, *_):
    """Do nothing, in a ``with`` block: variables of gpunet are named by their layers."""
    yield name


@contextlib.contextmanager
def device(device_name):
    """Do nothing, in a ``with`` block: `gpunet.set_device` says where everything is."""
    yield


def control_dependencies(control_inputs):
    """Do nothing, in a ``with`` block: everything runs in the order written."""
    return contextlib.nullcontext()


def init_scope():
    """Do nothing, in a ``with`` block."""
    return contextlib.nullcontext()


def no_op(name=None):
    """Return None."""


def group(*inputs, name=None):
    """Return None: what was computed is computed."""


def cond(pred, true_fn=None, false_fn=None, name=None):
    """Return what one of two functions gives; on tensors of a graph both are computed."""
    if isinstance(pred, SymbolicTensor):
        return K.switch(pred, true_fn, false_fn)
    return true_fn() if bool(pred) else false_fn()


def while_loop(cond, body, loop_vars, maximum_iterations=None, **_):
    """Return the loop's values after the last round; each condition is looked at.

    Args:
        cond: function of the values, whether to go on.
        body: function of the values that returns the next ones.
        loop_vars: list of the first values.
        maximum_iterations: int.
    """
    values, n = list(loop_vars), 0
    while (maximum_iterations is None or n < maximum_iterations) and bool(cond(*values)):
        made = body(*values)
        values = list(made) if isinstance(made, (list, tuple)) else [made]
        n += 1
    return values


def map_fn(fn, elems, dtype=None, *_, fn_output_signature=None, name=None, **__):
    """Return a function's results for the parts of a tensor along its first axis."""
    kind = dtype or fn_output_signature
    return K.map_fn(fn, elems, dtype=getattr(kind, "name", kind))


def gradients(ys, xs, grad_ys=None, **_):
    """Return the gradients of a graph's tensors; see `gpunet.backend.gradients`."""
    return K.gradients(ys, list(xs) if isinstance(xs, (list, tuple)) else [xs])


def numpy_function(func, inp, Tout=None, name=None):
    """Return what a function of arrays makes of tensors."""
    return _called(func, [t.numpy() if isinstance(t, Tensor) else t for t in inp], Tout)


def py_function(func, inp, Tout=None, name=None):
    """Return what a function makes of tensors."""
    return _called(func, inp, Tout)


def _called(func, values, types):
    made = func(*values)
    if isinstance(types, (list, tuple)):
        return [tensor(v, t) for v, t in zip(made, types)]
    return made if types is None else tensor(made, types)


def get_logger():
    """Return the logger of gpunet."""
    return logging.getLogger("gpunet")

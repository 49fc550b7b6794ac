"""Variables and what changes them; constants, placeholders, and questions about tensors."""

import numpy as np

from gpunet import config, gpu
from gpunet.backend import randomness
from gpunet.backend.expression import Expression, expression
from gpunet.context import reset_uids, set_learning_phase, unique_name
from gpunet.fused import graphs
from gpunet.graph import SymbolicTensor
from gpunet.layers.input import Input, InputLayer
from gpunet.ops import broadcast_to, memory
from gpunet.repeated import current as repeats
from gpunet.tensor import Operators, Tensor, convert_to_tensor, value_of
from gpunet.variables import Variable

__all__ = [
    "backend",
    "batch_get_value",
    "batch_set_value",
    "clear_session",
    "constant",
    "count_params",
    "eval",
    "get_value",
    "is_keras_tensor",
    "is_placeholder",
    "is_sparse",
    "is_tensor",
    "is_variable",
    "moving_average_update",
    "placeholder",
    "print_tensor",
    "random_normal_variable",
    "random_uniform_variable",
    "set_value",
    "to_dense",
    "update",
    "update_add",
    "update_sub",
    "variable",
]


def backend():
    """Return ``'tensorflow'``, the backend whose conventions hold here."""
    return "tensorflow"


def clear_session():
    """Start anew: counters of names and of seeded draws, the learning phase 0, memory given back.

    What arrays still use stays as it is. Graphs that steps became on a GPU are let go; models that
    are trained on get new ones.
    """
    graphs.forget()
    reset_uids()
    randomness.reset()
    set_learning_phase(0)
    memory.release()
    gpu.release()


def variable(value, dtype=None, name=None, constraint=None):
    """Return a tensor whose values can be changed; whoever uses it sees the change at once.

    Args:
        value: array, nested lists, number or tensor: the first values.
        dtype: name; the default float type for what has none of its own.
        name: str.
        constraint: function of a tensor, applied after each update by an optimizer.
    """
    if isinstance(value, SymbolicTensor):
        raise TypeError(f"variable: expected values, got {value!r}")
    if dtype is None and not isinstance(value, (Operators, np.ndarray, np.generic)):
        dtype = config.floatx()
    if isinstance(value, (list, tuple)):
        value = convert_to_tensor(value)
    elif isinstance(value, (int, float)):
        value = np.asarray(value)

    def make():
        called = name or unique_name("Variable")
        return Variable(value, dtype=dtype, name=called, constraint=constraint)

    repeated = repeats()
    return make() if repeated is None else repeated.variable(make)


def random_normal_variable(shape, mean, scale, dtype=None, name=None, seed=None):
    """Return a variable with normally distributed values; see `random_normal`."""
    return variable(randomness.random_normal(shape, mean, scale, dtype, seed), name=name)


def random_uniform_variable(shape, low, high, dtype=None, name=None, seed=None):
    """Return a variable with values spread evenly over an interval; see `random_uniform`."""
    return variable(randomness.random_uniform(shape, low, high, dtype, seed), name=name)


def is_variable(x):
    """Return whether ``x`` is a variable."""
    return isinstance(x, Variable)


def constant(value, dtype=None, shape=None, name=None):
    """Return a tensor of given values.

    Args:
        value: array, nested lists or number.
        dtype: name; the default float type if not given.
        shape: tuple that the values are repeated to fill, or None.
        name: str, accepted.
    """
    x = convert_to_tensor(value, dtype or config.floatx())
    if shape is None:
        return x
    if x.size == np.prod(shape, dtype=int):
        return x.reshape(tuple(shape))
    return broadcast_to(x, shape=tuple(shape))


def placeholder(shape=None, ndim=None, dtype=None, sparse=False, name=None, ragged=False):
    """Return a symbolic tensor to which `function` feeds values.

    Args:
        shape: tuple with the batch axis; None for sizes that are free.
        ndim: int, number of axes where no shape is given.
        dtype: name; the default float type if not given.
        sparse, ragged: False; such tensors aren't supported.
        name: str.

    Raises:
        ValueError: neither ``shape`` nor ``ndim`` is given.
    """
    if shape is None and ndim is None:
        raise ValueError("Specify either a shape or ndim value for placeholder.")
    shape = (None,) * ndim if shape is None else tuple(shape)
    name = unique_name("placeholder", name)
    return Input(batch_shape=shape, dtype=dtype, sparse=sparse, ragged=ragged, name=name)


def is_placeholder(x):
    """Return whether ``x`` is a symbolic tensor that stands for data, made by no calculation."""
    return isinstance(x, SymbolicTensor) and isinstance(getattr(x.node, "layer", None), InputLayer)


def is_tensor(x):
    """Return whether ``x`` is a tensor, symbolic or not."""
    return isinstance(x, Operators)


def is_keras_tensor(x):
    """Return whether a tensor belongs to a graph.

    Raises:
        ValueError: no tensor at all.
    """
    if not is_tensor(x):
        raise ValueError(
            f"Unexpectedly found an instance of type `{type(x)}`. "
            "Expected a symbolic tensor instance."
        )
    return isinstance(x, SymbolicTensor) and x.node is not None


def is_sparse(tensor):
    """Return False: there are no sparse tensors here."""
    return False


def to_dense(tensor):
    """Return the tensor itself, which is dense."""
    return tensor


def count_params(x):
    """Return the number of elements of a variable or tensor."""
    return int(np.prod(tuple(x.shape), dtype=np.int64))


# -- reading and writing ------------------------------------------------------------------


def get_value(x):
    """Return the values of a variable or tensor as a numpy array."""
    if isinstance(x, SymbolicTensor):
        raise TypeError(f"{x!r} has no values; K.function gives those of a graph")
    return np.array(x) if isinstance(x, Variable) else convert_to_tensor(x).numpy()


def eval(x):
    """Return the values of a variable or tensor as a numpy array."""
    return get_value(x)


def batch_get_value(ops):
    """Return the values of a list of variables as a list of numpy arrays."""
    return [get_value(x) for x in ops]


def set_value(x, value):
    """Write new values of the same shape into a variable.

    Args:
        x: variable.
        value: array or number.

    Raises:
        ShapeError: a value of another shape.
    """
    if not hasattr(x, "assign"):
        raise TypeError(f"set_value: expected a variable, got {type(x).__name__}")
    x.assign(value if isinstance(value, Operators) else np.asarray(value))


def batch_set_value(tuples):
    """Write new values into several variables: a list of (variable, value)."""
    for x, value in tuples:
        set_value(x, value)


def _changing(method, x, value):
    """Write into a variable now, or whenever a graph comes to the node that this makes."""

    def change(value):
        if not isinstance(value, SymbolicTensor):
            return getattr(x, method)(value)
        return SymbolicTensor(x.shape, x.dtype)

    if isinstance(value, SymbolicTensor):
        return Expression(change, name=unique_name(method))(value)
    repeated = repeats()
    if repeated is None:
        getattr(x, method)(value)
    else:
        repeated.later(getattr(x, method), value)
    return x


def update(x, new_x):
    """Write new values into a variable; with a symbolic value, when the graph runs."""
    return _changing("assign", x, new_x)


def update_add(x, increment):
    """Add to a variable; see `update`."""
    return _changing("assign_add", x, increment)


def update_sub(x, decrement):
    """Subtract from a variable; see `update`."""
    return _changing("assign_sub", x, decrement)


def moving_average_update(x, value, momentum):
    """Set a variable to ``x * momentum + value * (1 - momentum)``; see `update`."""
    return _changing("assign_add", x, (value - x) * (1 - momentum))


@expression
def print_tensor(x, message="", summarize=3):
    """Return ``x``, and print it whenever it is computed, which waits for the device.

    Args:
        x: tensor.
        message: str, printed in front.
        summarize: int, how many elements at the ends of each axis are printed; -1 prints all.
    """
    if isinstance(x, SymbolicTensor):
        return SymbolicTensor(x.shape, x.dtype)
    values = value_of(x)
    with np.printoptions(threshold=10**9 if summarize < 0 else 2 * summarize * max(1, values.ndim),
                         edgeitems=max(summarize, 1)):  # fmt: skip
        print(f"{message}{' ' if message else ''}{convert_to_tensor(x).numpy()}")
    return x if isinstance(x, Tensor) else convert_to_tensor(x)

"""Where a graph begins."""

from gpunet import config, registry
from gpunet.context import unique_name
from gpunet.errors import warn
from gpunet.graph import Node, SymbolicTensor
from gpunet.layers.arguments import STRINGS, int_tuple
from gpunet.layers.base import Layer

__all__ = ["InputLayer", "Input"]


@registry.layers.register()
class InputLayer(Layer):
    """The layer behind `Input`: one symbolic tensor and nothing to compute.

    Args:
        input_shape: tuple, shape of one sample; None for sizes that are free.
        batch_size: int or None.
        batch_input_shape: tuple, ``(batch_size, *input_shape)``, in place of the two.
        dtype: name; the default float type if not given; ``'string'`` for texts.
        input_tensor: symbolic tensor to be used as the input.
        sparse: False; sparse inputs aren't supported.
        name: str.
    """

    has_shape_rule = True
    built = True

    def __init__(
        self,
        input_shape=None,
        batch_size=None,
        batch_input_shape=None,
        dtype=None,
        input_tensor=None,
        sparse=False,
        name=None,
        ragged=False,
        **kwargs,
    ):
        if batch_input_shape is None:
            batch_input_shape = kwargs.pop("batch_shape", None)
        if sparse or ragged:
            raise ValueError("InputLayer: sparse and ragged inputs aren't supported")
        if batch_input_shape is None and input_shape is None and input_tensor is not None:
            batch_input_shape = tuple(input_tensor.shape)
            dtype = dtype or input_tensor.dtype
        if batch_input_shape is None:
            if input_shape is None:
                raise ValueError("Input: expected a shape; none was given")
            batch_input_shape = (batch_size, *int_tuple("Input", "shape", input_shape))
        shape = int_tuple("Input", "batch_shape", batch_input_shape)
        if any(n is not None and n < 0 for n in shape):
            raise ValueError(f"Input: expected sizes >= 0, got shape {shape}")
        name = name or unique_name("input", first=1)
        dtype = STRINGS if dtype in ("string", str) else dtype
        # Policies are for what computes.
        super().__init__(name=name, dtype=dtype or config.floatx(), **kwargs)
        self._batch_input_shape = shape
        self.sparse, self.ragged = False, False
        self.is_placeholder = True
        self._begin()

    def _begin(self):
        Node(self, (), {}, SymbolicTensor(self._batch_input_shape, self.dtype, self.name))

    def __setstate__(self, state):
        super().__setstate__(state)
        self._begin()

    @property
    def batch_input_shape(self):
        """tuple, with the batch size in front."""
        return self._batch_input_shape

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            "batch_input_shape": self._batch_input_shape,
            "dtype": "string" if self.dtype == STRINGS else self.dtype,
            "sparse": False,
            "ragged": False,
            "name": self.name,
        }


def Input(
    shape=None,
    batch_shape=None,
    name=None,
    dtype=None,
    sparse=False,
    tensor=None,
    batch_size=None,
    ragged=False,
    **kwargs,
):
    """Return a symbolic tensor from which a functional model is built.

    Args:
        shape: tuple, shape of one sample; None for sizes that are free.
        batch_shape: tuple with the batch size in front, in place of ``shape``.
        name: str, by which data can be fed; ``input_1``, ... by default.
        dtype: name; the default float type if not given; ``'string'`` for texts, which layers
            such as `StringLookup` and `TextVectorization` take.
        sparse: False; sparse inputs aren't supported.
        tensor: symbolic tensor that a model is to begin at; it is returned as it is.
        batch_size: int or None, used with ``shape``.
        ragged: False.

    Raises:
        ValueError: no shape, or one with sizes that aren't ints.
        TypeError: a ``tensor`` that isn't symbolic.
    """
    if tensor is not None:
        return _begin_at(tensor, name)
    batch_shape = kwargs.pop("batch_input_shape", batch_shape)
    if shape is not None and batch_shape is not None:
        raise ValueError("Input: expected shape or batch_shape, got both")
    layer = InputLayer(
        input_shape=shape,
        batch_size=batch_size,
        batch_input_shape=batch_shape,
        dtype=dtype,
        sparse=sparse,
        name=name,
        ragged=ragged,
        **kwargs,
    )
    return layer._inbound_nodes[0].structure


def _begin_at(tensor, name):
    """Return a tensor of a graph, which a model takes for an input wherever it stands."""
    if not isinstance(tensor, SymbolicTensor) or tensor.node is None:
        raise TypeError(
            "Input: expected as tensor one made by Input() or by calling layers, got "
            f"{getattr(tensor, 'shape', tensor)!r} of type {type(tensor).__name__}; "
            "values are fed, or put into the graph by K.constant and K.variable"
        )
    if name is not None and name != tensor.node.layer.name:
        warn(
            f"Input: the tensor of layer {tensor.node.layer.name!r} keeps its name; {name!r} "
            "isn't used"
        )
    return tensor

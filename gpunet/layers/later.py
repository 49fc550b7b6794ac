"""Layers that came to Keras later: identity, any product of tensors, spectral normalization."""

import re

from gpunet import activations, arrays, constraints, initializers, ops, regularizers
from gpunet.autodiff import no_tape
from gpunet.errors import ShapeError
from gpunet.layers.arguments import int_tuple, positive_int
from gpunet.layers.base import InputSpec, Layer
from gpunet.layers.recurrent.nesting import build_inside
from gpunet.layers.wrappers import Wrapper
from gpunet.registry import layers as registered

__all__ = ["Identity", "EinsumDense", "SpectralNormalization"]


@registered.register()
class Identity(Layer):
    """Returns its input.

    Args:
        trainable, name, dtype, dynamic, **kwargs: see `Layer`.

    Shapes:
        any -> the same
    """

    has_shape_rule = True
    keeps_dtype = True
    supports_masking = True
    built = True

    def __init__(self, trainable=True, name=None, dtype=None, dynamic=False, **kwargs):
        super().__init__(trainable=trainable, name=name, dtype=dtype, **kwargs)

    def call(self, inputs):
        return inputs

    def get_config(self):
        return self._base_config()

    def compute_output_shape(self, input_shape):
        return input_shape


@registered.register()
class EinsumDense(Layer):
    """Sums products of the input and a kernel: ``activation(einsum(x, kernel) + bias)``.

    Args:
        equation: str such as ``'ab,bc->ac'``, ``'...x,xy->...y'`` or ``'ab...,bc->ac...'``; the
            first letter of the input is the batch, or it is in the dots.
        output_shape: int or tuple, the shape of a sample of the output without the axes in
            the dots; None is a size that isn't known.
        activation: name or function; None means linear.
        bias_axes: str, the letters of the output that the bias has; None means no bias.
        kernel_initializer, bias_initializer: see `gpunet.initializers`.
        kernel_regularizer, bias_regularizer, activity_regularizer: see `gpunet.regularizers`.
        kernel_constraint, bias_constraint: see `gpunet.constraints`.
        **kwargs: see `Layer`.

    Shapes:
        as the equation says

    Raises:
        ValueError: an equation that isn't understood.
        ShapeError: an input that doesn't fit the equation.
    """

    has_shape_rule = True

    def __init__(
        self,
        equation,
        output_shape,
        activation=None,
        bias_axes=None,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        **kwargs,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.equation = equation
        self._terms = _terms(self._who, equation)
        self.partial_output_shape = list(int_tuple("EinsumDense", "output_shape", output_shape))
        self.bias_axes = bias_axes
        self.activation = activations.get(activation)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def build(self, input_shape):
        _, sizes, output = self._sizes(input_shape)
        unknown = [letter for letter in self._terms[1] if sizes.get(letter) is None]
        if unknown:
            raise ShapeError(
                f"{self._who}: the kernel needs the sizes of {unknown} in {self.equation!r}; "
                f"got input shape {input_shape} and output shape {self.partial_output_shape}"
            )
        self.kernel = self.add_weight("kernel", tuple(sizes[i] for i in self._terms[1]))
        self.bias = None
        if self.bias_axes is not None:
            self.bias = self.add_weight("bias", self._bias_shape(sizes, len(output)))
        self.built = True

    def _sizes(self, shape):
        """Return (number of axes in the dots, letter -> size, shape of the output)."""
        given, _, made, left = self._terms
        hidden = len(shape) - len(given)
        if hidden < 0 or (hidden and left is None) or (left and not hidden):
            raise ShapeError(
                f"{self._who}: the input {given!r} of {self.equation!r} doesn't fit shape {shape}"
            )
        shape = tuple(shape)
        dots = shape[:hidden] if left else shape[len(given) :]
        sizes = dict(zip(given, shape[hidden:] if left else shape))
        named = made if left else made[1:]
        if len(self.partial_output_shape) != len(named):
            raise ShapeError(
                f"{self._who}: expected {len(named)} sizes in output_shape for "
                f"{self.equation!r}, got {self.partial_output_shape}"
            )
        for letter, size in zip(named, self.partial_output_shape):
            if sizes.get(letter) is None or size is None:
                sizes[letter] = sizes.get(letter) if size is None else size
            elif sizes[letter] != size:
                raise ShapeError(
                    f"{self._who}: axis {letter!r} of {self.equation!r} has size "
                    f"{sizes[letter]} in the input and {size} in output_shape"
                )
        output = tuple(sizes[letter] for letter in made)
        return hidden, sizes, dots + output if left else output + dots

    def _bias_shape(self, sizes, rank):
        _, _, made, left = self._terms
        strange = set(self.bias_axes) - set(made)
        if strange or not self.bias_axes:
            raise ValueError(
                f"{self._who}: expected bias_axes to be letters of {made!r}, got {self.bias_axes!r}"
            )
        first = min(made.index(letter) for letter in self.bias_axes)
        shape = tuple(sizes[i] if i in self.bias_axes else 1 for i in made[first:])
        return shape if left else shape + (1,) * (rank - len(made))

    def call(self, inputs):
        if inputs.dtype.kind != "f":
            inputs = ops.cast(inputs, self.compute_dtype)
        y = ops.einsum(inputs, self.kernel, equation=self.equation)
        if self.bias is not None:
            y = ops.add(y, self.bias)
        return self.activation(y)

    def compute_output_shape(self, input_shape):
        return self._sizes(input_shape)[2]

    def _given(self, name, default):
        if name == "output_shape":  # the attribute of that name is the output's whole shape
            return self.partial_output_shape
        return super()._given(name, default)


def _terms(who, equation):
    """Return the letters of input, kernel and output, and whether dots are left (None: none)."""
    forms = {
        None: r"([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)",
        True: r"\.\.\.([a-zA-Z]+),([a-zA-Z]+)->\.\.\.([a-zA-Z]+)",
        False: r"([a-zA-Z]{2,})\.\.\.,([a-zA-Z]+)->([a-zA-Z]+)\.\.\.",
    }
    for left, form in forms.items():
        found = re.fullmatch(form, equation)
        if found:
            given, kernel, made = found.groups()
            if any(len(set(term)) < len(term) for term in found.groups()):
                raise ValueError(f"{who}: a letter comes twice in a term of {equation!r}")
            if set(made) - set(given + kernel):
                raise ValueError(f"{who}: an axis of the output of {equation!r} comes from nowhere")
            return given, kernel, made, left
    raise ValueError(
        f"{who}: expected an equation such as 'ab,bc->ac', '...b,bc->...c' or 'ab...,bc->ac...', "
        f"got {equation!r}"
    )


@registered.register()
class SpectralNormalization(Wrapper):
    """Divides a layer's kernel by its largest singular value in each step of training.

    Args:
        layer: Layer with a ``kernel`` or with ``embeddings``.
        power_iterations: int > 0, how often the estimate of the value is improved in a step.
        **kwargs: see `Layer`.

    Shapes:
        as ``layer``

    Raises:
        ValueError: a layer without a kernel.

    Reference:
        Miyato et al., 2018, arXiv:1802.05957.
    """

    def __init__(self, layer, power_iterations=1, **kwargs):
        super().__init__(layer, **kwargs)
        who = "SpectralNormalization"
        self.power_iterations = positive_int(who, "power_iterations", power_iterations)

    def build(self, input_shape):
        if not self.layer.built:
            build_inside(self.layer, input_shape)
        self._normalized()
        self.vector_u = self.add_weight(
            "vector_u",
            (1, int(self._normalized().shape[-1])),
            initializer=initializers.TruncatedNormal(stddev=0.02),
            trainable=False,
        )
        self.input_spec = InputSpec(shape=(None, *input_shape[1:]))
        self.built = True

    def _normalized(self):
        for name in ("kernel", "embeddings"):
            weight = getattr(self.layer, name, None)
            if weight is not None:
                return weight
        raise ValueError(f"{self._who}: {self.layer!r} has neither a kernel nor embeddings")

    def call(self, inputs, training=None):
        if training:
            with no_tape():
                self.normalize_weights()
        return self.layer(inputs)

    def normalize_weights(self):
        """Improve the estimate of the largest singular value and divide the kernel by it."""
        kernel = self._normalized()
        xp = arrays.module_of(kernel.array)
        rows = kernel.array.reshape((-1, kernel.shape[-1]))
        u = self.vector_u.array
        for _ in range(self.power_iterations):
            v = _unit(xp, u @ rows.T)
            u = _unit(xp, v @ rows)
        sigma = (v @ rows) @ u.T
        # Kernels of zeros stay as they are, and so does the estimate; nothing is read back.
        zero = xp.all(rows == 0)
        sigma = xp.where(zero, xp.ones_like(sigma), sigma)
        kernel.assign((rows / sigma).reshape(kernel.shape))
        self.vector_u.assign(xp.where(zero, self.vector_u.array, u))

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)

    def get_config(self):
        return {**super().get_config(), "power_iterations": self.power_iterations}


def _unit(xp, x):
    """Return ``x`` divided by its Euclidean norm, as TensorFlow's l2_normalize."""
    square = xp.sum(x * x, dtype=x.dtype)
    return x / xp.sqrt(xp.maximum(square, xp.asarray(1e-12, x.dtype)))

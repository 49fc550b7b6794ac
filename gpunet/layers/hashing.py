"""Layers that put strings and whole numbers into a fixed number of bins by hashing."""

import numpy as np

from gpunet.errors import ShapeError
from gpunet.layers.arguments import positive_int
from gpunet.layers.categories import HostLayer, encoded, encoded_shape, host_values
from gpunet.layers.hashes import fingerprint, joined, keyed
from gpunet.layers.preprocessing import _mode, _not_sparse
from gpunet.registry import layers as registered

__all__ = ["Hashing", "HashedCrossing"]

_START = 0xDECAFCAFFE  # TensorFlow's key of crossings


class _Bins(HostLayer):
    """Base of the layers that give numbers of bins."""

    def _take_bins(self, num_bins, output_mode, sparse, known=None):
        kind = type(self).__name__
        self.num_bins = positive_int(kind, "num_bins", num_bins)
        self.output_mode = _mode(kind, output_mode, ("int",))
        if known and self.output_mode not in known:
            raise ValueError(f"{kind}: expected output_mode in {known}, got {output_mode!r}")
        self.sparse = _not_sparse(kind, sparse)

    def _bins(self, numbers):
        if self.output_mode == "int":
            return self._tensor(numbers)
        return self._tensor(encoded(self._who, numbers, self.output_mode, self.num_bins))

    def _made_shape(self, shape):
        if self.output_mode == "int":
            return shape
        return encoded_shape(self._who, shape, self.output_mode, self.num_bins)


def _dtype(dtype, mode):
    if mode == "int":
        return dtype if str(dtype).startswith(("int", "uint")) else "int64"
    return dtype


def _bytes(value):
    return str(value).encode("utf8", "surrogateescape")


@registered.register()
class Hashing(_Bins):
    """Puts strings or whole numbers into bins by their hashes; computed on the host.

    Args:
        num_bins: int > 0.
        mask_value: value that gets bin 0, which no other one gets then.
        salt: int or pair of ints, the key of SipHash; None means FarmHash.
        output_mode: ``'int'``, ``'one_hot'``, ``'multi_hot'`` or ``'count'``.
        sparse: only False is available.
        **kwargs: see `Layer`.

    Shapes:
        any -> the same; other modes as `CategoryEncoding`

    Reference:
        Aumasson and Bernstein, 2012, SipHash, https://www.131002.net/siphash/siphash.pdf.
    """

    has_shape_rule = True

    def __init__(
        self, num_bins, mask_value=None, salt=None, output_mode="int", sparse=False, **kwargs
    ):
        super().__init__(dtype=_dtype(kwargs.pop("dtype", None), output_mode), **kwargs)
        self._take_bins(num_bins, output_mode, sparse)
        self.mask_value = mask_value
        salt = [salt, salt] if isinstance(salt, (int, np.integer)) else salt
        if salt is not None and (not isinstance(salt, (list, tuple)) or len(salt) != 2):
            raise ValueError(f"Hashing: expected salt to be an int or two ints, got {salt!r}")
        self.salt = None if salt is None else [int(k) for k in salt]

    def call(self, inputs):
        values = host_values(self._who, inputs)
        masked = self.mask_value is not None and self.num_bins > 1
        bins = self.num_bins - masked
        found = {}
        for value in set(values.reshape(-1).tolist()):
            text = _bytes(value)
            number = fingerprint(text) if self.salt is None else keyed(text, self.salt)
            found[value] = number % bins + masked
        if masked:
            found[self.mask_value] = 0
        numbers = [found[value] for value in values.reshape(-1).tolist()]
        return self._bins(np.array(numbers, "int64").reshape(values.shape))

    def compute_output_shape(self, input_shape):
        return self._made_shape(input_shape)


@registered.register()
class HashedCrossing(_Bins):
    """Puts combinations of two or more values into bins by their hashes, on the host.

    Args:
        num_bins: int > 0.
        output_mode: ``'int'`` or ``'one_hot'``.
        sparse: only False is available.
        **kwargs: see `Layer`.

    Shapes:
        list of (), (batch,) or (batch, 1) -> the same as one; one_hot: (batch, num_bins)

    Raises:
        ShapeError: inputs of other or different shapes.
    """

    has_shape_rule = True

    def __init__(self, num_bins, output_mode="int", sparse=False, **kwargs):
        super().__init__(dtype=_dtype(kwargs.pop("dtype", None), output_mode), **kwargs)
        self._take_bins(num_bins, output_mode, sparse, ("int", "one_hot"))

    def call(self, inputs):
        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            raise ValueError(f"{self._who}: expected a list of two or more inputs, got {inputs!r}")
        values = [host_values(self._who, v) for v in inputs]
        self.compute_output_shape([v.shape for v in values])
        numbers = np.empty(values[0].size, "int64")
        for i, combined in enumerate(zip(*(v.reshape(-1).tolist() for v in values), strict=True)):
            number = _START
            for value in combined:
                whole = isinstance(value, int)
                number = joined(number, value % 2**64 if whole else fingerprint(_bytes(value)))
            numbers[i] = number % self.num_bins
        return self._bins(numbers.reshape(values[0].shape))

    def compute_output_shape(self, input_shape):
        first, *others = map(tuple, input_shape)
        if len(first) > 2 or first[1:] not in ((), (1,)) or any(s != first for s in others):
            raise ShapeError(
                f"{self._who}: expected inputs of one shape (), (batch,) or (batch, 1), "
                f"got {[first, *others]}"
            )
        return self._made_shape(first)

"""NumPy's functions on tensors, and tensors shared with other libraries."""

import numpy as np
import pytest

import gpunet
from gpunet import GradientTape, Input, Model
from gpunet import backend as K

X = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")
W = np.random.default_rng(1).standard_normal((3, 2)).astype("float32")

CALLS = {
    "concatenate": lambda x: np.concatenate([x, 2 * x], axis=1),
    "concatenate_flat": lambda x: np.concatenate([x, x], axis=None),
    "stack": lambda x: np.stack([x, x + 1], axis=1),
    "sum": lambda x: np.sum(x, axis=1, keepdims=True),
    "mean": lambda x: np.mean(x, axis=-1),
    "max": lambda x: np.max(x, axis=1),
    "prod": lambda x: np.prod(x, axis=1),
    "std": lambda x: np.std(x, axis=1),
    "var": lambda x: np.var(x, axis=1),
    "cumsum": lambda x: np.cumsum(x, axis=1),
    "clip": lambda x: np.clip(x, -0.5, 0.5),
    "where": lambda x: np.where(x > 0, x, 0.1 * x),
    "dot": lambda x: np.dot(x, W),
    "matmul": lambda x: np.matmul(x, W),
    "tensordot": lambda x: np.tensordot(x, W, axes=1),
    "einsum": lambda x: np.einsum("ij,jk->ik", x, W),
    "reshape": lambda x: np.reshape(x, (-1, 3, 1)),
    "ravel": lambda x: np.ravel(x),
    "transpose": lambda x: np.transpose(x, (1, 0)),
    "expand_dims": lambda x: np.squeeze(np.expand_dims(x, 1), axis=1),
    "pad": lambda x: np.pad(x, ((0, 0), (1, 2))),
    "split": lambda x: np.split(x, 3, axis=1)[1],
    "flip": lambda x: np.flip(x, axis=1),
    "take": lambda x: np.take(x, [2, 0], axis=1),
    "exp": lambda x: np.exp(np.maximum(x, 0.0)) * np.float64(2),
    "zeros_like": lambda x: np.zeros_like(x) + x,
    "array_first": lambda x: np.ones(3, "float32") * x - x,
}


@pytest.mark.parametrize("name", CALLS)
def test_as_numpy(name):
    call, want = CALLS[name], CALLS[name](X)
    np.testing.assert_allclose(np.asarray(call(K.constant(X))), want, rtol=1e-5, atol=1e-6)
    inputs = Input((3,))
    y = call(inputs)
    assert len(y.shape) == want.ndim
    np.testing.assert_allclose(Model(inputs, y)(X).numpy(), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CALLS)
def test_gradients_pass_through(name):
    x, call = K.constant(X), CALLS[name]
    with GradientTape() as tape:
        tape.watch(x)
        y = call(x)
        total = K.sum(K.square(y))
    slope = tape.gradient(total, x).numpy()
    step = 1e-2 * np.random.default_rng(2).standard_normal(X.shape)
    up, down = (np.sum(call(X.astype("float64") + s * step) ** 2) for s in (1, -1))
    assert up - down == pytest.approx(2 * np.sum(slope * step), rel=0.05, abs=1e-4)


def test_outside_of_tapes_they_give_arrays():
    x = K.constant(X)
    assert type(np.concatenate([x, X])) is np.ndarray and type(np.argmax(x, axis=1)) is np.ndarray
    made = np.stack([x, x])
    made[0, 0] = 7  # of their own
    np.testing.assert_array_equal(x.numpy(), X)
    np.testing.assert_allclose(np.percentile(x, 50), np.percentile(X, 50), rtol=1e-6)
    assert np.linalg.norm(x) == pytest.approx(np.linalg.norm(X))
    assert np.isnan(x).any().item() is False and np.allclose(x, X) and np.shape(x) == (4, 3)
    assert round(x[0, 0], 1) == round(float(X[0, 0]), 1)
    assert [v.numpy() for v in (x.std(), x.argmax(axis=0)[0], x.prod())] == pytest.approx(
        [X.std(), X.argmax(axis=0)[0], X.prod()], rel=1e-5
    )


def test_what_has_no_graph_form():
    x = Input((3,))
    with pytest.raises(TypeError, match="np.sort: .*symbolic.*gpunet.backend"):
        np.sort(x)
    with pytest.raises(TypeError, match="np.concatenate of a tensor: .*casting"):
        np.concatenate([x, x], casting="no")
    with pytest.raises(TypeError, match="np.pad of a tensor: expected mode 'constant'"):
        np.pad(x, 1, mode="edge")


@pytest.mark.parametrize("make", [K.constant, K.variable])
def test_dlpack(make):
    x = make(X)
    shared = np.from_dlpack(x)
    np.testing.assert_array_equal(shared, X)
    assert np.shares_memory(shared, x.array) and x.__dlpack_device__()[0] == 1
    assert not hasattr(x, "__cuda_array_interface__")

    class Other:
        """Another library's array."""

        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    back = gpunet.convert_to_tensor(Other(shared))
    assert np.shares_memory(back.array, x.array)
    np.testing.assert_array_equal(K.square(Other(X)).numpy(), X**2)

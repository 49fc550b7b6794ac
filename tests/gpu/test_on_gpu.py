"""The same programs on a GPU and on the CPU: ops, kernels, optimizers, models.

All need a CUDA device; `benchmarks/gpu_check.sh` runs them where there is one.
"""

import importlib
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import config, layers, optimizers
from gpunet.autodiff import GradientTape
from gpunet.tensor import Tensor

pytestmark = pytest.mark.gpu

OPS = Path(__file__).resolve().parents[1] / "ops"
CASES = [
    case
    for path in sorted(OPS.glob("*_cases.py"))
    for case in importlib.import_module(path.stem).CASES
]


@pytest.fixture(autouse=True)
def as_it_was():
    """Products without tensor cores, so that both devices give the same numbers."""
    before = config.precision()
    config.set_precision("strict")
    yield
    config.set_precision(before)
    config.set_fused(True)


def gradients(case, device, arrays, gy=None):
    """Return the outputs of a case and the gradients of its float inputs, as host arrays."""
    with gpunet.device(device):
        inputs = [a if a is None or np.isscalar(a) else gpunet.convert_to_tensor(a) for a in arrays]
        floats = [inputs[i] for i in case.floats(arrays)]
        with GradientTape() as tape:
            for t in floats:
                tape.watch(t)
            y = case.op(*inputs, **case.options)
            outputs = y if isinstance(y, tuple) else (y,)
            if gy is None:
                rng = np.random.default_rng(5)
                gy = [rng.standard_normal(o.shape).astype(o.dtype) for o in outputs]
            kinds = [np.dtype(o.dtype).kind for o in outputs]
            total = None
            for o, g, kind in zip(outputs, gy, kinds):
                if kind == "f":
                    part = gpunet.ops.sum(o * gpunet.convert_to_tensor(g))
                    total = part if total is None else total + part
        found = [o.numpy() for o in outputs]
        if case.op.pull is not None and total is not None and floats:
            found += [None if g is None else np.asarray(g) for g in tape.gradient(total, floats)]
    return found, gy


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_op(case, fused, dtype):
    config.set_fused(fused)
    arrays = case.arrays(dtype)
    wanted, gy = gradients(case, "cpu", arrays)
    got, _ = gradients(case, "gpu", arrays, gy)
    tolerance = {"float64": 1e-9, "float32": 2e-4}[dtype]
    for a, b in zip(got, wanted, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def updated(make, device):
    rng = np.random.default_rng(0)
    with gpunet.device(device):
        optimizer = make()
        weights = [
            gpunet.Variable(rng.standard_normal(s).astype("float32")) for s in [(70, 30), (9,)]
        ]
        for _ in range(5):
            gradients = [rng.standard_normal(w.shape).astype("float32") for w in weights]
            optimizer.apply(weights, [gpunet.convert_to_tensor(g) for g in gradients])
        return [w.numpy() for w in weights]


@pytest.mark.parametrize(
    "make",
    [
        lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        lambda: optimizers.RMSprop(0.01, centered=True),
        lambda: optimizers.Adagrad(0.1),
        lambda: optimizers.Adadelta(1.0),
        lambda: optimizers.Adam(0.01, amsgrad=True, clipnorm=1.0),
        lambda: optimizers.Adamax(0.01),
        lambda: optimizers.Nadam(0.01),
        lambda: optimizers.Ftrl(0.1),
    ],
    ids=["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax", "nadam", "ftrl"],
)
def test_optimizer(make):
    for a, b in zip(updated(make, "gpu"), updated(make, "cpu")):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def mlp():
    return [layers.Dense(32, "relu"), layers.BatchNormalization(), layers.Dense(4, "softmax")]


def cnn():
    return [
        layers.Reshape((6, 6, 1)),
        layers.Conv2D(5, 3, activation="relu", padding="same"),
        layers.MaxPooling2D(),
        layers.Conv2D(3, 3),
        layers.GlobalAveragePooling2D(),
        layers.Dense(4, "softmax"),
    ]


def recurrent(layer, **options):
    return lambda: [
        layers.Reshape((9, 4)),
        layers.Masking(),
        layers.Bidirectional(layer(7, return_sequences=True, **options)),
        layer(5, **options),
        layers.Dense(4, "softmax"),
    ]


MODELS = {
    "mlp": mlp,
    "cnn": cnn,
    "lstm": recurrent(layers.LSTM),
    "gru": recurrent(layers.GRU),
    "gru_after": recurrent(layers.GRU, reset_after=True),
    "simple_rnn": recurrent(layers.SimpleRNN),
}


def trained(make, device, weights=None):
    """Return (weights at the start, losses, weights at the end, predictions)."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((50, 36)).astype("float32")
    x[::3, 12:] = 0  # masked steps
    y = np.eye(4, dtype="float32")[rng.integers(0, 4, 50)]
    with gpunet.device(device):
        gpunet.utils.set_random_seed(0)
        model = gpunet.Sequential([layers.InputLayer(input_shape=(36,)), *make()])
        if weights is not None:
            model.set_weights(weights)
        start = model.get_weights()
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0).history
        return start, history, model.get_weights(), model.predict(x)


@pytest.mark.parametrize("name", MODELS)
def test_training(name):
    start, history, weights, predictions = trained(MODELS[name], "cpu")
    _, on_gpu, weights_on_gpu, predictions_on_gpu = trained(MODELS[name], "gpu", start)
    np.testing.assert_allclose(on_gpu["loss"], history["loss"], rtol=1e-3)
    for a, b in zip(weights_on_gpu, weights):
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(predictions_on_gpu, predictions, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", ["mlp", "lstm"])
def test_same_bits_every_time(name):
    first, second = (trained(MODELS[name], "gpu") for _ in range(2))
    np.testing.assert_array_equal(first[3], second[3])


def test_memory_is_given_back():
    import cupy

    pool = cupy.get_default_memory_pool()
    with gpunet.device("gpu"):
        trained(mlp, "gpu")
        before = pool.used_bytes()
        for _ in range(3):
            trained(mlp, "gpu")
        assert pool.used_bytes() <= before * 1.1 + 1e6


def test_arrays_stay_on_their_device():
    import cupy

    with gpunet.device("gpu"):
        t = gpunet.convert_to_tensor(np.ones((3, 3), "float32"))
        y = gpunet.ops.matmul(t, Tensor(cupy.eye(3, dtype="float32")))
    assert isinstance(y.array, cupy.ndarray)
    np.testing.assert_array_equal(y.numpy(), 1)

"""Layers that compute in float16 with weights in float32, and losses that are scaled for it."""

import copy
import json
import pickle
import warnings
from pathlib import Path

import fake_device
import numpy as np
import pytest

import gpunet
from gpunet import GradientTape, layers, mixed_precision, ops, optimizers
from gpunet.mixed_precision import LossScaleOptimizer, Policy, experimental, policy
from gpunet.models import load_model
from gpunet.variables import Variable

FIXTURES = Path(__file__).parent / "fixtures" / "keras"
MIXED = json.loads((FIXTURES / "mixed.json").read_text(encoding="utf8"))


@pytest.fixture(autouse=True)
def as_before():
    yield
    mixed_precision.set_global_policy(None)


def small(**options):
    mixed_precision.set_global_policy("mixed_float16")
    return gpunet.Sequential([
        layers.Dense(5, activation="relu", input_shape=(3,), **options),
        layers.Dense(2, dtype="float32"),
    ])  # fmt: skip


# -- policies -----------------------------------------------------------------------------


def test_names():
    for name, compute, variable in [
        ("mixed_float16", "float16", "float32"), ("mixed_bfloat16", "bfloat16", "float32"),
        ("float64", "float64", "float64"), ("int32", "int32", "int32"), ("_infer", None, None),
    ]:  # fmt: skip
        p = Policy(name)
        assert (p.name, p.compute_dtype, p.variable_dtype) == (name, compute, variable)
        assert Policy.from_config(p.get_config()) == p and hash(p) == hash(Policy(name))
    assert repr(Policy("mixed_float16")) == '<Policy "mixed_float16">'
    assert Policy("float32") != Policy("float16")
    with pytest.raises(ValueError, match="Cannot convert value foo to a mixed precision Policy"):
        Policy("foo")
    for wrong in (np.float32, np.dtype("float32"), 3, None):
        with pytest.raises(TypeError, match="'name' must be a string"):
            Policy(wrong)


def test_global_policy():
    assert mixed_precision.global_policy() == Policy("float32")
    mixed_precision.set_global_policy("mixed_float16")
    layer, own = layers.Dense(1), layers.Dense(1, dtype="float64")
    assert (layer.dtype, layer.compute_dtype, layer.variable_dtype) == (
        "float32", "float16", "float32",
    )  # fmt: skip
    assert layer.dtype_policy is mixed_precision.global_policy()
    assert (own.dtype, own.compute_dtype) == ("float64", "float64")
    assert layers.Input((2,)).dtype == "float32"
    mixed_precision.set_global_policy(Policy("float64"))
    assert layers.Dense(1).dtype == "float64"
    for wrong in ("int32", "_infer"):
        with pytest.raises(ValueError, match="floating-point"):
            mixed_precision.set_global_policy(wrong)
    assert mixed_precision.global_policy() == Policy("float64")


@pytest.mark.parametrize(
    "dtype",
    [
        "mixed_float16",
        Policy("mixed_float16"),
        {"class_name": "Policy", "config": {"name": "mixed_float16"}},
        {"class_name": "PolicyV1", "config": {"name": "mixed_float16", "loss_scale": None}},
        {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"}},
    ],
)
def test_of_a_layer(dtype):
    layer = layers.Dense(2, dtype=dtype)
    assert layer(np.ones((1, 3), "float32")).dtype == "float16"
    assert {w.dtype.name for w in layer.weights} == {"float32"}
    written = layer.get_config()["dtype"]
    assert written == MIXED["cases"]["dense"]["dtype_config"]
    made = layers.Dense.from_config(json.loads(json.dumps(layer.get_config())))
    assert made.compute_dtype == "float16" and made.dtype_policy == layer.dtype_policy
    assert copy.deepcopy(layer).compute_dtype == "float16"


def test_bfloat16_computes_in_float32(monkeypatch):
    monkeypatch.setattr(policy, "_warned", False)
    with pytest.warns(UserWarning, match="bfloat16 isn't available"):
        layer = layers.Dense(2, dtype="mixed_bfloat16")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layers.Dense(2, dtype="mixed_bfloat16")
    assert layer(np.ones((1, 3), "float32")).dtype == layer.compute_dtype == "float32"
    assert layer.dtype_policy == Policy("mixed_bfloat16")
    assert layer.get_config()["dtype"]["config"] == {"name": "mixed_bfloat16"}
    model = gpunet.Sequential([layer])
    model.compile("sgd", "mse")
    assert not isinstance(model.optimizer, LossScaleOptimizer)


# -- layers -------------------------------------------------------------------------------


def test_own_layers_see_weights_in_the_type_they_compute_in():
    seen = []

    class Own(layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight("w", (3,), initializer="ones")
            self.count = self.add_weight("n", (2,), dtype="int32", initializer="zeros")
            super().build(input_shape)

        def call(self, x):
            seen.append([t.dtype.name for t in (x, self.w + 1.0, self.count + 1, ops.sum(self.w))])
            return x * self.w

    layer = Own(dtype="mixed_float16")
    x = layers.Input((3,))
    assert layer(x).dtype == "float16"
    with GradientTape() as tape:
        y = ops.sum(layer(np.full((2, 3), 2.0, "float32")))
    assert seen[1:] == seen[:1] * (len(seen) - 1)
    assert seen[0] == ["float16", "float16", "int32", "float16"]
    gradient = tape.gradient(y, layer.w)
    assert (y.dtype, gradient.dtype, gradient.tolist()) == ("float16", "float32", [4, 4, 4])
    assert (layer.w + 1.0).dtype == "float32"


def test_layers_inside_of_layers_have_their_own_type():
    class Outer(gpunet.Model):
        def __init__(self):
            super().__init__(dtype="mixed_float16")
            self.half = layers.Dense(3, dtype="mixed_float16")
            self.whole = layers.Dense(3, dtype="float32")
            x = layers.Input((3,))
            self.graph = gpunet.Model(x, layers.Dense(2, dtype="float32")(x))

        def call(self, x):
            half = self.half(x)
            return half, self.whole(half), self.graph(half), half * self.half.kernel[0]

    y = Outer()(np.ones((1, 3), "float32"))
    assert [t.dtype for t in y] == ["float16", "float32", "float32", "float16"]


IMAGE, STEPS, FLAT = (4, 4, 2), (5, 4), (6,)
BUILT_IN = [
    (lambda: layers.Conv2D(3, 2, activation="relu"), IMAGE),
    (lambda: layers.Conv2DTranspose(3, 2, strides=2), IMAGE),
    (lambda: layers.DepthwiseConv2D(2), IMAGE),
    (lambda: layers.SeparableConv2D(3, 2), IMAGE),
    (lambda: layers.LocallyConnected2D(3, 2), IMAGE),
    (lambda: layers.MaxPooling2D(), IMAGE),
    (lambda: layers.AveragePooling2D(), IMAGE),
    (lambda: layers.GlobalAveragePooling2D(), IMAGE),
    (lambda: layers.UpSampling2D(interpolation="bilinear"), IMAGE),
    (lambda: layers.ZeroPadding2D(), IMAGE),
    (lambda: layers.BatchNormalization(), IMAGE),
    (lambda: layers.LayerNormalization(), STEPS),
    (lambda: layers.GroupNormalization(1), IMAGE),
    (lambda: layers.UnitNormalization(), FLAT),
    (lambda: layers.Conv1D(3, 2, padding="causal"), STEPS),
    (lambda: layers.LSTM(3, return_sequences=True), STEPS),
    (lambda: layers.LSTM(3, recurrent_dropout=0.5), STEPS),
    (lambda: layers.GRU(3), STEPS),
    (lambda: layers.GRU(3, reset_after=True, go_backwards=True), STEPS),
    (lambda: layers.SimpleRNN(3), STEPS),
    (lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]), STEPS),
    (lambda: layers.Bidirectional(layers.LSTM(3)), STEPS),
    (lambda: layers.TimeDistributed(layers.Dense(3)), STEPS),
    (lambda: layers.ConvLSTM2D(2, 2), (3, *IMAGE)),
    (lambda: layers.MultiHeadAttention(2, 3), STEPS),
    (lambda: layers.Attention(use_scale=True), STEPS),
    (lambda: layers.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d"), STEPS),
    (lambda: layers.PReLU(), FLAT),
    (lambda: layers.LeakyReLU(), FLAT),
    (lambda: layers.ELU(), FLAT),
    (lambda: layers.Softmax(), FLAT),
    (lambda: layers.Activation("swish"), FLAT),
    (lambda: layers.Dropout(0.5), FLAT),
    (lambda: layers.GaussianNoise(0.5), FLAT),
    (lambda: layers.AlphaDropout(0.5), FLAT),
    (lambda: layers.Lambda(lambda x: x * 2.0), FLAT),
    (lambda: layers.Flatten(), STEPS),
    (lambda: layers.Reshape((2, 3)), FLAT),
    (lambda: layers.Masking(), STEPS),
    (lambda: layers.Embedding(9, 3), FLAT),
    (lambda: layers.Rescaling(0.5), IMAGE),
    (lambda: layers.Normalization(mean=1.0, variance=2.0), FLAT),
    (lambda: layers.SpectralNormalization(layers.Dense(3)), FLAT),
]


UNRECORDED = (layers.Lambda, layers.Normalization, layers.SpectralNormalization)


@pytest.mark.parametrize("case", BUILT_IN, ids=range(len(BUILT_IN)))
def test_built_in_layers(case):
    make, shape = case
    mixed_precision.set_global_policy("mixed_float16")
    layer, x = make(), layers.Input(shape)
    args = [x, x] if isinstance(layer, layers.MultiHeadAttention) else [x]
    args = [[x, x]] if isinstance(layer, layers.Attention) else args
    symbolic = layer(*args)
    assert symbolic.dtype == "float16"
    assert {w.dtype.name for w in layer.weights} <= {"float32"}
    head = layers.Dense(1, dtype="float32")(layers.Flatten()(symbolic))
    model = gpunet.Model(x, [symbolic, head])
    values = np.arange(3 * np.prod(shape)).reshape(3, *shape).astype("float32") % 9
    assert [y.dtype for y in model(values)] == ["float16", "float32"]
    model = gpunet.Model(x, head)
    model.compile("sgd", "mse")
    before = [w.numpy() for w in layer.trainable_weights]
    for _ in range(3):  # as it is, recorded, replayed
        loss = model.train_on_batch(values, np.ones((3, 1)))
    assert np.isfinite(loss)
    if type(layer) not in UNRECORDED:
        assert model._plan.steps.train.reason is None
    assert all(np.isfinite(w.numpy()).all() for w in layer.weights)
    assert len(before) == len(layer.trainable_weights)


@pytest.mark.parametrize("name", MIXED["cases"])
def test_numbers_of_the_real_keras(name):
    case, shape = MIXED["cases"][name], MIXED["sizes"][name]
    x = np.sin(np.arange(np.prod(shape)) * 0.7).reshape(shape).astype("float32")
    y = np.arange(shape[0]) % 3
    model = load_model(FIXTURES / f"mixed_{name}.h5")
    assert [layer.output.dtype.name for layer in model.layers] == case["dtypes"]
    assert {w.dtype.name for w in model.weights} == {"float32"}
    np.testing.assert_allclose(model.predict(x), case["prediction"], atol=2e-3)
    optimizer = model.optimizer
    assert isinstance(optimizer, LossScaleOptimizer) and optimizer.initial_scale == 1024
    for i in range(MIXED["steps"]):
        part = slice(i % 2 * 16, i % 2 * 16 + 16)
        loss = model.train_on_batch(x[part], y[part])
        np.testing.assert_allclose(loss, case["losses"][i], rtol=5e-3)
        assert float(optimizer.loss_scale) == case["scales"][i]
    np.testing.assert_allclose(model.predict(x), case["after"], atol=1e-2)
    assert int(optimizer.iterations) == MIXED["steps"]


def test_files(tmp_path):
    model = small()
    model.compile(LossScaleOptimizer(optimizers.Adam(), initial_scale=64), "mse")
    x, y = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "m.h5")
    mixed_precision.set_global_policy(None)
    read = load_model(tmp_path / "m.h5")
    assert [layer.compute_dtype for layer in read.layers] == ["float16", "float32"]
    np.testing.assert_array_equal(read.predict(x), model.predict(x))
    assert int(read.optimizer.iterations) == 1
    for a, b in zip(read.optimizer.get_weights(), model.optimizer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert gpunet.models.model_from_json(model.to_json()).layers[0].compute_dtype == "float16"
    assert copy.deepcopy(model).layers[0].compute_dtype == "float16"


# -- scaled losses ------------------------------------------------------------------------


def test_compile_scales_losses():
    model = small()
    model.compile("sgd", "mse")
    assert isinstance(model.optimizer, LossScaleOptimizer) and model.optimizer.dynamic
    own = LossScaleOptimizer(optimizers.SGD(0.5), dynamic=False, initial_scale=8)
    model.compile(own, "mse")
    assert model.optimizer is own
    mixed_precision.set_global_policy("float32")
    model = gpunet.Sequential([layers.Dense(1)])
    model.compile("sgd", "mse")
    assert not isinstance(model.optimizer, LossScaleOptimizer)


def test_attributes_are_those_of_the_inner_optimizer():
    inner = optimizers.SGD(0.5, momentum=0.25)
    outer = LossScaleOptimizer(inner)
    assert isinstance(outer, optimizers.Optimizer) and outer.inner_optimizer is inner
    assert float(outer.lr) == 0.5 and float(outer.momentum) == 0.25 and outer.name == "SGD"
    outer.lr, outer.momentum, outer.clipnorm = 0.125, 0.5, 2.0
    assert float(inner.lr) == 0.125 and float(inner.momentum) == 0.5 and inner.clipnorm == 2.0
    outer.iterations = 3
    assert int(inner.iterations) == 3
    w = Variable(np.ones(2, "float32"), name="w:0")
    outer.build([w])
    assert outer.weight_names == inner.weight_names and outer.get_slot_names() == ["momentum"]
    assert outer.get_slot(w, "momentum").shape == (2,)
    with pytest.raises(AttributeError, match="nothing"):
        outer.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"dynamic": False}, ValueError, '"initial_scale" must be specified'),
        (
            {"dynamic": False, "initial_scale": 2, "dynamic_growth_steps": 3},
            ValueError,
            "must be N",
        ),
        ({"initial_scale": 0}, ValueError, "initial_scale > 0"),
        ({"initial_scale": float("nan")}, ValueError, "initial_scale > 0"),
        ({"dynamic_growth_steps": 0}, ValueError, "dynamic_growth_steps >= 1"),
    ],
)
def test_wrong_options(options, error, text):
    with pytest.raises(error, match=text):
        LossScaleOptimizer(optimizers.SGD(), **options)
    with pytest.raises(TypeError, match="can't wrap another"):
        LossScaleOptimizer(LossScaleOptimizer(optimizers.SGD()))
    with pytest.raises(TypeError, match="to be an optimizer"):
        LossScaleOptimizer("sgd")


def steps_of(optimizer, grads, device=None):
    """Make steps on one weight; return its values, the scales and the counters after each."""
    w = Variable(np.array([1.0, 2.0], "float32"), name="w")
    rows = []
    for g in grads:
        g = np.array(g, "float32")
        optimizer.apply_gradients([(device.xp.asarray(g) if device else g, w)])
        read = fake_device.to_host if device else np.copy
        counter = optimizer.dynamic_counter
        state = [w.array, optimizer.loss_scale.array, counter.array, optimizer.iterations.array]
        rows.append([read(a).tolist() for a in state])
    return rows


GRADS = [[1, 1], [np.inf, 1], [1, 1], [2, 1], [np.nan, np.nan], [1, 1]]


@pytest.mark.parametrize("on_device", [False, True])
def test_steps_with_gradients_that_are_not_finite_are_left_out(on_device):
    def make():
        return LossScaleOptimizer(optimizers.SGD(0.5), initial_scale=8, dynamic_growth_steps=2)

    if on_device:
        with fake_device.fake_device() as device:
            rows = steps_of(make(), GRADS, device)
    else:
        rows = steps_of(make(), GRADS)
    assert [row[0] for row in rows] == [
        [0.5, 1.5], [0.5, 1.5], [0.0, 1.0], [-1.0, 0.5], [-1.0, 0.5], [-1.5, 0.0],
    ]  # fmt: skip
    assert [row[1] for row in rows] == [8, 4, 4, 8, 4, 4]
    assert [row[2] for row in rows] == [1, 0, 1, 0, 0, 1]
    assert [row[3] for row in rows] == [1, 1, 2, 3, 3, 4]


@pytest.mark.parametrize("kind", ["SGD", "Adam", "RMSprop", "Nadam", "Adagrad", "Ftrl"])
def test_left_out_steps_leave_all_state_alone_on_a_device(kind):
    with fake_device.fake_device() as device:
        optimizer = LossScaleOptimizer(optimizers.get(kind))
        w = Variable(np.ones((2, 3), "float32"), name="w")
        good, bad = (device.xp.asarray(np.full((2, 3), v, "float32")) for v in (0.5, np.inf))
        optimizer.apply([w], [good])
        before = [fake_device.to_host(v.array) for v in [w, *optimizer.weights]]
        with fake_device.capture():
            optimizer.apply([w], [bad])
        after = [fake_device.to_host(v.array) for v in [w, *optimizer.weights]]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_on_a_device_reads_nothing():
    with fake_device.fake_device() as device:
        model = small()
        model.compile("adam", "mse")
        x, y = (np.ones((4, n), "float32") for n in (3, 2))
        for _ in range(3):
            model.train_on_batch(x, y)
        assert device.kind == "fake" and model._plan.steps.train.reason is None


def test_fixed_scale_makes_every_step():
    optimizer = LossScaleOptimizer(optimizers.SGD(1.0), dynamic=False, initial_scale=4)
    assert optimizer.dynamic_counter is None and optimizer.dynamic_growth_steps is None
    w = Variable(np.ones(1, "float32"), name="w")
    optimizer.apply([w], [np.array([np.inf], "float32")])
    assert w.numpy() == -np.inf and float(optimizer.loss_scale) == 4


def test_small_gradients_survive():
    """1e-8 is 0 in float16, 32768 times as much isn't."""
    mixed_precision.set_global_policy("mixed_float16")
    moved = []
    for optimizer in (optimizers.SGD(1e6), LossScaleOptimizer(optimizers.SGD(1e6))):
        layer = layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        layer.build((None, 1))
        x = np.ones((1, 1), "float32")
        optimizer.minimize(lambda f=layer, x=x: ops.mean(f(x)) * 1e-4 * 1e-4, [layer.kernel])
        moved.append(float(layer.kernel.numpy()[0, 0]))
    assert moved[0] == 0 and moved[1] == pytest.approx(-0.01, rel=0.05)


def test_a_loop_of_ones_own():
    optimizer = LossScaleOptimizer(optimizers.SGD(0.5), initial_scale=16)
    w = Variable(np.array([2.0], "float32"), name="w")
    with GradientTape() as tape:
        loss = optimizer.get_scaled_loss(ops.sum(w * w))
    assert float(loss) == 64 and optimizer.get_scaled_loss(lambda: ops.sum(w))().numpy() == 32
    grads = tape.gradient(loss, [w])
    assert grads[0].tolist() == [64]
    grads = optimizer.get_unscaled_gradients(grads)
    assert grads[0].tolist() == [4] and optimizer.get_unscaled_gradients([None]) == [None]
    optimizer.apply_gradients(zip(grads, [w]))
    assert w.tolist() == [0]
    with GradientTape() as tape:
        loss = ops.sum(w + 1.0)
    optimizer.minimize(loss, [w], tape=tape)
    assert w.tolist() == [-0.5]


def test_own_train_step_is_scaled():
    class Own(gpunet.Model):
        def train_step(self, data):
            return super().train_step(data)

    mixed_precision.set_global_policy("mixed_float16")
    x = layers.Input((3,))
    model = Own(x, layers.Dense(1, dtype="float32")(layers.Dense(4)(x)))
    model.compile(LossScaleOptimizer(optimizers.SGD(), initial_scale=64), "mse")
    history = model.fit(np.ones((8, 3)), np.ones((8, 1)), epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0] and int(model.optimizer.iterations) == 5


def test_no_warnings_where_numbers_overflow():
    model = small()
    model.compile(LossScaleOptimizer(optimizers.SGD(), initial_scale=2.0**60), "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            model.train_on_batch(np.ones((4, 3)), np.full((4, 2), 100.0))
    assert float(model.optimizer.loss_scale) == 2.0**56 and int(model.optimizer.iterations) == 0


@pytest.mark.parametrize("legacy", [True, False])
def test_configs(legacy):
    inner = optimizers.Adam(0.25, is_legacy_optimizer=legacy)
    optimizer = LossScaleOptimizer(inner, initial_scale=64, dynamic_growth_steps=7)
    config = json.loads(json.dumps(optimizers.serialize(optimizer)))
    assert config["class_name"] == "LossScaleOptimizer" + "V3" * (not legacy)
    made = optimizers.deserialize(config)
    assert type(made) is type(optimizer) and made.get_config() == optimizer.get_config()
    assert float(made.lr) == 0.25 and float(made.loss_scale) == 64
    optimizer.iterations = 5
    again = pickle.loads(pickle.dumps(optimizer))
    assert again.get_config() == optimizer.get_config() and int(again.iterations) == 5
    fixed = LossScaleOptimizer(inner, dynamic=False, initial_scale=2)
    assert optimizers.deserialize(optimizers.serialize(fixed)).get_config() == fixed.get_config()


# -- older names --------------------------------------------------------------------------


def test_experimental_names():
    experimental.set_policy(experimental.Policy("mixed_float16", loss_scale=32))
    assert experimental.global_policy().loss_scale == 32
    model = gpunet.Sequential([layers.Dense(1, input_shape=(2,))])
    assert experimental.get_layer_policy(model.layers[0]).compute_dtype == "float16"
    model.compile("sgd", "mse")
    assert not model.optimizer.dynamic and model.optimizer.initial_scale == 32
    experimental.set_policy("mixed_float16")
    assert experimental.global_policy().loss_scale == "dynamic"
    scale = experimental.DynamicLossScale(16, increment_period=3)
    made = experimental.LossScaleOptimizer(optimizers.SGD(), scale)
    assert (made.initial_scale, made.dynamic_growth_steps) == (16, 3)
    made = experimental.LossScaleOptimizer(optimizers.SGD(), experimental.FixedLossScale(8))
    assert not made.dynamic and made.initial_scale == 8
    with pytest.raises(ValueError, match="'dynamic' or a number"):
        experimental.LossScaleOptimizer(optimizers.SGD(), "large")
    with pytest.raises(ValueError, match="multiplier of 2"):
        experimental.LossScaleOptimizer(
            optimizers.SGD(), experimental.DynamicLossScale(multiplier=4)
        )


def test_configs_of_older_versions():
    inner = {"class_name": "SGD", "config": {"learning_rate": 0.5}}
    scale = {"class_name": "DynamicLossScale", "config": {"initial_loss_scale": 4.0,
             "increment_period": 5, "multiplier": 2.0}}  # fmt: skip
    config = {"class_name": "LossScaleOptimizer", "config": {"optimizer": inner,
              "loss_scale": scale}}  # fmt: skip
    made = optimizers.deserialize(config)
    assert (made.initial_scale, made.dynamic_growth_steps, float(made.lr)) == (4, 5, 0.5)

"""Lines of recordings that are joined: the same bits, no stale weights, and what isn't joined."""

import numpy as np
import pytest

import gpunet
from gpunet import backend as K
from gpunet import layers, models, ops, threads
from gpunet.autodiff import Recorded
from gpunet.tensor import Tensor
from gpunet.variables import Variable

RNG = np.random.default_rng(5)


def floats(*shape, dtype="float32"):
    return RNG.normal(size=shape).astype(dtype)


def shaken(model):
    """Give all weights of a model other values, variances above 0."""
    model.set_weights([0.5 + 0.3 * abs(floats(*w.shape)) for w in model.get_weights()])
    return model


def source(model):
    (replay,) = [r for r in model._plan.steps.predict._replays.values() if r is not None]
    return replay.source


def predicted(model, x):
    """Return what a recording gives, and what the layers themselves give."""
    for _ in range(3):
        got = model.predict(x)
    with threads.steady():  # as in `predict`: subnormal numbers count as zero
        want = model(x)
    return got, [t.numpy() for t in want] if isinstance(got, list) else want.numpy()


def model_of(*inner, shape=(12, 11, 6)):
    return shaken(models.Sequential([layers.Input(shape), *inner]))


CONVOLUTIONS = {
    "plain": lambda: layers.Conv2D(8, 3),
    "1x1 without bias": lambda: layers.Conv2D(8, 1, use_bias=False),
    "same, strides": lambda: layers.Conv2D(8, 3, strides=2, padding="same"),
    "dilated": lambda: layers.Conv2D(8, 3, dilation_rate=2),
    "grouped": lambda: layers.Conv2D(8, 3, groups=2),
    "own relu": lambda: layers.Conv2D(8, 3, activation="relu"),
    "own tanh": lambda: layers.Conv2D(8, 3, activation="tanh"),
    "depthwise": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
    "depthwise, strides": lambda: layers.DepthwiseConv2D(3, strides=2, use_bias=False),
    "separable": lambda: layers.SeparableConv2D(8, 3),
    "few channels": lambda: layers.Conv2D(1, 5),
    "shared filters": lambda: layers.Conv2D(301, 3, padding="same", activation="relu"),
    "shared filters, one cell": lambda: layers.Conv2D(256, 1, strides=2),
}
NORMALIZATIONS = {
    "all": {},
    "no scale": {"scale": False},
    "no center": {"center": False},
    "neither": {"scale": False, "center": False},
    "epsilon": {"epsilon": 0.1, "momentum": 0.5},
}
ACTIVATIONS = ["linear", "relu", "swish", "sigmoid", "hard_sigmoid", "tanh", "elu", "selu",
               "softplus", "softsign", "gelu", "softmax"]  # fmt: skip


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolution_and_normalization(kind, batch):
    model = model_of(CONVOLUTIONS[kind](), layers.BatchNormalization(), layers.ReLU())
    got, want = predicted(model, floats(batch, 12, 11, 6))
    np.testing.assert_array_equal(got, want)
    assert "_conv_finished" in source(model) and "_affine" not in source(model)


@pytest.mark.parametrize("options", NORMALIZATIONS.values(), ids=NORMALIZATIONS)
def test_options_of_normalization(options):
    model = model_of(layers.Conv2D(5, 3), layers.BatchNormalization(**options))
    got, want = predicted(model, floats(2, 12, 11, 6))
    np.testing.assert_array_equal(got, want)
    assert "_conv_finished" in source(model) and "_affine" not in source(model)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    model = model_of(layers.Conv2D(8, 3), layers.BatchNormalization(), layers.Activation(name))
    got, want = predicted(model, floats(2, 12, 11, 6))
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "options", [{"max_value": 6.0}, {"negative_slope": 0.1}, {"threshold": 0.5}, {"max_value": 0.0}]
)
def test_rectifiers(options):
    model = model_of(layers.Conv2D(8, 3), layers.BatchNormalization(), layers.ReLU(**options))
    x = floats(2, 12, 11, 6) * 10
    x[0, 3, 4, 5] = np.nan
    got, want = predicted(model, x)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("rank", [1, 3])
def test_other_ranks(rank):
    conv = layers.Conv1D if rank == 1 else layers.Conv3D
    model = model_of(conv(7, 3), layers.BatchNormalization(), layers.ReLU(), shape=(*[9] * rank, 4))
    got, want = predicted(model, floats(2, *[9] * rank, 4))
    np.testing.assert_array_equal(got, want)
    assert "_conv_finished" in source(model)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes(dtype):
    before = gpunet.config.floatx()
    gpunet.config.set_floatx(dtype)
    try:
        model = model_of(layers.Conv2D(5, 3), layers.BatchNormalization(), layers.ReLU())
        got, want = predicted(model, floats(2, 12, 11, 6, dtype=dtype))
    finally:
        gpunet.config.set_floatx(before)
    np.testing.assert_array_equal(got, want)
    assert ("_conv_finished" in source(model)) == (dtype == "float64")


def test_shortcuts_are_added_to_blocks():
    x = layers.Input((9, 9, 4))
    y = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same")(x))
    short = layers.BatchNormalization()(layers.Conv2D(6, 1)(x))
    model = shaken(models.Model(x, layers.ReLU()(layers.Add()([short, y]))))
    got, want = predicted(model, floats(2, 9, 9, 4))
    np.testing.assert_array_equal(got, want)
    last = source(model).splitlines()[-2]
    assert source(model).count("_conv_finished") == 2 and "_relu" not in source(model)
    assert "_conv_finished" in last and "_maximum" in last


def test_gates_of_one_image():
    x = layers.Input((8, 8, 4))
    y = layers.Conv2D(6, 3, padding="same", activation="swish")(x)
    gate = layers.Dense(6, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    model = shaken(models.Model(x, layers.Multiply()([y, layers.Reshape((1, 1, 6))(gate)])))
    for batch in (1, 4):
        got, want = predicted(model, floats(batch, 8, 8, 4))
        np.testing.assert_array_equal(got, want)


def test_what_lies_between_can_be_asked_for():
    x = layers.Input((9, 9, 4))
    conv = layers.Conv2D(6, 3)(x)
    scaled = layers.BatchNormalization()(conv)
    cut = layers.ReLU()(scaled)
    for outputs in ([conv, cut], [conv, scaled, cut], [scaled, cut]):
        model = shaken(models.Model(x, outputs))
        got, want = predicted(model, floats(2, 9, 9, 4))
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)


def test_results_used_twice_stay():
    x = layers.Input((9, 9, 4))
    conv = layers.Conv2D(4, 3, padding="same")
    once = conv(x)
    both = layers.Add()([layers.BatchNormalization()(once), once, conv(once)])
    model = shaken(models.Model(x, both))
    got, want = predicted(model, floats(2, 9, 9, 4))
    np.testing.assert_array_equal(got, want)


def test_other_axes_are_normalized_too():
    model = model_of(layers.Conv2D(9, 4), layers.BatchNormalization(axis=1))
    got, want = predicted(model, floats(2, 12, 11, 6))  # (2, 9, 8, 9): as many rows as channels
    np.testing.assert_array_equal(got, want)
    assert "_affine" in source(model)


def test_channels_first():
    model = model_of(
        layers.Conv2D(9, 3, data_format="channels_first"),
        layers.BatchNormalization(axis=1),
        layers.ReLU(),
        shape=(3, 11, 11),
    )
    got, want = predicted(model, floats(2, 3, 11, 11))
    np.testing.assert_array_equal(got, want)


def _set_weights(model):
    model.set_weights([w * 0.7 + 0.1 for w in model.get_weights()])


def _set_value(model):
    for w in model.weights:
        K.set_value(w, K.get_value(w) * 0.7 + 0.1)


def _assign(model):
    for w in model.weights:
        w.assign(w * 0.7 + 0.1)


def _write_in_place(model):
    for w in model.weights:
        w.array[...] *= 0.7


def _fit(model):
    model.fit(floats(8, 12, 11, 6), floats(8, 10, 9, 5), verbose=0, epochs=2)


def _train_frozen(model):
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    model.fit(floats(8, 12, 11, 6), floats(8, 10, 9, 5), verbose=0)


def _move_statistics(model):
    bn = model.layers[1]
    bn.moving_mean.assign_add(np.ones(5, "float32"))
    bn.moving_variance.assign(np.full(5, 3.0, "float32"))


@pytest.mark.parametrize(
    "change",
    [_set_weights, _set_value, _assign, _write_in_place, _fit, _train_frozen, _move_statistics],
)
def test_weights_are_never_stale(change):
    model = model_of(layers.Conv2D(5, 3), layers.BatchNormalization(), layers.ReLU())
    model.compile("adam", "mse")
    x = floats(2, 12, 11, 6)
    before, _ = predicted(model, x)
    change(model)
    after = model.predict(x)
    np.testing.assert_array_equal(after, model(x).numpy())
    assert not np.array_equal(after, before)
    np.testing.assert_array_equal(predicted(model, x)[0], after)


def test_weights_from_files_are_never_stale(tmp_path):
    model = model_of(layers.Conv2D(5, 3), layers.BatchNormalization(), layers.ReLU())
    x = floats(2, 12, 11, 6)
    first, _ = predicted(model, x)
    model.save_weights(str(tmp_path / "w.h5"))
    shaken(model)
    assert not np.array_equal(model.predict(x), first)
    model.load_weights(str(tmp_path / "w.h5"))
    np.testing.assert_array_equal(model.predict(x), first)


def test_evaluation_is_joined_and_training_isnt():
    model = model_of(layers.Conv2D(5, 3), layers.BatchNormalization(), layers.ReLU())
    model.compile("sgd", "mse")
    x, y = floats(8, 12, 11, 6), floats(8, 10, 9, 5)
    for _ in range(3):
        loss = model.evaluate(x, y, batch_size=4, verbose=0)
    np.testing.assert_allclose(loss, np.mean((model(x).numpy() - y) ** 2), rtol=1e-5)
    model.fit(x, y, batch_size=2, epochs=2, verbose=0)
    (test,) = [r for r in model._plan.steps.test._replays.values() if r]
    (train,) = [r for r in model._plan.steps.train._replays.values() if r]
    assert "_conv_finished" in test.source and "_conv_finished" not in train.source


def replay_of(function, *inputs):
    recorded = Recorded(function, "test")
    for _ in range(3):
        results = recorded(*inputs)
    (replay,) = recorded._replays.values()
    return results, replay.source


@pytest.mark.parametrize("shape", [(70, 60, 9), (40000, 1), (1, 40000), (3, 5, 7, 11, 31)])
def test_chains_of_elementwise_ops(shape):
    scale, shift, other = (Variable(floats(*s)) for s in (shape[-1:], shape[-1:], shape))

    def f(x):
        y = ops.affine(x, scale, shift)
        return [ops.relu(ops.subtract(ops.multiply(0.5, y) / 3.0, other), max_value=1.0)]

    x = Tensor(floats(*shape))
    (got,), text = replay_of(f, x)
    np.testing.assert_array_equal(got, f(x)[0].array)
    assert "_stepped" in text and "_affine" not in text


def test_strided_inputs_and_empty_ones():
    def f(x):
        return [ops.relu(ops.add(ops.transpose(x, (0, 2, 1)), 1.0) * 2.0)]

    for shape in ((5, 200, 100), (0, 200, 100)):
        x = Tensor(floats(*shape))
        (got,), _ = replay_of(f, x)
        np.testing.assert_array_equal(got, f(x)[0].array)


def test_operands_that_change_shapes_arent_joined():
    column = Variable(floats(100, 1))

    def f(x):
        return [ops.relu(ops.exp(x) * column) + 1.0, ops.relu(x[:1] * 2.0 + x)]

    x = Tensor(floats(100, 400))
    got, _ = replay_of(f, x)
    for a, b in zip(got, f(x), strict=True):
        np.testing.assert_array_equal(a, b.array)


def test_nothing_moves_past_a_write():
    w = Variable(np.ones((200, 200), "float32"))

    def f(x):
        y = ops.exp(x) * w
        w.assign_add(x)
        return [ops.relu(y + 1.0)]

    x = Tensor(floats(200, 200))
    recorded, copy = Recorded(f, "test"), np.ones((200, 200), "float32")
    for _ in range(4):
        (got,) = recorded(x)
        np.testing.assert_array_equal(got, np.maximum(np.exp(x.array) * copy + 1, 0))
        copy += x.array


@pytest.mark.parametrize("kind", ["depthwise", "strided", "neither"])
def test_borders_of_zeros_are_read_where_they_would_be(kind):
    conv = {
        "depthwise": layers.DepthwiseConv2D(3),
        "strided": layers.Conv2D(7, 5, strides=2),
        "neither": layers.Conv2D(7, 3),
    }[kind]
    border = layers.ZeroPadding2D(((1, 2), (0, 3)))
    model = model_of(border, conv, layers.BatchNormalization(), layers.ReLU(6.0))
    got, want = predicted(model, floats(2, 12, 11, 6))
    np.testing.assert_array_equal(got, want)
    assert ("_pad_" in source(model)) == (kind == "neither")


def test_borders_that_others_need_stay():
    x = layers.Input((9, 9, 4))
    border = layers.ZeroPadding2D(1)(x)
    model = shaken(models.Model(x, [border, layers.DepthwiseConv2D(3)(border)]))
    got, want = predicted(model, floats(2, 9, 9, 4))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_operation_stays_as_it_is():
    def f(x):
        return [ops.exp(x), ops.multiply(x, x)]

    x = Tensor(floats(200, 300))
    _, text = replay_of(f, x)
    assert "_stepped" not in text and "_exp" in text and "_multiply" in text

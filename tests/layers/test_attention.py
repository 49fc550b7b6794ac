"""Attention layers, beside the real Keras."""

import json

import numpy as np
import pytest
from fake_device import capture, fake_device, to_host
from misc_cases import array, cases, close, make

import gpunet
from gpunet import layers
from gpunet.autodiff import GradientTape
from gpunet.errors import ShapeError
from gpunet.tensor import Tensor


def called(case, layer, xs, **options):
    return layer(*xs, **options) if case["class"] == "MultiHeadAttention" else layer(xs, **options)


def prepared(case, dtype="float32"):
    """Return (layer with the stored weights, inputs with the stored masks)."""
    xs = [Tensor(array(p, dtype)) for p in case["inputs"]]
    layer = make(case, name="layer", dtype=dtype)
    called(case, layer, xs)
    layer.set_weights([array(p, dtype) for p in case["weights"]])
    for x, m in zip(xs, case["masks"] or [], strict=False):
        x._keras_mask = Tensor(np.array(m, bool))
    return layer, xs


@pytest.mark.parametrize("case", cases("attention"))
def test_values_of_keras(case):
    layer, xs = prepared(case)
    assert [w.name for w in layer.weights] == case["weight_names"]
    with GradientTape() as tape:
        tape.watch(xs)
        y, scores = called(case, layer, xs, return_attention_scores=True, **case["call"])
    close(y, array(case["y"]), 2e-5)
    close(scores, array(case["scores"]), 2e-5)
    grads = tape.gradient(y, xs + layer.trainable_weights, Tensor(array(case["gy"])))
    for got, place in zip(grads, case["grads"], strict=True):
        close(got, array(place), 5e-5)
    if case["masks"]:
        np.testing.assert_array_equal(y._keras_mask, np.array(case["masks"][0], bool))
    alone = called(case, layer, xs, **case["call"])
    np.testing.assert_array_equal(alone, y)


@pytest.mark.parametrize("case", cases("attention"))
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_types(case, dtype):
    layer, xs = prepared(case, dtype)
    y = called(case, layer, xs, **case["call"])
    assert y.dtype == dtype
    seen = ... if not case["masks"] else np.array(case["masks"][0], bool)  # else all keys are off
    got, want = y.numpy().astype("float64")[seen], array(case["y"])[seen]
    close(got, want, 5e-2 if dtype == "float16" else 1e-5)


@pytest.mark.parametrize("case", cases("attention"))
def test_symbolic_shapes_config_and_training(case):
    layer, xs = prepared(case)
    inputs = [layers.Input(x.shape[1:]) for x in xs]
    y, scores = called(case, layer, inputs, return_attention_scores=True, **case["call"])
    assert tuple(y.shape)[1:] == tuple(array(case["y"]).shape)[1:]
    assert tuple(scores.shape)[1:] == tuple(array(case["scores"]).shape)[1:]
    model = gpunet.Model(inputs, called(case, layer, inputs, **case["call"]))
    data = [x.array for x in xs]
    again = gpunet.Model.from_config(json.loads(json.dumps(model.get_config())))
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.predict(data), model.predict(data), rtol=1e-5, atol=1e-6)
    if not layer.weights:
        return
    model.compile(gpunet.optimizers.SGD(0.01), "mse")
    target = np.zeros(model.predict(data).shape)
    losses = [model.train_on_batch(data, target) for _ in range(3)]
    assert losses[-1] < losses[0]


def test_dropout_of_weights(seeds):
    x = np.random.default_rng(0).standard_normal((2, 4, 6)).astype("float32")
    for layer in (layers.Attention(dropout=0.5), layers.MultiHeadAttention(2, 3, dropout=0.5)):
        many = isinstance(layer, layers.MultiHeadAttention)

        def call(many=many, layer=layer, **options):
            return layer(x, x, **options) if many else layer([x, x], **options)

        np.testing.assert_array_equal(call(), call())
        assert (call(training=True).numpy() != call().numpy()).any()


def test_masks_given_by_hand():
    x = np.random.default_rng(0).standard_normal((2, 4, 6)).astype("float32")
    layer = layers.MultiHeadAttention(2, 3)
    mask = np.tril(np.ones((4, 4), bool))
    want = layer(x, x, use_causal_mask=True)
    for given in (mask[None], np.tile(mask, (2, 1, 1)), mask[None].astype("float32")):
        np.testing.assert_allclose(layer(x, x, attention_mask=given), want, rtol=1e-5, atol=1e-6)
    plain = layers.Attention()
    seen = plain([x, x], mask=[None, np.array([[1, 1, 0, 0]] * 2, bool)])
    np.testing.assert_allclose(seen, plain([x, x[:, :2]]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [layers.Attention, layers.AdditiveAttention, None])
def test_runs_while_a_step_is_captured(kind):
    x = np.random.default_rng(0).standard_normal((2, 4, 6)).astype("float32")
    with fake_device() as device:
        layer = layers.MultiHeadAttention(2, 3) if kind is None else kind()
        data = Tensor(device.xp.asarray(x))
        given = (data, data) if kind is None else ([data, data],)
        layer(*given)
        with GradientTape() as tape, capture():
            tape.watch(data)
            y = layer(*given, use_causal_mask=True)
        with capture():
            grads = tape.gradient(y, [data, *layer.trainable_weights])
        assert all(g is not None for g in grads)
        assert to_host(y.array).shape == (2, 4, 6)


def test_wrong_inputs_name_the_layer():
    x = np.zeros((2, 4, 6), "float32")
    for kind in (layers.Attention, layers.AdditiveAttention):
        for wrong in (x, [x], [x, x[..., :5]], [x, x[0]], [x] * 4):
            with pytest.raises(ValueError, match="'a'"):
                kind(name="a")(wrong)
    layer = layers.MultiHeadAttention(2, 3, name="a")
    for wrong in ((x, x, x[:, :3]), (x[0], x[0]), (x, x[None])):
        with pytest.raises(ShapeError, match="'a'"):
            layer(*wrong)
    with pytest.raises(ValueError, match="score_mode"):
        layers.Attention(score_mode="sum")
    with pytest.raises(ValueError, match="num_heads"):
        layers.MultiHeadAttention(0, 3)

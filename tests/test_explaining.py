"""`gpunet.explain`: what each layer would run on a GPU, said without one."""

import numpy as np
import pytest

import gpunet
from gpunet import config, layers
from gpunet.fused import launch
from gpunet.fused.convolution import conv_fused


def explained(model, **options):
    return gpunet.explain(model, print_fn=None, **options)


def classifier():
    return gpunet.Sequential([
        layers.Conv2D(4, 3, input_shape=(8, 8, 3)),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(3, activation="softmax"),
    ])  # fmt: skip


def test_every_layer_has_a_row():
    model = classifier()
    found = explained(model, chip="a100")
    assert list(dict.fromkeys(e.layer for e in found)) == [layer.name for layer in model.layers]
    ops = {e.op: e for e in found}
    assert ops["conv"].kernel and ops["softmax"].kernel and ops["random_dropout"].kernel
    assert "a warp a row" in ops["softmax"].words
    assert not ops[""].kernel and "array functions of CuPy" in ops[""].words


def test_training_and_inference_differ():
    ops = {e.op for e in explained(classifier(), training=False)}
    assert not ops & {"normalize", "random_dropout"}


def test_sizes_grow_with_the_batch(monkeypatch):
    seen = []
    monkeypatch.setattr(
        conv_fused, "words", lambda xp, x, kernel, *_, **o: seen.append(x.shape) or launch.chip()
    )
    model = gpunet.Sequential([layers.Conv1D(2, 3, input_shape=(5, 3))])
    (row,) = explained(model, chip="t4", batch_size=100)
    assert seen == [(100, 5, 3)] and row.words == launch.CHIPS["t4"]
    x = layers.Input((4, 5, 3))
    model = gpunet.Model(x, layers.TimeDistributed(layers.Conv1D(2, 3))(x))
    explained(model, batch_size=10)
    assert seen[1] == (40, 5, 3)
    fixed = gpunet.Sequential([layers.Conv1D(2, 3, batch_input_shape=(7, 5, 3))])
    explained(fixed)
    assert seen[2] == (7, 5, 3)


def test_drawing_weights_is_no_part_of_it(monkeypatch):
    """They are drawn when they are first read: then, too, the batch is as large as was asked."""

    class Own(gpunet.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Conv1D(2, 3)

        def call(self, x):
            return self.first(x)

    seen = []
    monkeypatch.setattr(
        conv_fused, "words", lambda xp, x, kernel, *_, **o: seen.append(x.shape) or "words"
    )
    built = gpunet.Sequential([layers.Conv1D(2, 3, input_shape=(5, 3))])
    for model, inputs in ((built, None), (Own(), np.ones((1, 5, 3), "float32"))):
        (row,) = explained(model, batch_size=50, inputs=inputs)
        assert (row.op, row.count) == ("conv", 1)
    assert seen == [(50, 5, 3), (50, 5, 3)]


def test_nothing_is_changed():
    x = layers.Input(batch_shape=(2, 3, 4))
    y = layers.LSTM(2, stateful=True, recurrent_dropout=0.2)(layers.BatchNormalization()(x))
    model = gpunet.Model(x, y)
    model.predict(np.ones((2, 3, 4)), batch_size=2)
    before = [*model.get_weights(), *[s.numpy() for s in model.layers[-1].states]]
    random = gpunet.ops.random.default().state()
    explained(model)
    after = [*model.get_weights(), *[s.numpy() for s in model.layers[-1].states]]
    for a, b in zip(before, after):
        np.testing.assert_array_equal(a, b)
    assert gpunet.ops.random.default().state() == random


def test_nested_models_and_own_classes():
    inner = classifier()
    x = layers.Input((8, 8, 3))
    model = gpunet.Model(x, layers.Activation("softmax")(inner(x)))
    names = {e.layer for e in explained(model)}
    assert {layer.name for layer in inner.layers} | {model.layers[-1].name} == names

    class Own(gpunet.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Dense(3, activation="softmax", name="first")

        def call(self, x):
            return self.first(self.first(x))

    model = Own()
    with pytest.raises(ValueError, match=r"explain: the shapes of the inputs of model .* `inputs`"):
        explained(model)
    _, row = explained(model, inputs=np.ones((1, 3), "float32"))
    assert (row.layer, row.op, row.count) == ("first", "softmax", 2)


def test_what_is_printed():
    lines = []
    gpunet.explain(classifier(), "t4", batch_size=9, print_fn=lines.append)
    text = "\n".join(lines)
    assert "on T4 (sm_75, 40 multiprocessors, 64 KB of shared memory a block)" in text
    assert "training, batches of 9, precision 'tf32'" in text
    assert max(map(len, lines)) <= 100
    config.set_fused(False)
    try:
        lines.clear()
        assert not any(e.kernel for e in gpunet.explain(classifier(), print_fn=lines.append))
    finally:
        config.set_fused(True)
    assert any("switched off" in line for line in lines)


def test_recurrent_layers_say_how_they_are_laid_out():
    x = layers.Input((80, 128))
    h = layers.Bidirectional(layers.LSTM(128, return_sequences=True))(x)
    model = gpunet.Model(x, layers.LSTM(512, name="large")(h))
    both, large = (e.words for e in explained(model, chip="h200"))
    assert "cluster of 8 blocks" in both and "both directions in one launch" in both
    assert "cooperative grid of 64 blocks" in large and "a single block would need 4.2 MB" in large
    both, large = (e.words for e in explained(model, chip="t4"))
    assert "one launch a step" in large and "40 multiprocessors don't hold the weights" in large
    half = gpunet.Sequential([layers.LSTM(8, dtype="float16", input_shape=(5, 3))])
    (row,) = explained(half, chip="a100")
    assert row.kernel and "float16, sums in float32" in row.words
    (row,) = explained(half, chip="t4")
    assert not row.kernel and "no kernel for float16 below sm_80" in row.words


def test_without_a_gpu_it_is_as_on_an_h200(monkeypatch):
    monkeypatch.setattr(gpunet.arrays, "_gpu_count", lambda: ("there is none", 0))
    lines = []
    gpunet.explain(classifier(), print_fn=lines.append)
    assert "on H200 (sm_90" in lines[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chip": "abacus"}, "expected chip to be a Chip or one of t4, .*, got 'abacus'"),
        ({"batch_size": 0}, "expected a batch_size of at least 1, got 0"),
    ],
)
def test_errors(options, words):
    with pytest.raises(ValueError, match=f"explain: {words}"):
        explained(classifier(), **options)

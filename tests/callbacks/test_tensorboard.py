"""TensorBoard's own reader finds what the callback wrote."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from gpunet.callbacks import BackupAndRestore, LambdaCallback, TensorBoard
from gpunet.layers import Conv2D, Dense, Flatten
from gpunet.models import Model, Sequential
from gpunet.schedules import ExponentialDecay


def opened(folder):
    """Return TensorBoard's reader of a folder, with everything read."""
    module = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard isn't installed",
    )
    reader = module.EventAccumulator(str(folder), size_guidance={module.TENSORS: 0})
    reader.Reload()
    return reader


def scalars(reader, tag):
    """Return the steps and values of a scalar."""
    from tensorboard.util import tensor_util

    events = reader.Tensors(tag)
    return [e.step for e in events], [
        float(tensor_util.make_ndarray(e.tensor_proto)) for e in events
    ]


@pytest.fixture(autouse=True)
def needed():
    pytest.importorskip("tensorboard", reason="tensorboard isn't installed")


def test_scalars_of_epochs(tmp_path, data, make_model):
    model = make_model(["accuracy"])
    history = model.fit(
        *data,
        batch_size=4,
        epochs=3,
        verbose=0,
        validation_data=data,
        callbacks=[TensorBoard(tmp_path, write_steps_per_second=True)],
    ).history
    train, validation = opened(tmp_path / "train"), opened(tmp_path / "validation")
    assert set(train.Tags()["tensors"]) == {
        "keras",
        "epoch_loss",
        "epoch_accuracy",
        "epoch_steps_per_second",
    }
    for name in ("loss", "accuracy"):
        steps, values = scalars(train, f"epoch_{name}")
        assert steps == [0, 1, 2]
        np.testing.assert_allclose(values, history[name], rtol=1e-6)
        steps, values = scalars(validation, f"epoch_{name}")
        np.testing.assert_allclose(values, history[f"val_{name}"], rtol=1e-6)
        steps, again = scalars(validation, f"evaluation_{name}_vs_iterations")
        assert steps == [3, 6, 9] and again == values
    assert min(scalars(train, "epoch_steps_per_second")[1]) > 0


@pytest.mark.parametrize("update_freq, steps", [("batch", [1, 2, 3, 4, 5, 6]), (4, [4])])
def test_scalars_of_batches(tmp_path, data, make_model, update_freq, steps):
    seen = []
    watch = LambdaCallback(on_batch_end=lambda batch, logs: seen.append(logs["loss"]))
    board = TensorBoard(tmp_path, update_freq=update_freq, write_steps_per_second=True)
    make_model().fit(*data, 4, 2, verbose=0, callbacks=[board, watch])
    reader = opened(tmp_path / "train")
    assert scalars(reader, "batch_loss")[0] == steps
    np.testing.assert_allclose(
        scalars(reader, "batch_loss")[1], [seen[i - 1] for i in steps], rtol=1e-6
    )
    assert len(scalars(reader, "batch_steps_per_second")[1]) == len(steps)
    assert "batch_size" not in reader.Tags()["tensors"]


def test_histograms_and_images(tmp_path):
    from tensorboard.util import tensor_util

    model = Sequential([Conv2D(2, 3, input_shape=(5, 5, 1)), Flatten(), Dense(1, name="out")])
    model.compile("sgd", "mse")
    x = np.ones((4, 5, 5, 1), "float32")
    model.fit(
        x, x[:, 0, 0, 0], epochs=3, verbose=0,
        callbacks=[TensorBoard(tmp_path, histogram_freq=2, write_images=True)],
    )  # fmt: skip
    reader = opened(tmp_path / "train")
    events = reader.Tensors("out/kernel_0/histogram")
    assert [e.step for e in events] == [0, 2]
    table = tensor_util.make_ndarray(events[-1].tensor_proto)
    kernel = model.get_layer("out").get_weights()[0]
    assert table.shape == (30, 3) and table[:, 2].sum() == kernel.size
    assert table[0, 0] == pytest.approx(kernel.min()) and table[-1, 1] == pytest.approx(
        kernel.max()
    )
    images = reader.Images("out/kernel_0/image")
    assert len(images) == 2 and (images[0].height, images[0].width) == (1, 18)
    assert images[0].encoded_image_string.startswith(b"\x89PNG")


def test_structure(tmp_path, data, make_model):
    from tensorboard.util import tensor_util

    model = make_model()
    model.fit(*data, verbose=0, callbacks=[TensorBoard(tmp_path)])
    (event,) = opened(tmp_path / "train").Tensors("keras")
    text = tensor_util.make_ndarray(event.tensor_proto).item()
    assert json.loads(text) == json.loads(model.to_json())
    other = tmp_path / "without"
    model.fit(*data, verbose=0, callbacks=[TensorBoard(other, write_graph=False)])
    assert "keras" not in opened(other / "train").Tags()["tensors"]


def test_subclassed_model_has_no_structure(tmp_path, data):
    class Mine(Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(1)

        def call(self, x):
            return self.dense(x)

    model = Mine()
    model.compile("sgd", "mse")
    model.fit(*data, verbose=0, callbacks=[TensorBoard(tmp_path)])
    assert opened(tmp_path / "train").Tags()["tensors"] == ["epoch_loss"]


def test_schedules_and_evaluate(tmp_path, data, make_model):
    from gpunet.optimizers import SGD

    model = make_model(optimizer=SGD(ExponentialDecay(0.1, 1, 0.5)))
    model.fit(*data, batch_size=10, epochs=2, verbose=0, callbacks=[TensorBoard(tmp_path)])
    _, rates = scalars(opened(tmp_path / "train"), "epoch_learning_rate")
    np.testing.assert_allclose(rates, [0.05, 0.025], rtol=1e-6)
    loss = model.evaluate(*data, verbose=0, callbacks=[TensorBoard(tmp_path / "later")])
    steps, values = scalars(
        opened(tmp_path / "later" / "validation"), "evaluation_loss_vs_iterations"
    )
    assert steps == [2] and values == pytest.approx([loss])


def test_a_run_that_goes_on_counts_on(tmp_path, data, make_model):
    backup = BackupAndRestore(tmp_path / "b", delete_checkpoint=False)
    for epochs in (1, 2):
        board = TensorBoard(tmp_path, update_freq=1)
        make_model().fit(*data, 5, epochs, verbose=0, callbacks=[board, backup])
    assert scalars(opened(tmp_path / "train"), "batch_loss")[0] == [1, 2, 3, 4]


def test_wrong_arguments(tmp_path):
    for update_freq in (0, "step", None, 1.5):
        with pytest.raises(ValueError, match="update_freq"):
            TensorBoard(tmp_path, update_freq=update_freq)
    with pytest.raises(TypeError, match="odd"):
        TensorBoard(tmp_path, odd=1)
    with pytest.warns(UserWarning, match="profile_batch"):
        TensorBoard(tmp_path, profile_batch=2, write_grads=True, batch_size=3)
    assert os.listdir(tmp_path) == []


def test_missing_package_names_the_command():
    code = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "from gpunet.callbacks import TensorBoard\n"
        "try:\n    TensorBoard()\nexcept ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "gpunet[tensorboard]"' in done.stdout, done.stderr

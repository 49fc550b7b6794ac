"""Training on flows of images."""

import numpy as np
import pytest

from gpunet.callbacks import BackupAndRestore, LambdaCallback
from gpunet.layers import Conv2D, Dense, Flatten
from gpunet.models import Sequential
from gpunet.preprocessing.image import ImageDataGenerator
from gpunet.preprocessing.sequence import TimeseriesGenerator
from gpunet.utils import Sequence, set_random_seed

pytest.importorskip("PIL", reason="Pillow isn't installed")
pytest.importorskip("scipy", reason="SciPy isn't installed")


def train(epochs=3, callbacks=None, **options):
    set_random_seed(6)
    x = np.random.random_sample((20, 6, 6, 1)).astype("float32")
    y = (x.mean((1, 2, 3)) > 0.5).astype("float32")
    generator = ImageDataGenerator(rotation_range=30, horizontal_flip=True, zoom_range=0.2)
    model = Sequential(
        [
            Conv2D(4, 3, activation="relu", input_shape=(6, 6, 1)),
            Flatten(),
            Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    flow = generator.flow(x, y, batch_size=8)
    assert isinstance(flow, Sequence)
    history = model.fit(flow, epochs=epochs, verbose=0, callbacks=callbacks, **options)
    return model.get_weights(), history.history


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 0},
        {"workers": 3},
        pytest.param({"workers": 2, "use_multiprocessing": True}, marks=pytest.mark.slow),
    ],
    ids=["none", "threads", "processes"],
)
def test_results_do_not_depend_on_workers(options):
    want, got = train(), train(**options)
    assert got[1] == want[1]
    for a, b in zip(got[0], want[0]):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("save_freq, broken_at", [("epoch", 5), (2, 6)])
def test_training_goes_on_where_it_was_broken_off(tmp_path, save_freq, broken_at):
    want = train(epochs=4)
    left = [broken_at]

    def count(batch, logs):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup = BackupAndRestore(tmp_path / "b", save_freq)
        train(4, [backup, LambdaCallback(on_batch_end=count)])
    got = train(4, [BackupAndRestore(tmp_path / "b", save_freq)])
    assert got[1] == want[1]
    for a, b in zip(got[0], want[0]):
        np.testing.assert_array_equal(a, b)


def test_flows_predict_and_validate(tmp_path):
    x = np.random.RandomState(0).random_sample((10, 4, 4, 1))
    model = Sequential([Flatten(input_shape=(4, 4, 1)), Dense(1)])
    model.compile("sgd", "mse")
    flow = ImageDataGenerator().flow(x, batch_size=3, shuffle=False)
    np.testing.assert_allclose(model.predict(flow), model.predict(x), rtol=1e-5, atol=1e-6)
    pairs = ImageDataGenerator().flow(x, x[:, 0, 0, 0], batch_size=3, shuffle=False)
    history = model.fit(pairs, validation_data=pairs, epochs=1, verbose=0)
    assert history.history["val_loss"][0] == pytest.approx(
        model.evaluate(x, x[:, 0, 0, 0], verbose=0), rel=1e-5
    )


def test_time_series_train(rng):
    series = rng.standard_normal((50, 2)).astype("float32")
    windows = TimeseriesGenerator(series, series[:, 0], length=4, batch_size=8)
    model = Sequential([Flatten(input_shape=(4, 2)), Dense(1)])
    model.compile("sgd", "mse")
    assert len(model.fit(windows, epochs=2, verbose=0).history["loss"]) == 2

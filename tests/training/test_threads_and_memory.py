"""Several threads, and many calls: the same results, and memory that stays flat."""

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet.layers import LSTM, BatchNormalization, Conv2D, Dense, Dropout, Flatten
from gpunet.models import Sequential

ROOT = Path(__file__).resolve().parents[2]


def picture_model(seed=0):
    gpunet.utils.set_random_seed(seed)
    model = Sequential(
        [
            Conv2D(6, 3, activation="relu", input_shape=(10, 10, 2)),
            BatchNormalization(),
            Flatten(),
            Dense(5, activation="softmax"),
        ]
    )
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def text_model(seed=0):
    gpunet.utils.set_random_seed(seed)
    model = Sequential([LSTM(7, input_shape=(6, 3)), Dense(2, activation="softmax")])
    model.compile("rmsprop", "categorical_crossentropy", metrics=["accuracy"])
    return model


def run_all(functions):
    """Run functions, each in a thread of its own, all at once; return their results."""
    found, gate = [None] * len(functions), threading.Barrier(len(functions))

    def work(i):
        gate.wait()
        try:
            found[i] = functions[i]()
        except BaseException as error:
            found[i] = error

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    errors = [f for f in found if isinstance(f, BaseException)]
    if errors:
        raise errors[0]
    return found


@pytest.mark.parametrize("make", [picture_model, text_model])
def test_eight_threads_predict_as_one(make, rng):
    model = make()
    shape = model.input_shape[1:]
    parts = [rng.standard_normal((21 + i, *shape)).astype("float32") for i in range(8)]
    want = [model.predict(part, batch_size=8) for part in parts]
    for _ in range(5):
        calls = [lambda part=part: model.predict(part, batch_size=8) for part in parts]
        for got, one in zip(run_all(calls), want):
            np.testing.assert_array_equal(got, one)


def test_eight_threads_predict_with_a_model_that_nobody_has_run_yet(rng):
    x = rng.standard_normal((9, 6, 3)).astype("float32")
    want = text_model().predict(x)
    for _ in range(3):
        model = text_model()
        for got in run_all([lambda m=model: m.predict(x)] * 8):
            np.testing.assert_array_equal(got, want)


def test_two_models_train_in_two_threads(rng):
    pictures = rng.standard_normal((40, 10, 10, 2)).astype("float32")
    texts = rng.standard_normal((60, 6, 3)).astype("float32")
    kinds = np.eye(5, dtype="float32")[rng.integers(0, 5, 40)]
    sides = np.eye(2, dtype="float32")[rng.integers(0, 2, 60)]

    def training(model, x, y):
        def run():
            history = model.fit(x, y, batch_size=8, epochs=4, shuffle=False, verbose=0,
                                validation_split=0.25)  # fmt: skip
            return history.history, model.get_weights()

        return run

    want = [training(picture_model(), pictures, kinds)(), training(text_model(), texts, sides)()]
    got = run_all(
        [training(picture_model(), pictures, kinds), training(text_model(), texts, sides)]
    )
    for (history, weights), (other, others) in zip(got, want):
        assert history == other
        for one, another in zip(weights, others, strict=True):
            np.testing.assert_array_equal(one, another)


def test_two_threads_with_dropout_and_shuffling_train(rng):
    def training(seed):
        model = Sequential([Dense(8, input_shape=(4,)), Dropout(0.5), Dense(1)])
        model.compile("adam", "mse")
        x = np.random.default_rng(seed).standard_normal((200, 4)).astype("float32")
        return lambda: model.fit(x, x.sum(axis=1), epochs=10, verbose=0).history["loss"]

    for losses in run_all([training(1), training(2)]):
        assert losses[-1] < losses[0]


# -- memory ---------------------------------------------------------------------------------

HEAD = """
    import gc, os, resource, sys, tempfile
    import h5py, numpy as np
    import gpunet
    from gpunet.layers import Conv2D, Dense, Flatten, LSTM
    from gpunet.models import Sequential, load_model

    def resident():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def private():
        # Without the pages of mapped files, which are the system's cache and not ours.
        with open("/proc/self/statm") as f:
            pages = f.read().split()
        return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def model_of():
        model = Sequential([Conv2D(4, 3, input_shape=(16, 16, 3)), Flatten(),
                            Dense(32, activation="relu"), Dense(1)])
        model.compile("adam", "mse", metrics=["mae"])
        return model
"""


def megabytes(program, *arguments, timeout=1500):
    """Run a program in a process of its own; return the megabytes that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HEAD) + textwrap.dedent(program), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    return [float(line) for line in done.stdout.split()]


CALLS = {
    "predict": (
        """
        model, x = model_of(), np.ones((64, 16, 16, 3), "float32")
        for i in range(1000):
            model.predict(x)
            if i >= 99 and i % 100 == 99: print(resident())
        """
    ),
    "fit": (
        """
        model, x, y = model_of(), np.ones((640, 16, 16, 3), "float32"), np.ones((640, 1))
        for i in range(20):
            model.fit(x, y, epochs=2, verbose=0, validation_split=0.2)
            if i >= 3: print(resident())
        """
    ),
    "fit, new models": (
        """
        x, y = np.ones((64, 16, 16, 3), "float32"), np.ones((64, 1))
        for i in range(40):
            model_of().fit(x, y, verbose=0)
            if i >= 9: gc.collect(); print(resident())
        """
    ),
    "fit on a generator": (
        """
        model, x, y = model_of(), np.ones((32, 16, 16, 3), "float32"), np.ones((32, 1))
        def batches():
            while True: yield x + 1, y
        for i in range(20):
            model.fit(batches(), steps_per_epoch=20, epochs=2, workers=2, verbose=0)
            if i >= 3: print(resident())
        """
    ),
    "load_model": (
        """
        path = os.path.join(tempfile.mkdtemp(), "m.h5")
        model, x, y = model_of(), np.ones((64, 16, 16, 3), "float32"), np.ones((64, 1))
        model.fit(x, y, verbose=0)
        model.save(path)
        for i in range(50):
            load_model(path).predict(x)
            if i >= 9: gc.collect(); print(resident())
        """
    ),
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("what", CALLS)
def test_many_calls_leave_memory_flat(what):
    found = megabytes(CALLS[what])
    assert found[-1] - found[0] < 8, found
    assert max(found) - min(found) < 16, found


LARGE = """
    kind, folder, shuffle = sys.argv[1], sys.argv[2], {"True": True, "batch": "batch"}[sys.argv[3]]
    rows, width = 2**31 // 4 // 1024, 1024  # 2 GiB of float32
    path = os.path.join(folder, kind)
    rng, block = np.random.default_rng(0), 4096
    if kind == "h5":
        with h5py.File(path, "w") as f:
            x = f.create_dataset("x", (rows, width), "float32", chunks=(64, width))
            for i in range(0, rows, block):
                x[i : i + block] = rng.standard_normal((block, width), "float32")
        x = h5py.File(path, "r")["x"]
    else:
        x = np.memmap(path, "float32", "w+", shape=(rows, width))
        for i in range(0, rows, block):
            x[i : i + block] = rng.standard_normal((block, width), "float32")
        x.flush()
        del x
        x = np.memmap(path, "float32", "r", shape=(rows, width))
    y = np.zeros((rows, 1), "float32")
    model = Sequential([Dense(16, activation="relu", input_shape=(width,)), Dense(1)])
    model.compile("adam", "mse")

    class Watch(gpunet.callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            if batch % 256 == 255: print(private())

    assert x.nbytes >= 2**31 if hasattr(x, "nbytes") else True
    model.fit(x, y, batch_size=256, epochs=1, shuffle=shuffle, verbose=0, callbacks=[Watch()])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize(("kind", "shuffle"), [("h5", "batch"), ("map", "batch"), ("map", "True")])
def test_two_gigabytes_train_from_a_file_in_flat_memory(kind, shuffle, tmp_path):
    try:
        found = megabytes(LARGE, kind, str(tmp_path), shuffle)
    finally:
        for path in tmp_path.iterdir():
            path.unlink()
    assert len(found) == 8
    assert max(found) - min(found) < 16 and max(found) < 400, found

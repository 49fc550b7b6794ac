"""HDF5Matrix: rows of a file as if they were an array."""

import pickle

import h5py
import numpy as np
import pytest

from gpunet.layers import Dense
from gpunet.models import Sequential
from gpunet.utils import HDF5Matrix


@pytest.fixture
def file(tmp_path, rng):
    path = tmp_path / "daten_ä.h5"
    with h5py.File(path, "w") as f:
        f["x"] = rng.standard_normal((50, 4)).astype("float32")
        f["group/y"] = rng.integers(0, 255, (50, 1)).astype("uint8")
        f["number"] = 3.0
    return path


KEYS = [3, -1, np.int64(2), slice(None), slice(2, 9), slice(2, 30, 3), slice(9, 2), slice(-4, None),
        slice(9, 2, -2), [3, 1, 1, 7], np.array([19, 0, 5]), [], slice(100, 200)]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_keys_as_of_an_array(file, key):
    with h5py.File(file) as f:
        want = f["x"][10:30]
    got = HDF5Matrix(file, "x", 10, 30)
    np.testing.assert_array_equal(
        got[key], want[np.array(key, int) if isinstance(key, list) else key]
    )
    assert (len(got), got.shape, got.ndim, got.size, got.dtype) == (20, (20, 4), 2, 80, "float32")


def test_normalizer(file):
    m = HDF5Matrix(file, "group/y", normalizer=lambda v: np.repeat(v / 255, 2, axis=-1))
    assert (m.shape, m.dtype) == ((50, 2), "float64")
    assert m[3:5].max() <= 1 and m[3].shape == (2,)


def test_trains_like_the_array(file, rng):
    with h5py.File(file) as f:
        x, y = f["x"][5:45], f["group/y"][5:45].astype("float32") / 255

    def weights(x, y, shuffle):
        model = Sequential([Dense(1, kernel_initializer="ones", input_shape=(4,))])
        model.compile("sgd", "mse")
        import gpunet

        gpunet.utils.set_random_seed(1)
        model.fit(x, y, batch_size=8, epochs=2, verbose=0, shuffle=shuffle, validation_split=0.2)
        return model.get_weights()[0]

    mx = HDF5Matrix(file, "x", 5, 45)
    my = HDF5Matrix(file, "group/y", 5, 45, normalizer=lambda v: v.astype("float32") / 255)
    for shuffle in (False, True, "batch"):
        np.testing.assert_array_equal(weights(mx, my, shuffle), weights(x, y, shuffle))


def test_is_pickled_by_its_path(file):
    m = pickle.loads(pickle.dumps(HDF5Matrix(file, "x", 10, 30)))
    with h5py.File(file) as f:
        np.testing.assert_array_equal(m[:], f["x"][10:30])


def test_errors(file, tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        HDF5Matrix(tmp_path / "nowhere.h5", "x")
    with pytest.raises(ValueError, match="no dataset with rows named 'z'; it has .'group', 'num"):
        HDF5Matrix(file, "z")
    for name in ("group", "number"):
        with pytest.raises(ValueError, match="no dataset with rows"):
            HDF5Matrix(file, name)
    with pytest.raises(ValueError, match="rows 0 to 99 asked for, but 'x' in .* has 50"):
        HDF5Matrix(file, "x", end=99)
    with pytest.raises(IndexError, match="rows 20 to 20 asked for, it has 20"):
        HDF5Matrix(file, "x", 10, 30)[20]

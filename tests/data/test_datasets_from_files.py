"""Batches of images, texts and windows, as tf.keras's functions for data sets give them."""

import numpy as np
import pytest

from gpunet.data.folders import image_dataset_from_directory, text_dataset_from_directory
from gpunet.data.windows import timeseries_dataset_from_array
from gpunet.layers import Dense, Flatten, Rescaling
from gpunet.models import Sequential
from gpunet.optimizers import Adam
from gpunet.preprocessing.image import save_img


@pytest.fixture
def images(tmp_path):
    """Two classes of 6 and 4 images; the value of an image's pixels tells which it is."""
    pytest.importorskip("PIL", reason="Pillow isn't installed")
    value = 0
    for name, count in (("a", 6), ("bé/deep", 4)):
        (tmp_path / name).mkdir(parents=True)
        for i in range(count):
            save_img(tmp_path / name / f"{i}.png", np.full((4, 6, 3), value), scale=False)
            value += 1
    (tmp_path / ".hidden").mkdir()
    return tmp_path


def values(x):
    return x[:, 0, 0, 0].tolist()


def test_images_in_order(images, capsys):
    found = image_dataset_from_directory(images, image_size=(4, 6), batch_size=4, shuffle=False)
    assert "Found 10 files belonging to 2 classes." in capsys.readouterr().out
    assert found.class_names == ["a", "bé"] and len(found) == 3 and len(found.file_paths) == 10
    batches = list(found)
    assert [values(x) for x, _ in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert np.concatenate([y for _, y in batches]).tolist() == [0] * 6 + [1] * 4
    assert batches[0][0].dtype == "float32" and batches[0][1].dtype == "int32"
    with pytest.raises(IndexError):
        found[3]


@pytest.mark.parametrize(
    "options, y",
    [
        ({"label_mode": "binary"}, [[0.0]] * 6 + [[1.0]] * 4),
        ({"label_mode": "categorical"}, [[1, 0]] * 6 + [[0, 1]] * 4),
        ({"class_names": ["bé", "a"]}, [1] * 6 + [0] * 4),
        ({"labels": [5, 7] * 5}, [5, 7] * 5),
        ({"label_mode": None}, None),
        ({"labels": None}, None),
    ],
)
def test_labels(images, options, y):
    batch = image_dataset_from_directory(images, image_size=(4, 6), shuffle=False, **options)[0]
    if y is None:
        assert values(batch) == list(range(10))
    else:
        assert values(batch[0]) == list(range(10)) and batch[1].tolist() == y


def test_sizes_and_colours(images):
    for mode, channels in (("rgb", 3), ("rgba", 4), ("grayscale", 1)):
        x, _ = image_dataset_from_directory(images, color_mode=mode, image_size=(8, 3))[0]
        assert x.shape == (10, 8, 3, channels)
    single = image_dataset_from_directory(images, image_size=(4, 4), batch_size=None)
    assert len(single) == 10 and single[0][0].shape == (4, 4, 3) and single[0][1].shape == ()
    cropped = image_dataset_from_directory(images, image_size=(4, 4), crop_to_aspect_ratio=True)
    assert cropped[0][0].shape == (10, 4, 4, 3)


def test_order_depends_on_seed_and_epoch(images):
    def seen(seed):
        found = image_dataset_from_directory(images, image_size=(4, 6), seed=seed, batch_size=4)
        epochs = []
        for _ in range(2):
            pairs = [(v, y) for x, ys in found for v, y in zip(values(x), ys.tolist())]
            assert sorted(pairs) == [(v, int(v >= 6)) for v in range(10)]
            epochs.append(pairs)
            found.on_epoch_end()
        return epochs

    assert seen(1) == seen(1) and seen(1) != seen(2) and seen(1)[0] != seen(1)[1]


def test_parts(images):
    options = {"image_size": (4, 6), "validation_split": 0.3, "seed": 3}
    train, check = image_dataset_from_directory(images, subset="both", **options)
    parts = [values(train[0][0]), values(check[0][0])]
    assert len(parts[1]) == 3 and sorted(parts[0] + parts[1]) == list(range(10))
    alone = image_dataset_from_directory(images, subset="validation", **options)
    assert sorted(values(alone[0][0])) == sorted(parts[1])
    rows = np.arange(10)
    np.random.RandomState(3).shuffle(rows)  # which files Keras takes
    assert sorted(parts[1]) == sorted(rows[-3:])


@pytest.mark.parametrize(
    "options, match",
    [
        ({"label_mode": "onehot"}, "label_mode"),
        ({"class_names": ["a", "c"]}, "class_names"),
        ({"labels": [1, 2]}, r"len\(labels\) is 2"),
        ({"labels": None, "class_names": ["a"]}, "class_names"),
        ({"labels": list(range(10)), "label_mode": "binary"}, "2 classes"),
        ({"subset": "training"}, "inversely"),
        ({"subset": "test"}, "subset"),
        ({"validation_split": 2.0, "subset": "training"}, "between 0 and 1"),
        ({"validation_split": 0.5, "subset": "training"}, "seed"),
        ({"color_mode": "cmyk"}, "color_mode"),
        ({"interpolation": "odd"}, "interpolation"),
        ({"image_size": 3}, "target_size"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_wrong_arguments(images, options, match):
    with pytest.raises(ValueError, match=match):
        image_dataset_from_directory(images, **options)


def test_no_files(tmp_path):
    with pytest.raises(ValueError, match="no .*png files in"):
        image_dataset_from_directory(tmp_path)
    with pytest.raises(FileNotFoundError):
        image_dataset_from_directory(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="odd"):
        image_dataset_from_directory(tmp_path, odd=1)


def test_training_and_map(images):
    found = image_dataset_from_directory(images, image_size=(4, 6), label_mode="binary", seed=1)
    scaled = found.cache().map(lambda x, y: (Rescaling(0.1)(x), y)).prefetch(2)
    np.testing.assert_allclose(scaled[0][0], found[0][0] * 0.1, rtol=1e-6)
    assert scaled.class_names == ["a", "bé"] and len(scaled.take(3)) == 1
    assert not hasattr(scaled, "_nothing")
    model = Sequential([Flatten(input_shape=(4, 6, 3)), Dense(1, activation="sigmoid")])
    model.compile(Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(scaled, validation_data=scaled, epochs=60, verbose=0)
    assert history.history["val_accuracy"][-1] > 0.85
    assert found._epoch >= 60  # the order is new in each epoch


def test_texts(tmp_path):
    for name, texts in (("neg", ["bäd", "awful"]), ("pos", ["good"])):
        (tmp_path / name).mkdir()
        for i, text in enumerate(texts):
            (tmp_path / name / f"{i}.txt").write_text(text, encoding="utf-8")
    x, y = text_dataset_from_directory(tmp_path, shuffle=False)[0]
    assert x.tolist() == ["bäd", "awful", "good"] and y.tolist() == [0, 0, 1]
    x = text_dataset_from_directory(tmp_path, labels=None, max_length=2, shuffle=False)[0]
    assert x.tolist() == ["b", "aw", "go"]


def test_windows():
    data = np.arange(20) * 10
    x, y = timeseries_dataset_from_array(data[:-4], data[4:], sequence_length=4)[0]
    assert x[0].tolist() == [0, 10, 20, 30] and y[0] == 40 and len(x) == len(y) == 13
    windows = timeseries_dataset_from_array(
        data, None, 3, sequence_stride=4, sampling_rate=2, batch_size=2, start_index=2
    )
    assert [w.tolist() for batch in windows for w in batch] == [
        [20, 40, 60],
        [60, 80, 100],
        [100, 120, 140],
        [140, 160, 180],
    ]
    shuffled = timeseries_dataset_from_array(data, data, 2, shuffle=True, seed=1, end_index=9)
    x, y = shuffled[0]
    assert y.tolist() == x[:, 0].tolist() != sorted(y.tolist()) == list(range(0, 80, 10))
    single = timeseries_dataset_from_array(data, data, 2, batch_size=None)
    assert single[1][0].tolist() == [10, 20] and single[1][1] == 10


@pytest.mark.parametrize(
    "options, match",
    [
        ({"sequence_length": 21}, "longer than the 20"),
        ({"sequence_length": 0}, "sequence_length"),
        ({"sequence_stride": 0}, "sequence_stride"),
        ({"sampling_rate": -1}, "sampling_rate"),
        ({"start_index": 20}, "start_index"),
        ({"start_index": 5, "end_index": 5}, "end_index"),
        ({"end_index": 21}, "end_index"),
    ],
)
def test_wrong_windows(options, match):
    with pytest.raises(ValueError, match=match):
        timeseries_dataset_from_array(np.arange(20), None, **{"sequence_length": 2, **options})

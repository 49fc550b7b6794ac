"""Batches of images from arrays, folders and tables; image files."""

import io
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gpunet import optional
from gpunet.errors import MissingPackageError, ShapeError
from gpunet.preprocessing.image import (
    DirectoryIterator,
    ImageDataGenerator,
    Iterator,
    apply_affine_transform,
    array_to_img,
    img_to_array,
    load_img,
    random_brightness,
    random_shift,
    random_zoom,
    save_img,
    smart_resize,
)

pytest.importorskip("PIL", reason="Pillow isn't installed")
pytest.importorskip("scipy", reason="SciPy isn't installed")


def images(n=10, shape=(6, 5, 3)):
    return np.random.RandomState(0).random_sample((n, *shape)).astype("float32") * 255


def wild():
    return ImageDataGenerator(
        rotation_range=40, width_shift_range=0.2, horizontal_flip=True, brightness_range=(0.5, 1.5)
    )


# -- arrays ---------------------------------------------------------------------------------------


def test_unchanged_images_in_order():
    x, y = images(), np.arange(10)
    flow = ImageDataGenerator().flow(x, y, batch_size=4, shuffle=False, sample_weight=y / 10)
    assert len(flow) == 3
    for i, (bx, by, bw) in enumerate(flow[k] for k in range(3)):
        np.testing.assert_array_equal(bx, x[4 * i : 4 * i + 4])
        np.testing.assert_array_equal(by, y[4 * i : 4 * i + 4])
        np.testing.assert_array_equal(bw, y[4 * i : 4 * i + 4] / 10)
    np.testing.assert_array_equal(flow[-1][1], [8, 9])
    with pytest.raises(IndexError, match="asked for batch 3, but there are 3"):
        flow[3]


def test_batches_depend_on_seed_epoch_and_number_alone():
    flow, again = (wild().flow(images(), np.arange(10), 4, seed=3) for _ in range(2))
    first = [flow[i] for i in range(3)]
    for i in (2, 0, 1, 1):  # in any order, as often as one likes
        np.testing.assert_array_equal(again[i][0], first[i][0])
        np.testing.assert_array_equal(again[i][1], first[i][1])
    with ThreadPoolExecutor(3) as pool:
        for (x, y), (bx, by) in zip(pool.map(again.__getitem__, range(3)), first):
            np.testing.assert_array_equal(x, bx)
            np.testing.assert_array_equal(y, by)
    flow.on_epoch_end()
    assert sorted(np.concatenate([flow[i][1] for i in range(3)])) == list(range(10))
    assert not np.array_equal(flow[0][1], first[0][1])
    assert not np.array_equal(flow[0][0], first[0][0])
    other = wild().flow(images(), np.arange(10), 4, seed=4)
    assert not np.array_equal(other[0][1], first[0][1])


def test_iterating_is_the_same_as_indexing_epoch_after_epoch():
    flow, walked = (wild().flow(images(), np.arange(10), 4, seed=3) for _ in range(2))
    for _ in range(2):
        for i in range(3):
            x, y = walked.next()
            np.testing.assert_array_equal(x, flow[i][0])
            np.testing.assert_array_equal(y, flow[i][1])
        flow.on_epoch_end()
    assert walked.total_batches_seen == 3 and walked.batch_index == 0
    next(walked)
    walked.reset()
    np.testing.assert_array_equal(walked.next()[0], walked[0][0])


def test_numpy_seed_repeats_flows_without_seed():
    found = []
    for _ in range(2):
        np.random.seed(5)
        found.append(wild().flow(images())[0])
    np.testing.assert_array_equal(*found)


def test_flows_can_be_pickled():
    flow = wild().flow(images(), seed=1)
    next(flow)
    copied = pickle.loads(pickle.dumps(flow))
    np.testing.assert_array_equal(next(copied), next(flow))


def test_more_inputs_and_subsets():
    x, more, y = images(), np.arange(20).reshape(10, 2), np.arange(10) % 2
    generator = ImageDataGenerator(validation_split=0.4)
    flow = generator.flow((x, [more, more + 1]), y, 10, shuffle=False, subset="validation")
    (bx, b1, b2), by = flow[0]
    np.testing.assert_array_equal(bx, x[:4])
    np.testing.assert_array_equal(b1, more[:4])
    np.testing.assert_array_equal(b2, more[:4] + 1)
    np.testing.assert_array_equal(by, y[:4])
    assert generator.flow(x, y, subset="training").n == 6
    with pytest.raises(ValueError, match="different number of classes"):
        generator.flow(x, np.arange(10), subset="training")
    assert generator.flow(x, np.arange(10), subset="training", ignore_class_split=True).n == 6
    with pytest.raises(ValueError, match="'training' or 'validation', got 'test'"):
        generator.flow(x, subset="test")


def test_preprocessing_function_and_data_are_left_alone():
    x = images()
    kept = x.copy()
    generator = ImageDataGenerator(
        preprocessing_function=lambda image: image + 1, rescale=2.0, samplewise_center=False
    )
    np.testing.assert_allclose(generator.flow(x, shuffle=False)[0], (x + 1) * 2, rtol=1e-6)
    np.testing.assert_array_equal(x, kept)


def test_wrong_arrays():
    flow = ImageDataGenerator().flow
    with pytest.raises(ShapeError, match="rank 4"):
        flow(images()[0])
    with pytest.raises(ShapeError, match=r"same length.*\(10, 6, 5, 3\), y.shape = \(3,\)"):
        flow(images(), np.arange(3))
    with pytest.raises(ValueError, match="got 3 parts"):
        flow([images()] * 3)
    with pytest.raises(ShapeError, match="sample_weight"):
        flow(images(), np.arange(10), sample_weight=np.ones(9))
    with pytest.raises(ValueError, match="batch_size"):
        flow(images(), batch_size=0)
    with pytest.warns(UserWarning, match="1, 3 or 4 channels"):
        flow(images(2, (4, 4, 2)))
    assert len(flow(images(0))) == 0
    with pytest.raises(StopIteration):
        next(flow(images(0)))


def test_own_iterator_as_in_keras():
    class Mine(Iterator):
        def _get_batches_of_transformed_samples(self, index_array):
            return index_array * 10

    assert [list(next(Mine(5, 2, False, None))) for _ in range(1)] == [[0, 10]]
    assert Mine(5, 2, True, 1)[0].tolist() == Mine(5, 2, True, 1)[0].tolist()


# -- generators ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, match",
    [
        ({"zoom_range": (1, 2, 3)}, "zoom_range"),
        ({"brightness_range": 0.5}, "brightness_range"),
        ({"fill_mode": "mirror"}, "fill_mode.*'mirror'"),
        ({"data_format": "first"}, "data_format.*'first'"),
        ({"validation_split": 1.5}, "validation_split"),
    ],
)
def test_wrong_options(options, match):
    with pytest.raises(ValueError, match=match):
        ImageDataGenerator(**options)


def test_options_that_need_others():
    with pytest.warns(UserWarning, match="overrides setting of `featurewise_center`"):
        assert ImageDataGenerator(featurewise_std_normalization=True).featurewise_center
    with pytest.warns(UserWarning):
        generator = ImageDataGenerator(zca_whitening=True, featurewise_std_normalization=True)
    assert generator.featurewise_center and not generator.featurewise_std_normalization
    with pytest.warns(UserWarning, match="hasn't been fit"):
        ImageDataGenerator(featurewise_center=True).standardize(images()[0])


def test_whitened_data_are_white():
    x = images(60, (3, 3, 1))
    with pytest.warns(UserWarning):
        generator = ImageDataGenerator(zca_whitening=True)
    generator.fit(x)
    white = generator.standardize(x).reshape(60, -1)
    np.testing.assert_allclose(white.T @ white / 60, np.eye(9), atol=1e-3)


def test_fit_of_wrong_data():
    with pytest.raises(ShapeError, match="rank 4"):
        ImageDataGenerator().fit(images()[0])
    with pytest.raises(ShapeError, match="at least one image"):
        ImageDataGenerator().fit(images(0))


def test_affine_transforms_that_can_be_told_by_eye():
    x = np.arange(9.0).reshape(3, 3, 1)
    turned = apply_affine_transform(x, theta=90)
    np.testing.assert_allclose(turned[..., 0], np.rot90(x[..., 0]), atol=1e-6)
    moved = apply_affine_transform(x, tx=1, fill_mode="constant", cval=-1.0)
    np.testing.assert_allclose(moved[..., 0], [[1, 2, -1], [4, 5, -1], [7, 8, -1]])
    assert apply_affine_transform(x) is x
    with pytest.raises(ValueError, match="axes"):
        apply_affine_transform(x, theta=1, channel_axis=1)
    with pytest.raises(ShapeError, match=r"\(3, 3\)"):
        apply_affine_transform(x[..., 0], theta=1)
    with pytest.raises(ValueError, match="fill_mode"):
        apply_affine_transform(x, theta=1, fill_mode="odd")
    for function in (random_zoom, random_brightness):
        with pytest.raises(ValueError, match="two floats"):
            function(x, 0.5)


@pytest.mark.parametrize("side", ["width", "height"])
def test_shifts_go_the_way_their_names_say(side):
    x = np.zeros((6, 9, 1), "float32")
    x[(slice(None), 4) if side == "height" else (3, slice(None))] = 1  # a line along that way
    generator = ImageDataGenerator(**{f"{side}_shift_range": [2]})
    np.testing.assert_array_equal(generator.random_transform(x, seed=1), x)
    other = ImageDataGenerator(**{f"{'width' if side == 'height' else 'height'}_shift_range": [2]})
    assert not np.array_equal(other.random_transform(x, seed=1), x)
    move = random_shift(x, *((0.5, 0) if side == "width" else (0, 0.5)), 0, 1, 2)
    np.testing.assert_allclose(move, x, atol=1e-6)


# -- files ---------------------------------------------------------------------------------------


def test_files_there_and_back(tmp_path):
    x = images(1)[0].round()
    for name in ("ünï.png", "b.bmp"):
        save_img(tmp_path / name, x, scale=False)
        np.testing.assert_array_equal(img_to_array(load_img(tmp_path / name)), x)
    assert load_img(str(tmp_path / "b.bmp"), target_size=(4, 7)).size == (7, 4)
    first = img_to_array(load_img(tmp_path / "b.bmp"), "channels_first")
    assert first.shape == (3, 6, 5) and first.dtype == "float32"
    np.testing.assert_array_equal(img_to_array(array_to_img(first, "channels_first", False)), x)
    grey = img_to_array(load_img(tmp_path / "b.bmp", color_mode="grayscale"))
    assert grey.shape == (6, 5, 1)
    rgba = np.concatenate([x, np.full((6, 5, 1), 255, "float32")], axis=2)
    with pytest.warns(UserWarning, match="RGBA"):
        save_img(tmp_path / "a.jpg", rgba, scale=False)
    buffer = io.BytesIO()
    save_img(buffer, x, file_format="jpg")
    assert buffer.getvalue().startswith(b"\xff\xd8")


def test_values_out_of_range_are_cut_off():
    image = array_to_img(np.array([[[-5.0] * 3, [300.0] * 3]]), scale=False)
    np.testing.assert_array_equal(np.asarray(image)[0, :, 0], [0, 255])
    deep = array_to_img(np.array([[[40000.0]]]), scale=False)
    assert deep.mode == "I" and img_to_array(deep)[0, 0, 0] == 40000


def test_wrong_files(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(OSError, match="identify"):
        load_img(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError):
        load_img(tmp_path / "b.png")
    for options, match in (
        ({"color_mode": "hsv"}, "color_mode as one of .*'hsv'"),
        ({"target_size": 4}, "target_size"),
        ({"target_size": (4, 0)}, "target_size"),
        ({"interpolation": "area"}, "interpolation"),
    ):
        with pytest.raises(ValueError, match=match):
            load_img(tmp_path / "a.png", **options)
    with pytest.raises(ShapeError, match="rank 3"):
        array_to_img(np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="1, 3 or 4, got 2"):
        array_to_img(np.zeros((2, 2, 2)))
    with pytest.raises(ShapeError):
        img_to_array(np.zeros(3))
    with pytest.raises(ValueError, match="2 integers"):
        smart_resize(np.zeros((2, 2, 1)), 4)


# -- folders and tables --------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, capsys):
    """Three classes of 4, 3 and 2 images; the value of an image's pixels tells which it is."""
    value = 0
    for name, count in (("cat", 4), ("döner", 3), ("empty", 0), ("zebra/deep", 2)):
        os.makedirs(tmp_path / name)
        for i in range(count):
            save_img(tmp_path / name / f"{i}.PNG", np.full((4, 4, 3), value), scale=False)
            value += 1
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    return tmp_path


def first_pixels(batch):
    return batch[:, 0, 0, 0].tolist()


def test_directory(folder, capsys):
    flow = ImageDataGenerator().flow_from_directory(folder, (3, 3), shuffle=False, batch_size=5)
    assert "Found 9 images belonging to 4 classes." in capsys.readouterr().out
    assert flow.class_indices == {"cat": 0, "döner": 1, "empty": 2, "zebra": 3}
    assert flow.classes.tolist() == [0, 0, 0, 0, 1, 1, 1, 3, 3] == flow.labels.tolist()
    assert flow.filenames[0] == os.path.join("cat", "0.PNG") and flow.samples == 9
    x, y = flow[1]
    assert first_pixels(x) == [5, 6, 7, 8] and x.shape == (4, 3, 3, 3)
    np.testing.assert_array_equal(y, np.eye(4)[[1, 1, 3, 3]])


@pytest.mark.parametrize("mode", ["sparse", "binary", "input", None])
def test_directory_targets(folder, mode):
    flow = ImageDataGenerator().flow_from_directory(
        folder, (4, 4), "grayscale", ["zebra", "cat"], mode, shuffle=False
    )
    batch = flow[0]
    if mode is None:
        assert first_pixels(batch) == [7, 8, 0, 1, 2, 3] and batch.shape == (6, 4, 4, 1)
    elif mode == "input":
        np.testing.assert_array_equal(*batch)
    else:
        assert batch[1].tolist() == [0, 0, 1, 1, 1, 1] and batch[1].dtype == "float32"


def test_directory_subsets(folder):
    generator = ImageDataGenerator(validation_split=0.5, rescale=1.0)
    parts = [
        generator.flow_from_directory(folder, (4, 4), shuffle=False, subset=subset)
        for subset in ("validation", "training")
    ]
    assert first_pixels(parts[0][0][0]) == [0, 1, 4, 7]
    assert first_pixels(parts[1][0][0]) == [2, 3, 5, 6, 8]


def test_directory_channels_first_and_saved_batches(folder, tmp_path):
    os.mkdir(tmp_path / "seen")
    generator = ImageDataGenerator(data_format="channels_first")
    flow = generator.flow_from_directory(
        folder, (2, 3), classes=["cat"], save_to_dir=tmp_path / "seen", save_prefix="p", seed=1
    )
    assert flow[0][0].shape == (4, 3, 2, 3)
    names = sorted(os.listdir(tmp_path / "seen"))
    assert len(names) == 4 and all(n.startswith("p_") and n.endswith(".png") for n in names)
    assert load_img(tmp_path / "seen" / names[0]).size == (3, 2)


def test_wrong_directories(folder):
    flow = ImageDataGenerator().flow_from_directory
    with pytest.raises(FileNotFoundError):
        flow(folder / "nowhere")
    with pytest.raises(ValueError, match="no folder 'dog'"):
        flow(folder, classes=["dog"])
    with pytest.raises(ValueError, match="class_mode"):
        flow(folder, class_mode="raw")
    with pytest.raises(ValueError, match="DirectoryIterator: expected color_mode"):
        flow(folder, color_mode="cmyk")
    with pytest.raises(ValueError, match="DirectoryIterator: expected target_size"):
        flow(folder, target_size=(3,))
    assert DirectoryIterator(folder, None, (4, 4), shuffle=False)[0][0].shape == (9, 4, 4, 3)


def test_table(folder):
    pandas = pytest.importorskip("pandas", reason="pandas isn't installed")
    frame = pandas.DataFrame(
        {
            "file": ["cat/0.PNG", "gone.png", "cat/1.PNG", "cat/2.PNG", "cat/notes.txt"],
            "kind": ["a", "b", "b", "c", "c"],
            "several": [["a"], ["b"], ["a", "b"], ["c"], []],
            "size": [1.5, 2.5, 3.5, 4.5, 5.5],
            "w": [1, 2, 3, 4, 5],
        }
    )
    generator = ImageDataGenerator()

    def flow(**options):
        with pytest.warns(UserWarning, match="Found 2 invalid image filename"):
            return generator.flow_from_dataframe(
                frame, folder, "file", target_size=(4, 4), shuffle=False, **options
            )[0]

    x, y, w = flow(y_col="kind", weight_col="w")
    assert first_pixels(x) == [0, 1, 2] and w.tolist() == [1, 3, 4]
    np.testing.assert_array_equal(y, np.eye(3))
    x, y = flow(y_col="several", classes=["b", "a"])
    assert first_pixels(x) == [0, 1]
    np.testing.assert_array_equal(y, [[0, 1], [1, 1]])
    assert flow(y_col="kind", class_mode="sparse")[1].tolist() == [0, 1, 2]
    _, y = flow(y_col="kind", class_mode="binary", classes=["b", "c"])
    assert y.tolist() == [0, 1]
    assert flow(y_col="size", class_mode="raw")[1].tolist() == [1.5, 3.5, 4.5]
    assert flow(y_col=["size", "w"], class_mode="raw")[1].shape == (3, 2)
    _, (size, w) = flow(y_col=["size", "w"], class_mode="multi_output")
    assert size.tolist() == [1.5, 3.5, 4.5] and w.tolist() == [1, 3, 4]
    assert first_pixels(flow(class_mode=None)) == [0, 1, 2]
    for options, error, match in (
        ({"y_col": "nothing"}, ValueError, "no columns"),
        ({"y_col": "size"}, TypeError, "string, list or tuple, got 1.5"),
        ({"y_col": "kind", "class_mode": "binary"}, ValueError, "2 classes. Found 3"),
        ({"y_col": "kind", "class_mode": "multi_output"}, TypeError, "must be a list"),
        ({"y_col": "kind", "weight_col": "kind"}, TypeError, "numeric"),
        ({"y_col": "kind", "odd": 1}, TypeError, "unknown argument"),
    ):
        with pytest.raises(error, match=match):
            generator.flow_from_dataframe(frame, folder, "file", **options)


# -- missing packages ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hidden, call",
    [
        ("PIL", "image.load_img('a.png')"),
        ("PIL", "image.array_to_img(np.zeros((2, 2, 3)))"),
        ("PIL", "image.apply_brightness_shift(np.zeros((2, 2, 3)), 1.0)"),
        ("scipy", "image.apply_affine_transform(np.zeros((2, 2, 3)), theta=3)"),
    ],
)
def test_missing_package_names_the_command(hidden, call):
    code = (
        f"import sys; sys.modules[{hidden!r}] = None\n"
        "import numpy as np\n"
        "from gpunet.preprocessing import image\n"
        "image.ImageDataGenerator(horizontal_flip=True).flow(np.zeros((3, 2, 2, 3)))[0]\n"
        f"try:\n    {call}\nexcept ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "gpunet[image]"' in done.stdout, done.stderr


def test_optional_package():
    with pytest.raises(MissingPackageError, match='f needs Nothing; pip install "no-such-thing"'):
        optional.load("no_such_thing", "f", "Nothing", "no-such-thing")

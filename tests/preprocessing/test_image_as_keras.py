"""Images against stored results of the real Keras."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from gpunet.preprocessing import image

pytest.importorskip("PIL", reason="Pillow isn't installed")
pytest.importorskip("scipy", reason="SciPy isn't installed")

KERAS = Path(__file__).resolve().parent.parent / "fixtures" / "keras"
CASES = json.loads((KERAS / "augmentation.json").read_text())["cases"]


@pytest.fixture(scope="module")
def arrays():
    with np.load(KERAS / "augmentation.npz") as file:
        return dict(file)


def cases(kind):
    chosen = [case for case in CASES if case["kind"] == kind]
    assert chosen
    return pytest.mark.parametrize("case", chosen, ids=range(len(chosen)))


def compare(got, want, atol=2e-4):
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=atol)


@cases("apply")
def test_apply_transform(case, arrays):
    generator = image.ImageDataGenerator(**case["options"])
    y = generator.apply_transform(arrays[case["image"]].copy(), case["transform"])
    compare(y, arrays[case["outputs"][0]])


@cases("apply_first")
def test_apply_transform_channels_first(case, arrays):
    generator = image.ImageDataGenerator(data_format="channels_first")
    x = np.moveaxis(arrays[case["image"]], 2, 0).copy()
    compare(generator.apply_transform(x, case["transform"]), arrays[case["outputs"][0]])


@cases("random")
def test_random_transform(case, arrays):
    generator = image.ImageDataGenerator(**case["options"])
    moved = any("shift_range" in name and name[0] in "wh" for name in case["options"])
    for seed, want in zip((1, 2), case["drawn"]):
        want["tx"], want["ty"] = want["ty"], want["tx"]  # see docs/compat.md
        got = generator.get_random_transform((7, 9, 3), seed=seed)
        assert set(got) == set(want)
        for name, value in want.items():
            assert got[name] == (value if value is None else pytest.approx(value)), name
    if moved:  # as far, but along the other axis
        return
    y = generator.random_transform(arrays["rgb"].copy(), seed=3)
    compare(y, arrays[case["outputs"][0]])


@cases("fitted")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_fit_and_standardize(case, arrays):
    generator = image.ImageDataGenerator(**case["options"])
    generator.fit(arrays["batch"], augment=case["augment"], rounds=2, seed=5)
    y = np.stack([generator.standardize(x.copy()) for x in arrays["batch"]])
    found = [generator.mean, generator.std, generator.zca_whitening_matrix]
    got = [y, *[f for f in found if f is not None]]
    assert len(got) == len(case["outputs"])
    for a, key in zip(got, case["outputs"]):
        np.testing.assert_allclose(a, arrays[key], rtol=1e-3, atol=1e-3)
        assert a.shape == arrays[key].shape and a.dtype == arrays[key].dtype


@cases("function")
def test_random_functions(case, arrays):
    np.random.seed(4)
    y = getattr(image, case["function"])(arrays["rgb"].copy(), *case["args"], **case["options"])
    if case["function"] == "random_shift":  # Keras moves by as much along the other axis
        np.random.seed(4)
        ty, tx = np.random.uniform(-0.2, 0.2) * 7, np.random.uniform(-0.3, 0.3) * 9
        want = image.apply_affine_transform(arrays["rgb"], tx=tx, ty=ty)
        np.testing.assert_array_equal(y, want)
        return
    compare(y, arrays[case["outputs"][0]])


@cases("loaded")
def test_load_img(case, arrays):
    file = io.BytesIO(arrays["png"].tobytes())
    y = image.img_to_array(image.load_img(file, color_mode=case["mode"], **case["options"]))
    compare(y, arrays[case["outputs"][0]], atol=0)


@cases("to_image")
def test_array_to_img(case, arrays):
    y = np.asarray(image.array_to_img(arrays[case["image"]], scale=case["scale"]))
    compare(y, arrays[case["outputs"][0]], atol=0)


@cases("resized")
def test_smart_resize(case, arrays):
    y = image.smart_resize(arrays["rgb"], case["size"], interpolation=case["interpolation"])
    compare(y, arrays[case["outputs"][0]], atol=1e-3)

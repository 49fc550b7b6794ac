"""Functions on symbolic tensors in files: read as Keras wrote them, written as it reads them."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import Input, Model, models
from gpunet import backend as K
from gpunet.errors import FileFormatError
from gpunet.layers import Dense

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "interop")]

from graph_functions import FUNCTIONS, build  # noqa: E402
from make_env import peer_environ, python_of  # noqa: E402

CASES = json.loads((TESTS / "fixtures/keras/functions.json").read_text(encoding="utf8"))["cases"]


def outputs(model, inputs):
    xs = [np.asarray(x, "float32") for x in inputs]
    ys = model(xs if len(xs) > 1 else xs[0], training=False)
    return [np.asarray(y) for y in (ys if isinstance(ys, (list, tuple)) else [ys])]


def assert_same(got, want, name):
    assert len(got) == len(want)
    for y, expected in zip(got, want):
        expected = np.asarray(expected)
        assert y.shape == expected.shape, name
        half = y.dtype == np.float16
        np.testing.assert_allclose(
            y, expected, rtol=1e-3 if half else 1e-5, atol=2e-3 if half else 2e-6, err_msg=name
        )


@pytest.mark.parametrize("name", CASES)
def test_read_as_keras_wrote_it(name):
    case = CASES[name]
    model = models.model_from_config(copy.deepcopy(case["config"]))
    for got in (model, models.model_from_json(model.to_json())):
        assert_same(outputs(got, case["inputs"]), case["outputs"], name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_written_and_read_again(name):
    case = CASES[name]
    model = build(gpunet, name)
    assert_same(outputs(model, case["inputs"]), case["outputs"], name)
    again = models.model_from_json(model.to_json())
    assert_same(outputs(again, case["inputs"]), case["outputs"], name)
    assert json.loads(again.to_json()) == json.loads(model.to_json())
    assert [t.shape for t in again.outputs] == [t.shape for t in model.outputs]


def test_layers_keep_the_names_of_the_file():
    config = CASES["tf_norm"]["config"]
    model = models.model_from_config(config)
    assert [x.name for x in model.layers][-1] != "" and "in_0" in [x.name for x in model.layers]
    model = models.model_from_config(CASES["exp"]["config"])
    assert [x.name for x in model.layers] == ["in_0", "tf.math.exp"]
    lines = []
    model.summary(print_fn=lines.append)
    assert lines[6].split("  ")[0] == "tf.math.exp (TFOpLambda)"


def test_in_files(tmp_path, rng):
    inputs = Input((4,))
    x = K.exp(inputs) + K.variable([1.0, 2.0, 3.0, 4.0])
    model = Model(inputs, Dense(2)(K.in_train_phase(x, K.ones_like(x))))
    model.compile("sgd", "mse")
    data = rng.standard_normal((3, 4)).astype("float32")
    model.fit(data, np.zeros((3, 2)), verbose=0)
    path = str(tmp_path / "model.h5")
    model.save(path)
    again = models.load_model(path)
    np.testing.assert_array_equal(again.predict(data), model.predict(data))
    (one,), (two,) = (m.fit(data, data[:, :2], verbose=0).history["loss"] for m in (again, model))
    assert one == pytest.approx(two, rel=1e-6)
    np.testing.assert_array_equal(copy.deepcopy(model).predict(data), model.predict(data))


def test_refused_before_anything_is_written(tmp_path, rng):
    inputs = Input((4,))
    model = Model(inputs, Dense(2)(K.map_fn(lambda t: t * 2, inputs)))
    path = tmp_path / "model.h5"
    path.write_bytes(b"old")
    with pytest.raises(NotImplementedError, match="'map_fn' on symbolic tensors.*Lambda"):
        model.save(path)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1
    model.save_weights(tmp_path / "weights.h5")


@pytest.mark.parametrize(
    "change, text",
    [
        ({"function": "io.read_file"}, "'tf.io.read_file', which isn't known here"),
        ({"function": "keras.backend.set_value"}, "isn't known here"),
        ({"function": "os.system"}, "isn't known here"),
        ({"function": None}, "isn't known here"),
    ],
)
def test_functions_out_of_the_table(change, text):
    config = copy.deepcopy(CASES["exp"]["config"])
    config["config"]["layers"][1]["config"].update(change)
    with pytest.raises(FileFormatError, match=text):
        models.model_from_config(config)


def test_arguments_that_are_not_understood():
    config = copy.deepcopy(CASES["sum"]["config"])
    config["config"]["layers"][1]["inbound_nodes"][0][3]["keepdims_of"] = 3
    with pytest.raises(FileFormatError, match="keepdims_of=3"):
        models.model_from_config(config)
    config = {"name": "raw", "node_def": json.dumps({"op": "ReadFile", "input": ["x"]})}
    entry = {"class_name": "TensorFlowOpLayer", "config": config, "name": "raw"}
    whole = copy.deepcopy(CASES["exp"]["config"])
    whole["config"]["layers"][1] = {**entry, "inbound_nodes": [[["in_0", 0, 0, {}]]]}
    with pytest.raises(FileFormatError, match="operation 'ReadFile', which isn't known"):
        models.model_from_config(whole)


PEER = """
import json, sys
import numpy as np
import tf_keras
cases = json.load(open(sys.argv[1]))
found = {}
for name, (config, inputs) in cases.items():
    tf_keras.backend.clear_session()
    try:
        model = tf_keras.models.model_from_json(config)
        xs = [np.asarray(x, "float32") for x in inputs]
        ys = model(xs if len(xs) > 1 else xs[0], training=False)
        ys = ys if isinstance(ys, (list, tuple)) else [ys]
        found[name] = [y.numpy().tolist() for y in ys]
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
json.dump(found, open(sys.argv[2], "w"))
"""


@pytest.mark.interop("tf")
def test_real_keras_opens_them(tmp_path):
    ours = {name: (build(gpunet, name).to_json(), CASES[name]["inputs"]) for name in FUNCTIONS}
    job, result = tmp_path / "job.json", tmp_path / "result.json"
    job.write_text(json.dumps(ours), encoding="utf8")
    subprocess.run(
        [python_of("tf"), "-c", PEER, str(job), str(result)],
        env=peer_environ(),
        check=True,
        capture_output=True,
    )
    found = json.loads(result.read_text(encoding="utf8"))
    failed = {name: y for name, y in found.items() if isinstance(y, str)}
    assert not failed, "\n".join(failed.values())
    for name, ys in found.items():
        assert_same([np.asarray(y) for y in ys], CASES[name]["outputs"], name)


def test_layers_of_functions_are_called_as_in_keras():
    gpunet.backend.clear_session()
    x = Input((4, 3))
    made = (x + 1.0, x * 2.0, 1.0 - x, x[:, 0], K.exp(x), K.sum(x, axis=1), 2.0 + x)
    assert [y.node.layer.name for y in made] == [
        "tf.__operators__.add",
        "tf.math.multiply",
        "tf.math.subtract",
        "tf.__operators__.getitem",
        "tf.math.exp",
        "tf.math.reduce_sum",
        "tf.__operators__.add_1",
    ]

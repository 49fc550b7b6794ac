"""The text of summary(), to the letter."""

import json
from pathlib import Path

import numpy as np
import pytest

from gpunet import layers
from gpunet.context import reset_uids
from gpunet.layers import Dense, Input
from gpunet.models import Model, Sequential

_INDEX = Path(__file__).resolve().parent / "fixtures" / "h5" / "index.json"
STORED = json.loads(_INDEX.read_text(encoding="utf8"))["keras2"]


@pytest.fixture(autouse=True)
def fresh_names():
    reset_uids()


def lines_of(model, **options):
    lines = []
    model.summary(print_fn=lines.append, **options)
    return lines


def mlp(inputs=784, units=64, name=None):
    x = Input(shape=(inputs,))
    y = Dense(units, activation="relu")(x)
    y = Dense(units, activation="relu")(y)
    return Model(inputs=x, outputs=Dense(10)(y), name=name)


def test_of_the_tutorials(capsys):
    mlp(name="mnist_model").summary()
    want = """\
Model: "mnist_model"
_________________________________________________________________
Layer (type)                 Output Shape              Param #   
=================================================================
input_1 (InputLayer)         [(None, 784)]             0         
_________________________________________________________________
dense (Dense)                (None, 64)                50240     
_________________________________________________________________
dense_1 (Dense)              (None, 64)                4160      
_________________________________________________________________
dense_2 (Dense)              (None, 10)                650       
=================================================================
Total params: 55,050
Trainable params: 55,050
Non-trainable params: 0
_________________________________________________________________
"""  # noqa: W291
    assert capsys.readouterr().out == want


def stored_mlp():
    return mlp(20, 8)


def stored_stack():
    return Sequential([Dense(8, input_shape=(6,)), Dense(3)])


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("seed_mlp_functional", stored_mlp),
        ("opt_adam", stored_stack),
        ("newopt_adam", stored_stack),
    ],
)
@pytest.mark.parametrize("width", ["default", "65"])
def test_of_stored_models(name, build, width):
    case = STORED[name]
    model = build()
    got = lines_of(model, line_length=None if width == "default" else int(width))
    assert got == case["summary"][width]["keras_2.4"].splitlines()
    assert [[type(x).__name__, x.name] for x in model.layers] == case["layers"]
    assert [list(w.shape) for w in model.get_weights()] == case["weight_shapes"]


def test_connections():
    a, b = Input((4,), name="first"), Input((4,), name="second_input_with_a_long_name")
    h = layers.Add(name="sum")([a, b])
    model = Model([a, b], [Dense(1, name="end")(h), layers.Activation("relu", name="act")(h)])
    lines = lines_of(model)
    assert {len(line) for line in lines[1:-4]} == {98}
    assert lines[2].rstrip() == (
        "Layer (type)                    Output Shape         Param #     Connected to"
    )
    assert lines[6] == "second_input_with_a_long_name ( [(None, 4)]          0".ljust(98)
    assert lines[8].split() == ["sum", "(Add)", "(None,", "4)", "0", "first[0][0]"]
    assert lines[9] == " " * 65 + "second_input_with_a_long_name[0]["


def test_nested_models_in_boxes():
    x = Input((5,), name="mid_in")
    inner = Sequential([Dense(6, input_shape=(5,), name="in_dense"), layers.Activation("relu")],
                       name="inner")  # fmt: skip
    middle = Model(x, Dense(6, name="mid_dense")(inner(x)), name="middle")
    x = Input((5,), name="outer_in")
    model = Model(x, Dense(3, name="outer_dense")(middle(x)), name="outer")
    want = """\
Model: "outer"
_________________________________________________________________
Layer (type)                 Output Shape              Param #   
=================================================================
outer_in (InputLayer)        [(None, 5)]               0         
_________________________________________________________________
middle (Functional)          (None, 6)                 78        
|¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯|
|mid_in (InputLayer)         [(None, 5)]               0        |
|_______________________________________________________________|
|inner (Sequential)          (None, 6)                 36       |
||¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯||
||in_dense (Dense)           (None, 6)                 36      ||
||_____________________________________________________________||
||activation (Activation)    (None, 6)                 0       ||
|¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯|
|mid_dense (Dense)           (None, 6)                 42       |
¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯
outer_dense (Dense)          (None, 3)                 21        
=================================================================
Total params: 99
Trainable params: 99
Non-trainable params: 0
_________________________________________________________________
""".splitlines()  # noqa: W291
    assert lines_of(model, expand_nested=True) == want
    assert [line for line in lines_of(model) if "inner" in line] == []


def test_width_and_positions():
    model = mlp()
    narrow = lines_of(model, line_length=40)
    assert narrow[1] == "_" * 40 and narrow[2] == "Layer (type)      Output Shape    Param "
    assert narrow[4] == "input_1 (InputLay [(None, 784)]   0     "
    wide = lines_of(model, line_length=100, positions=[0.5, 0.8, 1.0])
    assert wide[6].index("(None, 64)") == 50 and len(wide[6]) == 100
    absolute = lines_of(model, positions=[20, 40, 60])
    assert absolute[6] == "dense (Dense)       (None, 64)          50240" + " " * 15
    assert absolute[1] == "_" * 65
    positions = [0.5, 0.8, 1.0]
    lines_of(model, positions=positions, show_trainable=True)
    assert positions == [0.5, 0.8, 1.0]


def test_trainable_column_and_counts():
    model = mlp()
    model.layers[1].trainable = False
    lines = lines_of(model, show_trainable=True)
    assert lines[2].split()[-1] == "Trainable" and lines[1] == "_" * 76
    assert [line.split()[-1] for line in (lines[4], lines[6], lines[8])] == ["Y", "N", "Y"]
    assert lines[-4:-1] == [
        "Total params: 55,050",
        "Trainable params: 4,810",
        "Non-trainable params: 50,240",
    ]


def test_part_of_the_layers():
    model = mlp()
    lines = lines_of(model, layer_range=["dense", "dense_1"])
    assert [line.split()[0] for line in lines[4:8:2]] == ["dense", "dense_1"]
    assert lines[7] == "=" * 65
    with pytest.raises(ValueError, match="layer_range"):
        lines_of(model, layer_range=["dense", "nobody"])


def test_of_a_subclass():
    class Net(Model):
        def __init__(self):
            super().__init__(name="net")
            self.used, self.spare = Dense(2, name="used"), Dense(3, name="spare")

        def call(self, x):
            return self.used(x)

    model = Net()
    model(np.ones((1, 3), "float32"))
    lines = lines_of(model)
    assert lines[4].split() == ["used", "(Dense)", "multiple", "8"]
    assert lines[6].split() == ["spare", "(Dense)", "multiple", "0", "(unused)"]


def test_layers_called_twice():
    x = Input((3,))
    shared = Dense(3, name="shared")
    lines = lines_of(Model(x, shared(shared(x))))
    assert lines[6].rstrip().endswith("input_1[0][0]") and lines[7].split() == ["shared[0][0]"]
    other = Dense(2, name="other")
    a, b = Input((None, 3)), Input((5, 3))
    lines = lines_of(Model([a, b], [other(a), other(b)]))
    assert lines[8].split()[:3] == ["other", "(Dense)", "multiple"]

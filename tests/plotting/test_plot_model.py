"""Pictures of models: what they show, their files, and what is refused."""

import os
import re
import stat
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from plotted_models import autoencoder, siamese, ticket_router, toy_resnet, twice

import gpunet as keras
from gpunet import layers
from gpunet.plotting.diagram import diagram_of
from gpunet.plotting.drawing import Rectangle, Text, draw, text_width
from gpunet.utils import model_to_dot, plot_model

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def no_graphviz(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


def texts(picture):
    root = ElementTree.fromstring(picture.svg())
    return [t.text for t in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("rankdir", ["TB", "LR", "BT", "RL"])
@pytest.mark.parametrize("make", [ticket_router, autoencoder, toy_resnet, siamese, twice])
def test_drawing_is_readable(make, rankdir):
    """Boxes lie beside or within each other, and texts inside their boxes."""
    diagram = diagram_of(make(), show_shapes=True, expand_nested=True)
    sheet = draw(diagram, rankdir)
    boxes = [s for s in sheet.shapes if isinstance(s, Rectangle)]
    for box in boxes:
        assert box.x >= 0 and box.x + box.width <= sheet.width
        assert box.y >= 0 and box.y + box.height <= sheet.height
    for a in boxes:
        for b in boxes:
            apart = (
                a.x + a.width <= b.x + 1e-6
                or b.x + b.width <= a.x + 1e-6
                or a.y + a.height <= b.y + 1e-6
                or b.y + b.height <= a.y + 1e-6
            )
            assert apart or within(a, b) or within(b, a)
    for text in (s for s in sheet.shapes if isinstance(s, Text)):
        width = text_width(text.text, text.bold)
        left = text.x - (width / 2 if text.anchor == "middle" else 0)
        assert any(
            b.x < left and left + width < b.x + b.width and b.y < text.y < b.y + b.height
            for b in boxes
        )


def within(a, b):
    inside = a.x >= b.x - 1e-6 and a.x + a.width <= b.x + b.width + 1e-6
    return inside and a.y >= b.y - 1e-6 and a.y + a.height <= b.y + b.height + 1e-6


def test_letters_are_not_wider_than_thought():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib measures the letters")
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    assert matplotlib
    for text in ["conv2d_transpose_12: Conv2DTranspose", "[(None, 128), (None, 32, 8)]", "WWmm@Qü"]:
        for bold in (False, True):
            font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
            real = TextPath((0, 0), text, size=12, prop=font).get_extents().width
            assert real <= 1.12 * text_width(text, bold)


def test_ticket_router_shows_names_classes_shapes():
    shown = texts(plot_model(ticket_router(), to_file=None, show_shapes=True))
    for text in (
        "title: InputLayer",
        "read_title: LSTM",
        "(None, None, 64)",
        "join: Concatenate",
        "[(None, 128), (None, 32), (None, 12)]",
        "(None, 172)",
        "department: Dense",
    ):
        assert text in shown


def test_without_names_and_shapes():
    shown = texts(plot_model(ticket_router(), None, show_layer_names=False))
    assert sorted(shown) == sorted(
        ["InputLayer"] * 3 + ["Embedding"] * 2 + ["LSTM"] * 2 + ["Concatenate"] + ["Dense"] * 2
    )


def test_details_of_layers():
    model = keras.Sequential(
        [layers.Dense(3, activation="relu", input_shape=(4,)), layers.Dropout(0.5)]
    )
    model.layers[0].trainable = False
    picture = plot_model(
        model, None, show_dtype=True, show_layer_activations=True, show_trainable=True
    )
    dense = next(b for b in picture.diagram.boxes if "Dense" in b.title[0])
    assert dense.rows == [
        ("activation:", ["relu"]),
        ("trainable:", ["no"]),
        ("dtype:", ["float32"]),
    ]
    dropout = picture.diagram.boxes[-1]
    assert [label for label, _ in dropout.rows] == ["trainable:", "dtype:"]


def test_wrapped_layers_say_what_they_wrap():
    model = keras.Sequential(
        [layers.Bidirectional(layers.LSTM(2), input_shape=(3, 4), name="both")]
    )
    assert "both: Bidirectional(LSTM)" in texts(plot_model(model, None))


def test_nested_models_open_and_closed():
    model = autoencoder()
    closed = texts(plot_model(model, None))
    assert closed == ["img: InputLayer", "encoder: Functional", "decoder: Functional"]
    opened = texts(plot_model(model, None, expand_nested=True))
    assert {"see: Conv2D", "peak: GlobalMaxPooling2D", "paint: Conv2DTranspose"} < set(opened)


def test_shared_layer_is_one_box_with_two_arrows():
    diagram = diagram_of(siamese(), show_shapes=True)
    names = [b.key for b in diagram.boxes]
    found = {(names[u], names[v]) for u, v in diagram.edges}
    assert found == {("a", "shared"), ("b", "shared"), ("shared", "both"), ("both", "same")}


def test_layer_on_its_own_output_has_an_arrow_to_itself():
    diagram = diagram_of(twice())
    names = [b.key for b in diagram.boxes]
    assert ("again", "again") in {(names[u], names[v]) for u, v in diagram.edges}
    assert plot_model(twice(), None).svg().count("<polygon") == 3


def test_layer_range():
    model = toy_resnet()
    names = [x.name for x in model.layers]
    picture = plot_model(model, None, layer_range=[names[2], names[4]])
    assert [b.key for b in picture.diagram.boxes] == names[2:5]
    picture = plot_model(model, None, layer_range=["im.*", "max_pooling.*"])
    assert [b.key for b in picture.diagram.boxes] == names[:3]
    with pytest.raises(ValueError, match=r"expected layer_range to be two names .* got \['no', "):
        plot_model(model, None, layer_range=["no", "img"])


def test_strange_names():
    name = "ü<&>\"quote'$x_1$ 中文"
    long = "_".join(["name"] * 40)
    start = keras.Input((2,), name=name)
    model = keras.Model(start, layers.Dense(2, name=long)(start))
    shown = texts(plot_model(model, None))
    assert f"{name}: InputLayer" in shown
    assert "".join(shown[1:]).replace(" ", "") == f"{long}:Dense"
    assert max(map(len, shown)) < 60


def test_hundreds_of_layers():
    start = x = keras.Input((8,))
    for _ in range(50):
        x = layers.Add()([x, layers.Activation("relu")(layers.Dense(8)(x))])
    model = keras.Model(start, x)
    svg = plot_model(model, None, show_shapes=True).svg()
    assert svg.count("<polygon") == 200


def test_rankdir():
    places = {}
    for rankdir in ("TB", "BT", "LR", "RL"):
        sheet = draw(diagram_of(twice()), rankdir)
        at = {s.text: (s.x, s.y) for s in sheet.shapes if isinstance(s, Text)}
        places[rankdir] = at["start: InputLayer"], at["end: Dense"]
    assert places["TB"][0][1] < places["TB"][1][1]
    assert places["BT"][0][1] > places["BT"][1][1]
    assert places["LR"][0][0] < places["LR"][1][0]
    assert places["RL"][0][0] > places["RL"][1][0]


def test_subclassed_model_is_one_box():
    class Mine(keras.Model):
        def call(self, x):
            return x

    model = Mine(name="mine")
    model.build((None, 3))
    assert texts(plot_model(model, None)) == ["mine: Mine"]
    assert model._repr_svg_() is None


# -- files --------------------------------------------------------------------------------


def test_svg_file_and_notebook(tmp_path):
    model = ticket_router()
    picture = plot_model(model, tmp_path / "m.svg", show_shapes=True)
    written = (tmp_path / "m.svg").read_text(encoding="utf8")
    assert written == picture._repr_svg_() == model._repr_svg_()
    assert os.listdir(tmp_path) == ["m.svg"]


def test_png_file_and_dpi(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow looks at the picture")
    pytest.importorskip("matplotlib", reason="matplotlib draws it")
    sizes = []
    for dpi in (96, 192):
        plot_model(siamese(), str(tmp_path / "m.png"), show_shapes=True, dpi=dpi)
        with image.open(tmp_path / "m.png") as picture:
            sizes.append(picture.size)
            colours = len(picture.convert("RGB").getcolors(1 << 20))
    assert sizes[1] == pytest.approx([2 * n for n in sizes[0]], abs=2) and colours > 20
    plot_model(siamese(), str(tmp_path / "plain"))
    assert (tmp_path / "plain").read_bytes()[:4] == b"\x89PNG"


def test_failure_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "m.svg").write_text("old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        plot_model(siamese(), tmp_path / "m.svg")
    assert (tmp_path / "m.svg").read_text() == "old" and os.listdir(tmp_path) == ["m.svg"]


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        (
            {"to_file": "m.xyz"},
            ValueError,
            r"a name that ends in png, svg, .* got 'm.xyz'",
        ),
        ({"rankdir": "UP"}, ValueError, r"expected rankdir to be one of .* got 'UP'"),
        ({"dpi": 0}, ValueError, r"expected dpi to be a number > 0, got 0"),
        ({"colour": 1}, TypeError, r"unknown argument\(s\) \['colour'\]"),
        ({"to_file": "/no/such/folder/m.svg"}, FileNotFoundError, r"the folder .* doesn.t exist"),
    ],
)
def test_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        plot_model(siamese(), **{"to_file": None, **arguments})


def test_model_must_be_built():
    with pytest.raises(ValueError, match="model 'empty' has not yet been built"):
        plot_model(keras.Sequential([layers.Dense(2)], name="empty"), None)
    with pytest.raises(TypeError, match="expected a model, got Dense"):
        plot_model(layers.Dense(2), None)


BLOCKED = """
import sys
for name in {names!r}:
    sys.modules[name] = None
import gpunet as keras
model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
keras.utils.plot_model(model, "m.svg", show_shapes=True)
for do in (lambda: keras.utils.plot_model(model, "m.png"),
           lambda: keras.utils.model_to_dot(model),
           lambda: keras.utils.plot_history({{"loss": [1.0]}}, "h.png")):
    try:
        do()
    except ImportError as error:
        print(error)
"""


def test_missing_packages_are_named(tmp_path):
    code = BLOCKED.format(names=["matplotlib", "pydot"])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    for line, start in zip(
        lines, ["plot_model needs matplotlib", "model_to_dot needs pydot", "plot_h"]
    ):
        assert line.startswith(start) and 'pip install "gpunet[plot]"' in line
    assert os.listdir(tmp_path) == ["m.svg"]


# -- Graphviz -----------------------------------------------------------------------------


def fake_dot(folder, body):
    folder.mkdir()
    (folder / "dot").write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    (folder / "dot").chmod(stat.S_IRWXU)
    return str(folder)


def test_graphviz_draws_where_it_is(tmp_path, monkeypatch):
    body = "sys.stdout.write(sys.argv[1] + sys.stdin.read())"
    monkeypatch.setenv("PATH", fake_dot(tmp_path / "bin", body))
    plot_model(siamese(), tmp_path / "m.png", rankdir="LR")
    written = (tmp_path / "m.png").read_text()
    assert written.startswith("-Tpngdigraph model {\nrankdir=LR;")
    assert '"a" -> "shared";' in written


def test_broken_graphviz_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", fake_dot(tmp_path / "bin", "sys.exit('no fonts')"))
    with pytest.warns(UserWarning, match="dot failed: no fonts; gpunet draws it itself"):
        plot_model(siamese(), tmp_path / "m.svg")
    assert (tmp_path / "m.svg").read_text().startswith("<svg")


def test_dot_text_of_nested_models():
    text = plot_model(autoencoder(), None, expand_nested=True, show_shapes=True).dot()
    assert 'subgraph "cluster_encoder" {' in text
    assert '"img" -> "encoder/original_img";' in text
    assert '"encoder/peak" -> "decoder/encoded_img";' in text
    assert "{input:|(None, 28, 28, 1)}" in text


def test_model_to_dot():
    pydot = pytest.importorskip("pydot", reason="pydot has the graphs")
    graph = model_to_dot(ticket_router(), show_shapes=True, rankdir="LR")
    assert isinstance(graph, pydot.Dot) and graph.get_rankdir() == "LR"
    assert len(graph.get_edges()) == 9
    names = {n.get_name().strip('"') for n in graph.get_nodes()}
    assert {"title", "join", "priority"} < names
    assert isinstance(model_to_dot(siamese(), subgraph=True), pydot.Cluster)
    nested = model_to_dot(autoencoder(), expand_nested=True).to_string()
    assert 'subgraph "cluster_encoder" {' in nested and '"img" -> "encoder/original_img"' in nested
    strange = keras.Input((2,), name="ü<&>\"quote' {中|文}")
    graph = model_to_dot(keras.Model(strange, layers.Dense(2)(strange)))
    assert any(re.search("中", n.get_name()) for n in graph.get_nodes())

"""Curves of training."""

import os

import numpy as np
import pytest

import gpunet as keras
from gpunet.utils import plot_history

pytest.importorskip("matplotlib", reason="matplotlib draws the curves")


def trained():
    model = keras.Sequential([keras.layers.Dense(1, input_shape=(3,))])
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
    return model.fit(x, y, epochs=3, verbose=0, validation_split=0.5)


def test_each_metric_has_a_panel_with_both_curves(tmp_path):
    history = trained()
    figure = plot_history(history, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert [axes.get_title() for axes in figure.axes] == ["loss", "mae"]
    for axes, name in zip(figure.axes, ["loss", "mae"], strict=True):
        training, validation = axes.get_lines()
        np.testing.assert_array_equal(training.get_xdata(), [1, 2, 3])
        np.testing.assert_allclose(training.get_ydata(), history.history[name])
        np.testing.assert_allclose(validation.get_ydata(), history.history[f"val_{name}"])


def test_dict_and_chosen_metrics(tmp_path):
    figure = plot_history({"loss": [2.0, 1.0], "acc": [0.1, 0.2]}, tmp_path / "h.svg", ["acc"])
    assert [axes.get_title() for axes in figure.axes] == ["acc"]
    assert "<svg" in (tmp_path / "h.svg").read_text()


def test_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected what fit\(\) returned, got \{\}"):
        plot_history({}, tmp_path / "h.png")
    with pytest.raises(ValueError, match=r"no curves \['f1'\]; there are \['loss'\]"):
        plot_history({"loss": [1.0]}, tmp_path / "h.png", ["f1"])
    with pytest.raises(ValueError, match="expected a name that ends in png, svg, pdf, got"):
        plot_history({"loss": [1.0]}, "h.txt")
    assert os.listdir(tmp_path) == []

"""Curves of training."""

import os

import numpy as np

from gpunet import optional
from gpunet.plotting.output import kind_of, write_whole
from gpunet.plotting.raster import saved

__all__ = ["plot_history"]

_KINDS = ("png", "svg", "pdf")


def plot_history(history, to_file="history.png", metrics=None, dpi=96):
    """Draw how losses and metrics went: a panel each, training and validation together.

    Args:
        history: History that ``fit`` returned, or the dict in it.
        to_file: str or path-like that ends in ``.png``, ``.svg`` or ``.pdf``; None writes none.
        metrics: list of names to draw; all by default.
        dpi: number, dots for each inch.

    Returns:
        The figure of matplotlib.

    Raises:
        ValueError: no curves, an unknown name or suffix.
        MissingPackageError: matplotlib isn't installed.
        OSError: the file can't be written; an old one is as it was.
    """
    optional.load("matplotlib", "plot_history", "matplotlib", "gpunet[plot]")
    curves = getattr(history, "history", history)
    if not isinstance(curves, dict) or not curves:
        raise ValueError(f"plot_history: expected what fit() returned, got {history!r}")
    names = list(dict.fromkeys(n.removeprefix("val_") for n in curves))
    if metrics is not None:
        unknown = [n for n in metrics if n not in names]
        if unknown:
            raise ValueError(f"plot_history: no curves {unknown}; there are {names}")
        names = list(metrics)
    kind = None if to_file is None else kind_of(to_file, _KINDS, "plot_history")
    figure = _figure(curves, names, getattr(history, "epoch", None))
    if to_file is not None:
        write_whole(os.fspath(to_file), saved(figure, kind, dpi))
    return figure


def _figure(curves, names, epochs):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for i, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, i + 1)
        for key, label, line in ((name, "training", "-"), (f"val_{name}", "validation", "--")):
            values = np.asarray(curves.get(key, ()), dtype=float)
            if values.size:
                at = np.arange(len(values)) if epochs is None or len(epochs) != len(values) else (
                    np.asarray(epochs)
                )  # fmt: skip
                mark = "o" if len(values) < 25 else None
                axes.plot(at + 1, values, line, label=label, marker=mark, markersize=3)
        axes.set_title(name)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if f"val_{name}" in curves:
            axes.legend()
    return figure

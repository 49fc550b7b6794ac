"""Pictures of models and of training."""

import warnings

from gpunet.plotting import dot
from gpunet.plotting.diagram import diagram_of
from gpunet.plotting.drawing import draw
from gpunet.plotting.history import plot_history
from gpunet.plotting.output import kind_of, write_whole
from gpunet.plotting.raster import MATPLOTLIB_FORMATS, image_bytes
from gpunet.plotting.svg import svg_text

__all__ = ["Picture", "model_to_dot", "plot_history", "plot_model"]

_DIRECTIONS = ("TB", "BT", "LR", "RL")


def plot_model(model, to_file="model.png", show_shapes=False, show_layer_names=True,
               rankdir="TB", expand_nested=False, dpi=96, layer_range=None,
               show_layer_activations=False, show_trainable=False, show_dtype=False,
               **kwargs):  # fmt: skip
    """Draw a model's layers and what leads from one to the next.

    Graphviz draws it where the program ``dot`` is installed.  Without it, gpunet finds the places
    itself; an SVG needs nothing more, a PNG needs matplotlib.

    Args:
        model: Model that is built.
        to_file: str or path-like that ends in ``.png``, ``.svg``, ``.pdf`` or ``.dot``; None
            writes no file.
        show_shapes: bool, show the shapes of inputs and outputs.
        show_layer_names: bool, show names beside classes.
        rankdir: ``'TB'``, ``'BT'``, ``'LR'`` or ``'RL'``: where the arrows go.
        expand_nested: bool, show the insides of nested models.
        dpi: number, dots for each inch.
        layer_range: pair of names or patterns of names, the first and the last layer to show.
        show_layer_activations: bool, show activations.
        show_trainable: bool, show what is trained.
        show_dtype: bool, show types of elements.

    Returns:
        Picture, which a notebook shows.

    Raises:
        ValueError: a model that isn't built, an unknown suffix or direction.
        MissingPackageError: a PNG or PDF without matplotlib.
        OSError: the file can't be written; an old one is as it was.
    """
    if kwargs:
        raise TypeError(f"plot_model: unknown argument(s) {list(kwargs)}")
    diagram = diagram_of(
        model, show_shapes, show_dtype, show_layer_names, expand_nested, layer_range,
        show_layer_activations, show_trainable,
    )  # fmt: skip
    picture = Picture(diagram, _direction(rankdir, "plot_model"), _resolution(dpi, "plot_model"))
    if to_file is not None:
        picture.save(to_file)
    return picture


def model_to_dot(model, show_shapes=False, show_layer_names=True, rankdir="TB",
                 expand_nested=False, dpi=96, subgraph=False, layer_range=None,
                 show_layer_activations=False, show_trainable=False, show_dtype=False,
                 **kwargs):  # fmt: skip
    """Return a model as a graph of pydot.

    Args:
        subgraph: bool, give a pydot.Cluster in place of a pydot.Dot.
        model, show_shapes, show_layer_names, rankdir, expand_nested, dpi, layer_range,
            show_layer_activations, show_trainable, show_dtype: see `plot_model`.

    Raises:
        ValueError: a model that isn't built, or an unknown direction.
        MissingPackageError: pydot isn't installed.
    """
    if kwargs:
        raise TypeError(f"model_to_dot: unknown argument(s) {list(kwargs)}")
    diagram = diagram_of(
        model, show_shapes, show_dtype, show_layer_names, expand_nested, layer_range,
        show_layer_activations, show_trainable,
    )  # fmt: skip
    rankdir, dpi = _direction(rankdir, "model_to_dot"), _resolution(dpi, "model_to_dot")
    return dot.dot_objects(diagram, rankdir, dpi, subgraph)


class Picture:
    """A drawing of a model, which notebooks show.

    Args:
        diagram: Diagram.
        rankdir: str.
        dpi: number.
    """

    def __init__(self, diagram, rankdir="TB", dpi=96):
        self.diagram, self.rankdir, self.dpi = diagram, rankdir, dpi

    def svg(self):
        """Return the text of an SVG file."""
        return svg_text(draw(self.diagram, self.rankdir), self.dpi)

    _repr_svg_ = svg

    def dot(self):
        """Return the text of a file for Graphviz."""
        return dot.dot_text(self.diagram, self.rankdir, self.dpi)

    def save(self, path):
        """Write it to a file; see `plot_model`."""
        kinds = dict.fromkeys(("png", "svg", "dot", *MATPLOTLIB_FORMATS))
        kind = kind_of(path, list(kinds), "plot_model")
        write_whole(path, self._bytes(kind))

    def _bytes(self, kind):
        if kind == "dot":
            return self.dot().encode()
        if dot.has_graphviz():
            try:
                return dot.run_graphviz(self.dot(), kind)
            except OSError as error:
                warnings.warn(f"plot_model: {error}; gpunet draws it itself", stacklevel=4)
        if kind == "svg":
            return self.svg().encode()
        return image_bytes(draw(self.diagram, self.rankdir), kind, self.dpi)


def _direction(rankdir, who):
    if rankdir not in _DIRECTIONS:
        raise ValueError(f"{who}: expected rankdir to be one of {_DIRECTIONS}, got {rankdir!r}")
    return rankdir


def _resolution(dpi, who):
    if dpi is None:
        return 96
    if isinstance(dpi, bool) or not isinstance(dpi, (int, float)) or not 0 < dpi < 10000:
        raise ValueError(f"{who}: expected dpi to be a number > 0, got {dpi!r}")
    return dpi

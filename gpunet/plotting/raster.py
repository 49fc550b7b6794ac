"""Sheets as PNG, PDF and whatever else matplotlib writes."""

import io
import warnings

from gpunet import optional
from gpunet.plotting.drawing import SIZE, Arrow, Rectangle
from gpunet.plotting.svg import arrow_head

__all__ = ["image_bytes", "MATPLOTLIB_FORMATS"]

MATPLOTLIB_FORMATS = ("png", "pdf", "eps", "ps", "jpg", "jpeg", "tif", "tiff", "webp")

# Fonts with Chinese, Japanese and Korean letters, of which a machine may have one.
_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "PingFang SC", "Droid Sans Fallback",
)  # fmt: skip
_MOST = 30000  # dots on a side; Agg can't do more than twice as many


def image_bytes(sheet, kind, dpi=96):
    """Return a Sheet as the bytes of a picture.

    Args:
        sheet: Sheet.
        kind: str, one of `MATPLOTLIB_FORMATS`.
        dpi: number, dots for each inch; at 96 letters are 12 dots high.

    Raises:
        MissingPackageError: matplotlib isn't installed.
    """
    optional.load("matplotlib", "plot_model", "matplotlib", "gpunet[plot]")
    from matplotlib import font_manager
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
    from matplotlib.path import Path

    dpi = min(dpi, _MOST * 96 / max(sheet.width, sheet.height))
    figure = Figure(figsize=(sheet.width / 96, sheet.height / 96))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, sheet.width)
    axes.set_ylim(sheet.height, 0)
    axes.axis("off")
    known = {font.name for font in font_manager.fontManager.ttflist}
    fonts = ["DejaVu Sans", *(f for f in _FONTS if f in known)]
    for order, shape in enumerate(sheet.shapes):
        if isinstance(shape, Rectangle):
            style = f"round,pad=0,rounding_size={shape.radius}"
            patch = FancyBboxPatch(
                (shape.x, shape.y), shape.width, shape.height, boxstyle=style,
                facecolor=shape.fill, edgecolor=shape.stroke, linewidth=0.8, zorder=order,
            )  # fmt: skip
            axes.add_artist(patch)
        elif isinstance(shape, Arrow):
            end, corners = arrow_head(shape.points)
            codes = [Path.MOVETO] + [Path.CURVE4] * (len(shape.points) - 1)
            path = Path([*shape.points[:-1], end], codes)
            line = {"edgecolor": shape.colour, "linewidth": 1.0, "zorder": order}
            axes.add_artist(PathPatch(path, facecolor="none", **line))
            axes.add_artist(Polygon(corners, color=shape.colour, linewidth=0, zorder=order))
        else:
            axes.text(
                shape.x, shape.y, shape.text.replace("$", r"\$"), color=shape.colour,
                fontsize=SIZE * 0.75, fontfamily=fonts, zorder=order,
                fontweight="bold" if shape.bold else "normal", va="center_baseline",
                ha={"middle": "center", "start": "left"}[shape.anchor],
            )  # fmt: skip
    return saved(figure, kind, dpi)


def saved(figure, kind, dpi):
    """Return a figure of matplotlib as the bytes of a picture."""
    made = io.BytesIO()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        figure.savefig(made, format=kind, dpi=dpi)
    texts = dict.fromkeys(str(w.message) for w in found)
    if any("Glyph" in text for text in texts):
        warnings.warn(
            "no font on this machine has all of the letters in the picture; an .svg has them, and "
            "is shown with the fonts of the machine where it is looked at",
            stacklevel=4,
        )
    return made.getvalue()

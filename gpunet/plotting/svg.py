"""Sheets as SVG."""

from xml.sax.saxutils import escape

from gpunet.plotting.drawing import SIZE, Arrow, Rectangle

__all__ = ["svg_text"]

_FONT = "'DejaVu Sans', Verdana, 'Noto Sans CJK SC', 'Microsoft YaHei', sans-serif"
_HEAD = 7.0  # length of an arrow's head


def svg_text(sheet, dpi=96):
    """Return a Sheet as the text of an SVG file.

    Args:
        sheet: Sheet.
        dpi: number, dots for each inch; at 96 letters are 12 dots high.
    """
    scale = dpi / 96
    width, height = sheet.width, sheet.height
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(width * scale)}" '
        f'height="{_n(height * scale)}" viewBox="0 0 {_n(width)} {_n(height)}" '
        f'font-family="{_FONT}" font-size="{_n(SIZE)}">',
        f'<rect width="{_n(width)}" height="{_n(height)}" fill="#ffffff"/>',
    ]
    for shape in sheet.shapes:
        if isinstance(shape, Rectangle):
            lines.append(_rectangle(shape))
        elif isinstance(shape, Arrow):
            lines += _arrow(shape)
        else:
            lines.append(_text(shape))
    return "\n".join([*lines, "</svg>", ""])


def arrow_head(points):
    """Return (where the line ends, the three corners of the head)."""
    (x, y), i = points[-1], len(points) - 2
    while i > 0 and abs(points[i][0] - x) + abs(points[i][1] - y) < 0.01:
        i -= 1
    dx, dy = x - points[i][0], y - points[i][1]
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    dx, dy = dx / length, dy / length
    bx, by = x - _HEAD * dx, y - _HEAD * dy
    side = 0.45 * _HEAD
    return (bx, by), [(x, y), (bx - side * dy, by + side * dx), (bx + side * dy, by - side * dx)]


def _rectangle(r):
    return (
        f'<rect x="{_n(r.x)}" y="{_n(r.y)}" width="{_n(r.width)}" height="{_n(r.height)}" '
        f'rx="{_n(r.radius)}" fill="{r.fill}" stroke="{r.stroke}"/>'
    )


def _text(t):
    weight = ' font-weight="bold"' if t.bold else ""
    return (
        f'<text x="{_n(t.x)}" y="{_n(t.y + 0.36 * SIZE)}" text-anchor="{t.anchor}" '
        f'fill="{t.colour}"{weight}>{escape(t.text)}</text>'
    )


def _arrow(a):
    end, corners = arrow_head(a.points)
    points = [*a.points[:-1], end]
    curves = " ".join(
        "C" + " ".join(f"{_n(x)},{_n(y)}" for x, y in points[i : i + 3])
        for i in range(1, len(points), 3)
    )
    start = f"{_n(points[0][0])},{_n(points[0][1])}"
    head = " ".join(f"{_n(x)},{_n(y)}" for x, y in corners)
    return [
        f'<path d="M{start} {curves}" fill="none" stroke="{a.colour}" stroke-width="1.3"/>',
        f'<polygon points="{head}" fill="{a.colour}"/>',
    ]


def _n(number):
    return f"{number:.2f}".rstrip("0").rstrip(".")

"""A diagram as shapes on a sheet: rectangles, texts and arrows."""

import collections
import unicodedata

from gpunet.plotting.layout import place

__all__ = ["Rectangle", "Text", "Arrow", "Sheet", "draw", "text_width"]

Rectangle = collections.namedtuple("Rectangle", "x y width height fill stroke radius")
Text = collections.namedtuple("Text", "x y text bold anchor colour")
Arrow = collections.namedtuple("Arrow", "points colour")
Sheet = collections.namedtuple("Sheet", "width height shapes")

SIZE = 12.0  # of the letters
_LINE = 17.0
_PAD = 9.0
_MARGIN = 14.0
_INSET = 14.0  # of a nested model's boxes
_LOOP = 26.0

_INK, _GREY, _EDGE = "#1f2430", "#6b7280", "#5b6472"
_COLOURS = {  # kind -> (title's background, frame)
    "input": ("#d9f0e3", "#3f8f66"),
    "conv": ("#dbe7fb", "#4a6fb5"),
    "pool": ("#e4e1f7", "#6a5fb0"),
    "recurrent": ("#fbe9d2", "#b57a2e"),
    "merge": ("#fde0e0", "#b85555"),
    "shape": ("#e9ecf0", "#7b8494"),
    "model": ("#fdf6cf", "#a8913a"),
    "other": ("#d8eef3", "#3d8496"),
}

# Widths of letters in ems, on the safe side for the usual sans-serif fonts.
_NARROW = dict.fromkeys("iljI.,:;'|!() []", 0.36) | dict.fromkeys('ftr-/"', 0.43)
_WIDE = dict.fromkeys("mwMW@%", 0.98) | dict.fromkeys("GOQDHNUCR", 0.78)


def text_width(text, bold=False):
    """Return about how wide a text is."""
    total = 0.0
    for c in text:
        if unicodedata.combining(c):
            continue
        if unicodedata.east_asian_width(c) in "WF":
            total += 1.05
        else:
            total += _NARROW.get(c) or _WIDE.get(c) or (0.7 if c.isupper() else 0.635)
    return total * SIZE * (1.08 if bold else 1.0)


def draw(diagram, rankdir="TB"):
    """Return a Sheet with everything on it.

    Args:
        diagram: Diagram.
        rankdir: ``'TB'``, ``'BT'``, ``'LR'`` or ``'RL'``, where the arrows go.
    """
    block = _Block(diagram, rankdir)
    shapes = []
    block.put(shapes, _MARGIN, _MARGIN)
    return Sheet(block.width + 2 * _MARGIN, block.height + 2 * _MARGIN, shapes)


class _Block:
    """A diagram with sizes and places."""

    def __init__(self, diagram, rankdir):
        self.rankdir = rankdir
        self.cards = [_Card(box, rankdir) for box in diagram.boxes]
        self.loops = {u for u, v in diagram.edges if u == v}
        # A layer that is called on its own output has an arrow at its side.
        beside = [2 * _LOOP if i in self.loops else 0.0 for i in range(len(self.cards))]
        sizes = [(c.width + more, c.height) for c, more in zip(self.cards, beside, strict=True)]
        self.across = rankdir in ("LR", "RL")
        if self.across:
            sizes = [(h, w) for w, h in sizes]
        edges = [e for e in diagram.edges if e[0] != e[1]]
        self.layout = place(sizes, edges)
        long, wide = self.layout.height, self.layout.width
        self.width, self.height = (long, wide) if self.across else (wide, long)

    def turned(self, x, y):
        """Return a point of the layout as one of the block."""
        if self.rankdir in ("BT", "RL"):
            y = self.layout.height - y
        return (y, x) if self.across else (x, y)

    def put(self, shapes, left, top):
        """Add the shapes to a list, with a place for the upper left corner."""
        for points in self.layout.routes.values():
            moved = [self.turned(x, y) for x, y in points]
            shapes.append(
                Arrow(_curve([(x + left, y + top) for x, y in moved], self.across), _EDGE)
            )
        for i, (card, centre) in enumerate(zip(self.cards, self.layout.centres, strict=True)):
            x, y = self.turned(*centre)
            x, y = x + left, y + top
            card.put(shapes, x - card.width / 2, y - card.height / 2)
            if i in self.loops:
                shapes.append(Arrow(_loop(x + card.width / 2, y), _EDGE))


class _Card:
    """A box with its size."""

    def __init__(self, box, rankdir):
        self.box = box
        self.labels = max((text_width(label) for label, _ in box.rows), default=0.0)
        values = [text_width(line) for _, lines in box.rows for line in lines]
        titles = [text_width(line, bold=True) for line in box.title]
        self.title_height = _LINE * len(box.title) + _PAD
        self.rows_height = _LINE * sum(len(lines) for _, lines in box.rows)
        self.rows_height += _PAD if box.rows else 0.0
        self.width = max(*titles, self.labels + 8 + max(values, default=0.0), 56.0) + 2 * _PAD
        self.height = self.title_height + self.rows_height
        self.block = None if box.inner is None else _Block(box.inner, rankdir)
        if self.block is not None:
            self.width = max(self.width, self.block.width + 2 * _INSET)
            self.height += self.block.height + 2 * _INSET

    def put(self, shapes, x, y):
        light, dark = _COLOURS[self.box.kind]
        inside = "#fffdf3" if self.block is not None else "#ffffff"
        shapes.append(Rectangle(x, y, self.width, self.height, inside, dark, 6.0))
        shapes.append(Rectangle(x, y, self.width, self.title_height, light, dark, 6.0))
        line = y + (self.title_height - _LINE * len(self.box.title)) / 2 + _LINE / 2
        for text in self.box.title:
            shapes.append(Text(x + self.width / 2, line, text, True, "middle", _INK))
            line += _LINE
        line = y + self.title_height + _PAD / 2 + _LINE / 2
        for label, texts in self.box.rows:
            shapes.append(Text(x + _PAD, line, label, False, "start", _GREY))
            for text in texts:
                shapes.append(Text(x + _PAD + self.labels + 8, line, text, False, "start", _INK))
                line += _LINE
        if self.block is not None:
            left = x + (self.width - self.block.width) / 2
            self.block.put(shapes, left, y + self.title_height + self.rows_height + _INSET)


def _curve(points, across):
    """Return points of cubic curves that run along the rows' direction where they begin and end.

    The first and the last two points, and each pair between them, are joined by a straight line.
    """
    made = [points[0]]
    for i, (a, b) in enumerate(zip(points, points[1:])):
        if i % 2 == 0:
            made += [a, b, b]
        else:
            made += [((a[0] + b[0]) / 2, a[1]), ((a[0] + b[0]) / 2, b[1]), b] if across else [
                (a[0], (a[1] + b[1]) / 2), (b[0], (a[1] + b[1]) / 2), b
            ]  # fmt: skip
    return made


def _loop(x, y):
    return [(x, y - 10), (x + _LOOP, y - 14), (x + _LOOP, y + 14), (x, y + 8)]

"""Where boxes of a layered graph go, and how the edges between them run.

Boxes are put into rows so that edges go downwards; an edge that passes rows gets a place in each
of them.  The order in a row is the one with the fewest crossings found, and places in a row are
as near to those of the neighbours as the boxes' widths allow.

Reference:
    Sugiyama, Tagawa, Toda, 1981, IEEE Trans. SMC 11(2), 109-125, for rows and their order.
    Kruskal, 1964, Psychometrika 29, 115-129, for places: pooling of adjacent violators.
"""

import bisect

__all__ = ["Layout", "place"]

_GAP = 26.0  # between neighbours in a row
_ROW_GAP = 34.0  # between rows
_LANE = 12.0  # width of an edge that passes a row
_STIFF = 12.0  # how much more straight lines count
_NEARLY = 5.0  # edges that are nearly straight become straight


class Layout:
    """Places of boxes and edges.

    Attributes:
        width: float.
        height: float.
        centres: list of (x, y), one for each box.
        routes: dict edge -> list of points: x and y where the edge leaves a box, then pairs at
            the top and the bottom of each row that it passes, then where it arrives.
    """

    def __init__(self, width, height, centres, routes):
        self.width, self.height, self.centres, self.routes = width, height, centres, routes


def place(sizes, edges):
    """Find places for boxes and edges.

    Args:
        sizes: list of (width, height).
        edges: list of (from, to), indices of boxes, each pair once and none to itself.  Edges
            to a box that is earlier in the list are led upwards.

    Returns:
        Layout with (0, 0) at the top left.
    """
    downwards = {(min(e), max(e)): None for e in edges}
    ranks = _ranks(len(sizes), list(downwards))
    rows, above, below, lanes = _rows(ranks, list(downwards))
    _order(rows, above, below)
    widths = [w for w, _ in sizes] + [_LANE] * (len(above) - len(sizes))
    xs = _places(rows, above, below, widths)
    tops, bottoms, height = _heights(rows, below, xs, sizes)
    centres = [(xs[i], (tops[ranks[i]] + bottoms[ranks[i]]) / 2) for i in range(len(sizes))]
    leave, arrive = _ports(downwards, lanes, xs, sizes)
    for e in downwards:
        if not lanes[e] and abs(leave[e] - arrive[e]) < _NEARLY:
            arrive[e] = leave[e]
    routes = {}
    for u, v in downwards:
        points = [(leave[u, v], centres[u][1] + sizes[u][1] / 2), (leave[u, v], bottoms[ranks[u]])]
        for lane, rank in zip(lanes[u, v], range(ranks[u] + 1, ranks[v])):
            points += [(xs[lane], tops[rank]), (xs[lane], bottoms[rank])]
        points += [(arrive[u, v], tops[ranks[v]]), (arrive[u, v], centres[v][1] - sizes[v][1] / 2)]
        for e in ((u, v), (v, u)):
            if e in edges:
                routes[e] = points if e == (u, v) else points[::-1]
    width = max((xs[i] + widths[i] / 2 for i in range(len(xs))), default=0.0)
    return Layout(width, height, centres, routes)


def _ranks(n, edges):
    """Return the row of each box: below all that lead to it, near to those it leads to."""
    before, after = [[] for _ in range(n)], [[] for _ in range(n)]
    for u, v in edges:
        before[v].append(u)
        after[u].append(v)
    ranks = [0] * n
    for v in range(n):
        ranks[v] = max((ranks[u] + 1 for u in before[v]), default=0)
    for u in reversed(range(n)):
        if after[u] and len(after[u]) >= len(before[u]):
            ranks[u] = min(ranks[v] for v in after[u]) - 1
    return ranks


def _rows(ranks, edges):
    """Return (rows, neighbours above, neighbours below, lanes of each edge).

    A lane is the place that an edge takes in a row that it passes; lanes are numbered on from
    the boxes.
    """
    rows = [[] for _ in range(max(ranks, default=-1) + 1)]
    for box, rank in enumerate(ranks):
        rows[rank].append(box)
    above, below = [[] for _ in ranks], [[] for _ in ranks]
    lanes = {}
    for u, v in edges:
        chain = [u]
        for rank in range(ranks[u] + 1, ranks[v]):
            chain.append(len(above))
            rows[rank].append(len(above))
            above.append([])
            below.append([])
        chain.append(v)
        lanes[u, v] = chain[1:-1]
        for a, b in zip(chain, chain[1:]):
            below[a].append(b)
            above[b].append(a)
    return rows, above, below, lanes


# -- order in the rows ------------------------------------------------------------------------


def _order(rows, above, below):
    """Sort the rows so that few edges cross."""
    best, fewest = [list(row) for row in rows], _all_crossings(rows, below)
    for turn in range(12):
        if not fewest:
            break
        down = turn % 2 == 0
        sequence = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
        near = above if down else below
        for r in sequence:
            rows[r] = _sorted_by_neighbours(rows[r], rows[r - 1 if down else r + 1], near)
        crossings = _all_crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    rows[:] = best


def _sorted_by_neighbours(row, fixed, near):
    """Return a row in the order of the mean places of neighbours in the next one."""
    places = {b: i for i, b in enumerate(fixed)}
    keys = {b: i for i, b in enumerate(row)}
    for b in row:
        if near[b]:
            keys[b] = sum(places[n] for n in near[b]) / len(near[b])
    return sorted(row, key=keys.get)


def _all_crossings(rows, below):
    return sum(_crossings(upper, lower, below) for upper, lower in zip(rows, rows[1:]))


def _crossings(upper, lower, below):
    place_of = {b: i for i, b in enumerate(lower)}
    seen, count = [], 0
    for box in upper:
        ends = sorted(place_of[b] for b in below[box])
        count += sum(len(seen) - bisect.bisect_right(seen, end) for end in ends)
        for end in ends:
            bisect.insort(seen, end)
    return count


# -- places in the rows -----------------------------------------------------------------------


def _places(rows, above, below, widths):
    """Return the x of every box and lane."""
    xs = [0.0] * len(widths)
    for row in rows:
        x = 0.0
        for b in row:
            xs[b] = x + widths[b] / 2
            x += widths[b] + _GAP
    # Lanes and chains should be straight before anything else.
    straight = [len(a) <= 1 and len(b) <= 1 for a, b in zip(above, below)]
    for turn in range(24):
        down = turn % 2 == 0
        for r in range(len(rows)) if down else reversed(range(len(rows))):
            # First each row follows those before it alone, then both of its neighbours.
            _settle(rows[r], xs, widths, _wishes(rows[r], xs, above, below, down, turn, straight))
    left = min((xs[b] - widths[b] / 2 for b in range(len(xs))), default=0.0)
    return [x - left for x in xs]


def _wishes(row, xs, above, below, down, turn, straight):
    """Return (wanted x, weight) for each in a row."""
    wishes = []
    for b in row:
        near = above[b] if down else below[b]
        other = below[b] if down else above[b]
        if turn >= 8 or not near:
            near = near + other
        total = weights = 0.0
        for n in near:
            w = _STIFF if straight[b] and straight[n] else 1.0
            total, weights = total + w * xs[n], weights + w
        wishes.append((total / weights, weights) if weights else (xs[b], 0.1))
    return wishes


def _settle(row, xs, widths, wishes):
    """Move the boxes of a row as near to the wanted places as their order and widths allow."""
    blocks = []  # [sum of weight * place, weight, number of boxes], places without the widths
    offset, offsets, last = 0.0, [], None
    for b, (x, weight) in zip(row, wishes):
        if last is not None:
            offset += (widths[last] + widths[b]) / 2 + _GAP
        offsets.append(offset)
        last = b
        blocks.append([(x - offset) * weight, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, weight, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += weight
            blocks[-1][2] += count
    places = (total / weight for total, weight, count in blocks for _ in range(count))
    for b, shift, x in zip(row, offsets, places):
        xs[b] = x + shift


def _heights(rows, below, xs, sizes):
    """Return (tops of the rows, bottoms, height); edges that go far aside get more room."""
    tops, bottoms, y = [], [], 0.0
    for row in rows:
        tops.append(y)
        y += max((sizes[b][1] for b in row if b < len(sizes)), default=0.0)
        bottoms.append(y)
        aside = max((abs(xs[b] - xs[n]) for b in row for n in below[b]), default=0.0)
        y += _ROW_GAP + min(0.06 * aside, 2 * _ROW_GAP)
    return tops, bottoms, bottoms[-1] if bottoms else 0.0


def _ports(edges, lanes, xs, sizes):
    """Return where edges leave and arrive: side by side, in the order in which they lie."""
    leave, arrive = {}, {}
    for end, found in ((0, leave), (1, arrive)):
        at = {}
        for e in edges:
            way = [e[0], *lanes[e], e[1]]
            at.setdefault(e[end], []).append((xs[way[1] if end == 0 else way[-2]], e))
        for box, others in at.items():
            others.sort()
            step = min(18.0, 0.6 * sizes[box][0] / len(others))
            for i, (_, e) in enumerate(others):
                found[e] = xs[box] + (i - (len(others) - 1) / 2) * step
    return leave, arrive

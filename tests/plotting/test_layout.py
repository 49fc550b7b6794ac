"""Places of boxes and edges, on graphs of all sorts."""

import itertools

import numpy as np
import pytest

from gpunet.plotting.layout import place


def random_graph(seed, n=24):
    rng = np.random.default_rng(seed)
    sizes = [(float(w), float(h)) for w, h in rng.uniform(30, 200, (n, 2))]
    edges = []
    for v in range(1, n):
        for u in rng.choice(v, size=min(v, int(rng.integers(1, 4))), replace=False):
            edges.append((int(u), v))
    return sizes, edges


def boxes_of(layout, sizes):
    return [
        (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        for (x, y), (w, h) in zip(layout.centres, sizes, strict=True)
    ]


def overlap(a, b):
    return a[0] < b[2] - 1e-6 and b[0] < a[2] - 1e-6 and a[1] < b[3] - 1e-6 and b[1] < a[3] - 1e-6


@pytest.mark.parametrize("seed", range(12))
def test_nothing_overlaps_and_edges_go_down_around_boxes(seed):
    sizes, edges = random_graph(seed)
    layout = place(sizes, edges)
    boxes = boxes_of(layout, sizes)
    assert not any(overlap(a, b) for a, b in itertools.combinations(boxes, 2))
    assert min(b[0] for b in boxes) >= -1e-6 and max(b[2] for b in boxes) <= layout.width + 1e-6
    assert max(b[3] for b in boxes) == pytest.approx(layout.height)
    assert layout.routes.keys() == set(edges)
    for (u, v), points in layout.routes.items():
        (x0, y0), (x1, y1) = points[0], points[-1]
        assert y0 == pytest.approx(boxes[u][3]) and boxes[u][0] < x0 < boxes[u][2]
        assert y1 == pytest.approx(boxes[v][1]) and boxes[v][0] < x1 < boxes[v][2]
        ys = [round(y, 6) for _, y in points]
        assert ys == sorted(ys)
        for (xa, ya), (xb, yb) in itertools.pairwise(points[2:-2]):
            if xa == xb:  # it passes a row, beside the boxes there
                lane = (xa - 1, ya, xb + 1, yb)
                assert not any(overlap(lane, box) for box in boxes)


def test_a_chain_is_straight():
    sizes = [(100.0 + 10 * i, 40.0) for i in range(6)]
    layout = place(sizes, [(i, i + 1) for i in range(5)])
    assert len({round(x, 6) for x, _ in layout.centres}) == 1
    assert all(len({x for x, _ in points}) == 1 for points in layout.routes.values())


def test_two_branches_do_not_cross():
    # 0 -> 1 -> 3, 0 -> 2 -> 4, given in an order that crosses
    layout = place([(50.0, 20.0)] * 5, [(0, 2), (0, 1), (1, 4), (2, 3)])
    left = [layout.centres[i][0] for i in (1, 4)]
    right = [layout.centres[i][0] for i in (2, 3)]
    assert max(left) < min(right) or max(right) < min(left)


def test_an_edge_back_is_led_upwards():
    layout = place([(50.0, 20.0)] * 3, [(0, 1), (1, 2), (2, 0)])
    ys = [round(y, 6) for _, y in layout.routes[2, 0]]
    assert ys == sorted(ys, reverse=True)


def test_empty_and_single():
    assert place([], []).width == 0
    layout = place([(50.0, 20.0)], [])
    assert (layout.width, layout.height, layout.centres) == (50.0, 20.0, [(25.0, 10.0)])

"""Diagrams in the language of Graphviz, and Graphviz where it is installed."""

import shutil
import subprocess

from gpunet import optional

__all__ = ["dot_text", "dot_objects", "has_graphviz", "run_graphviz"]

_SECONDS = 120


def dot_text(diagram, rankdir="TB", dpi=96):
    """Return a Diagram as the text of a .dot file."""
    lines = [
        "digraph model {",
        f"rankdir={rankdir}; dpi={dpi}; concentrate=true; compound=true;",
        'node [shape=record, fontname="Helvetica"];',
        *_body(diagram, rankdir, ""),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _body(diagram, rankdir, indent):
    lines = []
    for number, box in enumerate(diagram.boxes):
        if box.inner is None:
            lines.append(f"{indent}{_quoted(box.key)} [label={_label(box, rankdir)}];")
        else:
            lines.append(f"{indent}subgraph {_quoted('cluster_' + box.key)} {{")
            lines.append(f"{indent}label={_quoted(' '.join(box.title))}; style=rounded;")
            lines += _body(box.inner, rankdir, indent + "  ")
            lines.append(f"{indent}}}")
        for u, v in diagram.edges:
            if v == number:
                ends = (_end(diagram.boxes[u], -1), _end(box, 0))
                lines.append(f"{indent}{_quoted(ends[0])} -> {_quoted(ends[1])};")
    return lines


def _end(box, side):
    """Return the key of a box, or of the first or last inside a nested model."""
    while box.inner is not None and box.inner.boxes:
        box = box.inner.boxes[side]
    return box.key


def _label(box, rankdir):
    fields = [_lines(box.title)]
    for label, lines in box.rows:
        fields.append(f"{{{_lines([label])}|{_lines(lines)}}}")
    # Braces turn the fields round; along the page they lie as they should.
    text = "|".join(fields)
    return f'"{text}"' if rankdir in ("LR", "RL") else f'"{{{text}}}"'


def _lines(lines):
    """Return lines as a field of a record."""
    text = "\n".join(lines)
    for c in '\\{}|<>"':
        text = text.replace(c, "\\" + c)
    return text.replace("\n", "\\n")


def _quoted(text):
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{text}"'


def dot_objects(diagram, rankdir="TB", dpi=96, subgraph=False):
    """Return a Diagram as an object of pydot.

    Args:
        diagram: Diagram.
        rankdir: str.
        dpi: number.
        subgraph: bool, give a pydot.Cluster in place of a pydot.Dot.

    Raises:
        MissingPackageError: pydot isn't installed.
    """
    pydot = optional.load("pydot", "model_to_dot", "pydot", "gpunet[plot]")
    if subgraph:
        graph = pydot.Cluster("model", style="dashed")
    else:
        graph = pydot.Dot("model", graph_type="digraph", rankdir=rankdir, dpi=str(dpi))
        graph.set("concentrate", "true")
    graph.set_node_defaults(shape="record", fontname='"Helvetica"')
    _fill(pydot, graph, diagram, rankdir)
    return graph


def _fill(pydot, graph, diagram, rankdir):
    for box in diagram.boxes:
        if box.inner is None:
            graph.add_node(pydot.Node(_quoted(box.key), label=_label(box, rankdir)))
        else:
            inner = pydot.Cluster(label=_quoted(" ".join(box.title)))
            inner.set_name(_quoted(f"cluster_{box.key}"))
            _fill(pydot, inner, box.inner, rankdir)
            graph.add_subgraph(inner)
    for u, v in diagram.edges:
        ends = (_end(diagram.boxes[u], -1), _end(diagram.boxes[v], 0))
        graph.add_edge(pydot.Edge(*map(_quoted, ends)))


def has_graphviz():
    """Return whether the program dot is on the path."""
    return shutil.which("dot") is not None


def run_graphviz(text, kind):
    """Return what dot makes of a text.

    Args:
        text: str, from `dot_text`.
        kind: str, such as ``'png'``.

    Raises:
        OSError: dot fails; the text says what it says.
    """
    try:
        done = subprocess.run(
            ["dot", f"-T{kind}"], input=text.encode(), capture_output=True, timeout=_SECONDS,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise OSError(f"dot needed more than {_SECONDS} seconds") from None
    if done.returncode or not done.stdout:
        raise OSError(f"dot failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout

"""``export``: topologies as files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from topology.cli.failures import reports_errors
from topology.errors import InvalidParameter

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from topology.catalogue import NamedTopology

__all__ = ["export"]


@reports_errors
def export(
    expression: Annotated[str, typer.Argument(help="Such as ring:64, torus:8x8 or base:25,k=2.")],
    out: Annotated[
        Path,
        typer.Argument(
            help=".graphml, .gexf, .json (node-link), .edges, .csv (weights), .mtx, .npz (matrix)."
        ),
    ],
    at: Annotated[int, typer.Option("--round", help="Which round of a sequence.", min=0)] = 0,
) -> None:
    """Write a topology to a file: its links for other programs, or its mixing matrix."""
    from topology.catalogue import build

    writers: dict[str, Callable[[NamedTopology, int, Path], None]] = {
        ".graphml": _graphml,
        ".gexf": _gexf,
        ".json": _node_link,
        ".edges": _edges,
        ".csv": _csv,
        ".mtx": _matrix_market,
        ".npz": _npz,
    }
    writer = writers.get(out.suffix.lower())
    if writer is None:
        raise InvalidParameter(
            f"cannot export to {out.name!r}", expected=f"a file ending in {', '.join(writers)}"
        )
    writer(build(expression), at, out)
    typer.echo(f"wrote {out}")


def _networkx(named: NamedTopology, at: int) -> Any:  # noqa: ANN401 - networkx has no types
    """The graph, or the links of one round with their weights."""
    import networkx as nx

    if named.graph is not None:
        graph = named.graph.to_networkx()
        for _, data in graph.nodes(data=True):
            if "pos" in data:
                data["x"], data["y"] = data.pop("pos")[:2]
        return graph
    W = _matrix(named, at)
    graph = nx.Graph() if named.sequence.symmetric else nx.DiGraph()
    graph.add_nodes_from(range(named.sequence.n))
    graph.add_weighted_edges_from((j, i, weight) for i, j, weight in _entries(W) if i != j)
    return graph


def _matrix(named: NamedTopology, at: int) -> csr_array:
    return named.sequence.matrix(at)


def _entries(W: csr_array) -> list[tuple[int, int, float]]:
    entries = W.tocoo()
    return list(zip(entries.row.tolist(), entries.col.tolist(), entries.data.tolist(), strict=True))


def _graphml(named: NamedTopology, at: int, out: Path) -> None:
    import networkx as nx

    nx.write_graphml(_networkx(named, at), out)


def _gexf(named: NamedTopology, at: int, out: Path) -> None:
    import networkx as nx

    nx.write_gexf(_networkx(named, at), out)


def _node_link(named: NamedTopology, at: int, out: Path) -> None:
    import networkx as nx

    out.write_text(json.dumps(nx.node_link_data(_networkx(named, at), edges="edges")), encoding="utf-8")


def _edges(named: NamedTopology, at: int, out: Path) -> None:
    lines = sorted((i, j) for i, j in _networkx(named, at).edges())
    out.write_text("".join(f"{i} {j}\n" for i, j in lines), encoding="utf-8")


def _csv(named: NamedTopology, at: int, out: Path) -> None:
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["to", "from", "weight"])
        writer.writerows(_entries(_matrix(named, at)))


def _matrix_market(named: NamedTopology, at: int, out: Path) -> None:
    from scipy.io import mmwrite

    mmwrite(out, _matrix(named, at), precision=17)


def _npz(named: NamedTopology, at: int, out: Path) -> None:
    from scipy.sparse import save_npz

    save_npz(out, _matrix(named, at))

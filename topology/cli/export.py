"""``export``: topologies as files."""

from __future__ import annotations

import csv
import json
from functools import partial
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
    import networkx as nx
    from scipy.io import mmwrite
    from scipy.sparse import save_npz

    from topology.catalogue import build

    of_links = {
        ".graphml": nx.write_graphml,
        ".gexf": nx.write_gexf,
        ".json": _write_node_link,
        ".edges": _write_edges,
    }
    of_matrix = {".csv": _write_entries, ".mtx": partial(mmwrite, precision=17), ".npz": save_npz}
    suffix = out.suffix.lower()
    if suffix not in of_links | of_matrix:
        known = ", ".join(of_links | of_matrix)
        raise InvalidParameter(f"cannot export to {out.name!r}", expected=f"a file ending in {known}")
    named = build(expression)
    if suffix in of_links:
        of_links[suffix](_links(named, at), out)
    else:
        of_matrix[suffix](out, named.sequence.matrix(at))
    typer.echo(f"wrote {out}")


def _links(named: NamedTopology, at: int) -> Any:  # noqa: ANN401 - networkx has no types
    """The graph, or the links of one round with their weights."""
    import networkx as nx

    if named.graph is not None:
        graph = named.graph.to_networkx()
        for _, data in graph.nodes(data=True):
            if "pos" in data:
                data["x"], data["y"] = data.pop("pos")[:2]
        return graph
    graph = nx.Graph() if named.sequence.symmetric else nx.DiGraph()
    graph.add_nodes_from(range(named.sequence.n))
    entries = _entries(named.sequence.matrix(at))
    graph.add_weighted_edges_from((j, i, weight) for i, j, weight in entries if i != j)
    return graph


def _entries(W: csr_array) -> list[tuple[int, int, float]]:
    entries = W.tocoo()
    return list(zip(entries.row.tolist(), entries.col.tolist(), entries.data.tolist(), strict=True))


def _write_node_link(graph: Any, out: Path) -> None:  # noqa: ANN401
    import networkx as nx

    out.write_text(json.dumps(nx.node_link_data(graph, edges="edges")), encoding="utf-8")


def _write_edges(graph: Any, out: Path) -> None:  # noqa: ANN401
    out.write_text("".join(f"{i} {j}\n" for i, j in sorted(graph.edges())), encoding="utf-8")


def _write_entries(out: Path, W: csr_array) -> None:
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["to", "from", "weight"])
        writer.writerows(_entries(W))

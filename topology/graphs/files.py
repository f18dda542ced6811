"""Graphs from files: edge lists, GraphML, GEXF, JSON node-link."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal
from xml.etree.ElementTree import ParseError

from topology.errors import InvalidParameter, MalformedGraphFile, TopologyError
from topology.graphs.convert import from_networkx
from topology.graphs.topology import Topology
from topology.parsing import json_of
from topology.text import fields_of, number_of, read_text

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["FileFormat", "from_file", "graph_of_node_link"]

FileFormat = Literal["edges", "graphml", "gexf", "json"]

_BY_SUFFIX: dict[str, FileFormat] = {
    ".edges": "edges",
    ".edgelist": "edges",
    ".txt": "edges",
    ".tsv": "edges",
    ".csv": "edges",
    ".graphml": "graphml",
    ".xml": "graphml",
    ".gexf": "gexf",
    ".json": "json",
}


def from_file(
    path: str | Path,
    file_format: FileFormat | None = None,
    *,
    directed: bool = False,
    weight: str | None = None,
    drop_self_loops: bool = False,
    merge_duplicates: bool = False,
    require_connected: bool = True,
) -> Topology:
    """Return the graph in a file.

    Parameters
    ----------
    path : str or Path
        The file, which must fit into memory.
    file_format : {"edges", "graphml", "gexf", "json"}, optional
        By default derived from the suffix: .edges, .edgelist, .txt, .tsv, .csv; .graphml, .xml; .gexf; .json
        (node-link). An edge list has a line an edge: two names and perhaps a weight, separated by blanks,
        tabs or commas, or by semicolons where numbers have decimal commas; what follows # is a comment.
    directed : bool
        Links of an edge list have a direction; other formats state it themselves.
    weight : str, optional
        Edge attribute to keep as `weights`; ``"weight"`` for the third column of an edge list.
    drop_self_loops, merge_duplicates : bool
        Instead of refusing them, as in `from_networkx`.
    require_connected : bool
        Refuse a graph that is not connected.

    Returns
    -------
    Topology
        The names of nodes are `labels`; numbers 0 … n − 1 in an edge list are taken as they are.

    Raises
    ------
    MalformedGraphFile
        If the file violates its format; for edge lists the error names the line.
    InvalidParameter
        If the format cannot be told from the suffix, or a weight is NaN, infinite or negative.
    SelfLoop, DuplicateEdge, Disconnected, MislabelledNodes
        As in `from_networkx`.
    FileNotFoundError
        If there is no such file.
    """
    file = Path(path)
    chosen = file_format or _BY_SUFFIX.get(file.suffix.lower())
    if chosen is None:
        raise InvalidParameter(
            "the format of the file is unknown",
            expected=f"a suffix among {' '.join(_BY_SUFFIX)}",
            got=file.name,
            remedy="Pass file_format='edges', 'graphml', 'gexf' or 'json'",
        )
    if not file.exists():
        raise FileNotFoundError(f"no such graph file: {file}")
    graph = _read_edges(file, directed=directed) if chosen == "edges" else _read(file, chosen)
    return from_networkx(
        graph,
        weight=weight,
        drop_self_loops=drop_self_loops,
        merge_duplicates=merge_duplicates,
        require_connected=require_connected,
        name=graph.name or file.stem,
    )


def graph_of_node_link(data: object, where: str) -> nx.Graph:
    """Return the networkx graph of a node-link dictionary; `where` names it in errors."""
    import networkx as nx

    if not isinstance(data, dict) or "nodes" not in data or not ({"edges", "links"} & data.keys()):
        raise MalformedGraphFile(
            f"{where} is not in node-link form",
            expected="an object with 'nodes' and 'edges' (or 'links')",
            got=f"keys {sorted(data)[:8]}" if isinstance(data, dict) else type(data).__name__,
            remedy="Write it with networkx.node_link_data",
        )
    try:
        return nx.node_link_graph(data, edges="edges" if "edges" in data else "links")
    except (KeyError, TypeError, AttributeError, nx.NetworkXError) as failure:
        raise MalformedGraphFile(
            f"{where} is not in node-link form",
            expected="nodes with 'id', edges with 'source' and 'target'",
            got=f"{type(failure).__name__}: {failure}",
            remedy="Write it with networkx.node_link_data",
        ) from failure


def _read(file: Path, chosen: FileFormat) -> nx.Graph:
    import networkx as nx

    try:
        if chosen == "json":
            return graph_of_node_link(json_of(read_text(file)), file.name)
        return nx.read_graphml(file) if chosen == "graphml" else nx.read_gexf(file)
    except TopologyError:
        raise
    except (ParseError, nx.NetworkXError, ValueError, KeyError, TypeError, AttributeError) as failure:
        raise MalformedGraphFile(
            f"{file.name} cannot be read as {chosen}",
            expected=f"a {chosen} file",
            got=f"{type(failure).__name__}: {failure}",
            remedy="Check the file, or name another file_format",
        ) from failure


def _text(file: Path) -> str:
    try:
        return read_text(file)
    except UnicodeDecodeError as error:
        raise MalformedGraphFile(
            f"{file.name} is not text",
            expected="UTF-8, or UTF-16 with its byte order mark",
            got=str(error),
            remedy="Save it as UTF-8",
        ) from error


def _edge(fields: list[str], where: str, line: str) -> tuple[str, str, float | None]:
    try:
        comma = "," in fields[0] + fields[-1 if len(fields) < 2 else 1] and ";" not in line
        if not 2 <= len(fields) <= 3 or not all(fields) or comma:
            raise ValueError  # noqa: TRY301
        return fields[0], fields[1], number_of(fields[2]) if len(fields) > 2 else None
    except ValueError:
        raise MalformedGraphFile(
            f"{where} is not an edge",
            expected="two names, and perhaps a weight",
            got=repr(line[:60]),
            remedy="Write one edge a line, e.g. '0 1', 'a,b,0.5' or 'a;b;0,5'; comments begin with #",
        ) from None


def _read_edges(file: Path, *, directed: bool) -> nx.Graph:
    import networkx as nx

    graph = nx.MultiDiGraph() if directed else nx.MultiGraph()
    edges: list[tuple[str, str, float | None]] = []
    for number, line in enumerate(_text(file).splitlines(), start=1):
        fields = fields_of(line.split("#", 1)[0])
        if any(fields):
            edges.append(_edge(fields, f"{file.name}, line {number},", line))
    if not edges:
        raise MalformedGraphFile(
            f"{file.name} holds no edges", expected="a line an edge", got="none", remedy="Check the file"
        )
    names = list(dict.fromkeys(name for u, v, _ in edges for name in (u, v)))
    if not all(map(str.isdecimal, names[:2])) and len(names) > 2 and all(map(str.isdecimal, names[2:])):
        raise MalformedGraphFile(
            f"{file.name} seems to begin with a header",
            expected="names of one kind: all other nodes are numbers",
            got=" ".join(names[:2]),
            remedy="Delete the line, or begin it with #",
        )
    numbered = all(name.isdecimal() for name in names)
    number_of = {name: int(name) if numbered else name for name in names}
    graph.add_nodes_from(sorted(number_of.values()) if numbered else number_of.values())
    for u, v, given in edges:
        graph.add_edge(number_of[u], number_of[v], **({} if given is None else {"weight": given}))
    return graph

"""Real networks: backbones and research networks, from the TopoHub collection."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from topology.errors import UnknownNetwork
from topology.graphs.convert import from_networkx
from topology.graphs.files import graph_of_node_link
from topology.graphs.topology import Topology
from topology.lazy import import_extra

__all__ = ["internet", "internet_names"]

_WHAT = "networks of the real Internet come from the package topohub"


def internet(network: str) -> Topology:
    """Return a real network by its name in TopoHub, e.g. ``topozoo/Abilene`` or ``sndlib/polska``.

    Parameters
    ----------
    network : str
        ``group/name``; `internet_names` lists them.

    Returns
    -------
    Topology
        Undirected; parallel links merged. `positions` are (longitude, latitude) in degrees, `weights` the
        length of links in kilometres, `labels` the names of places where they are known and distinct.

    Raises
    ------
    UnknownNetwork
        If the collection has no such network.
    MissingExtra
        If the package topohub is not installed.
    Disconnected
        If the network falls into parts.

    References
    ----------
    Jurkiewicz, "TopoHub: A repository of reference Gabriel and real-world topologies for networking
    research", SoftwareX 24, 2023.
    """
    try:
        data: dict[str, Any] = import_extra("topohub", extra="internet", what=_WHAT).get(network)
    except KeyError:
        close = [known for known in internet_names() if network.lower() in known.lower()][:5]
        raise UnknownNetwork(
            f"TopoHub has no network {network!r}",
            expected="group/name, e.g. topozoo/Abilene",
            got=repr(network),
            remedy=f"Perhaps {', '.join(close)}" if close else "internet_names() lists them",
        ) from None
    graph = graph_of_node_link(data, network)
    names = [node.get("name") for node in data["nodes"]]
    named = all(names) and len(set(names)) == len(names)
    if named:
        import networkx as nx

        graph = nx.relabel_nodes(graph, dict(zip(list(graph.nodes), names, strict=True)))
    has_lengths = all("dist" in edge for _, _, edge in graph.edges(data=True))
    return from_networkx(
        graph.to_undirected(),
        weight="dist" if has_lengths else None,
        drop_self_loops=True,
        merge_duplicates=True,
        name=network,
    )


def internet_names(group: str | None = None) -> list[str]:
    """Return the names of all networks in TopoHub, or of one group, sorted.

    Raises
    ------
    MissingExtra
        If the package topohub is not installed.
    """
    import_extra("topohub", extra="internet", what=_WHAT)
    data = Path(str(files("topohub"))) / "data"
    found = (path.relative_to(data).with_suffix("").as_posix() for path in data.glob("*/**/*.json"))
    return sorted(name for name in found if group is None or name.startswith(f"{group}/"))

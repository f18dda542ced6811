"""Measures of an overlay: how evenly its peers are known, how far apart they are, and what it survives.

Every measure takes views as int32 [n, width] (-1 where there is none) and which peers are alive. Except where
directions are named, a link counts both ways, as in both papers: whoever knows a peer can be answered by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from topology.bounds import check_fraction
from topology.sampling.packed import Flags, Views

__all__ = [
    "Connectedness",
    "average_path_length",
    "clustering_coefficient",
    "connectedness",
    "connectedness_after_failure",
    "dead_link_share",
    "in_degrees",
    "live_links",
    "vanish",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connectedness:
    """The connectedness of a network.

    Attributes
    ----------
    peers : int
        Live peers.
    components : int
        Groups that cannot reach each other (links count both ways).
    largest : int
        Peers in the largest group.
    """

    peers: int
    components: int
    largest: int

    @property
    def share(self) -> float:
        """The largest group's share of the live peers; what a flood from inside it reaches."""
        return self.largest / self.peers if self.peers else 0.0

    @property
    def whole(self) -> bool:
        """Whether all live peers can reach each other."""
        return self.components <= 1


def live_links(views: Views, alive: Flags) -> sp.csr_array:
    """Links between live peers, both ways, as a symmetric 0/1 matrix [n, n] of float32."""
    n = len(views)
    sources, targets = _links(views, alive)
    kept = alive[targets]
    sources, targets = sources[kept], targets[kept]
    ends = (np.concatenate([sources, targets]), np.concatenate([targets, sources]))
    matrix = sp.csr_array((np.ones(2 * len(sources), dtype=np.float32), ends), shape=(n, n))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def in_degrees(views: Views, alive: Flags) -> NDArray[np.intp]:
    """Number of live peers that know each live peer: int64 [live peers]."""
    _, targets = _links(views, alive)
    return np.bincount(targets, minlength=len(views))[alive]


def dead_link_share(views: Views, alive: Flags) -> float:
    """Share of the entries in live peers' views that name a vanished peer."""
    _, targets = _links(views, alive)
    return float(np.mean(~alive[targets])) if len(targets) else 0.0


def clustering_coefficient(
    views: Views, alive: Flags, *, sample: int = 10_000, generator: np.random.Generator
) -> float:
    """Mean share of a peer's pairs of neighbours that are linked themselves (Watts & Strogatz 1998).

    Over at most `sample` live peers drawn by `generator`; peers with fewer than two neighbours count as 0.
    """
    links = live_links(views, alive)
    chosen = _sample(alive, sample, generator)
    total = 0.0
    for block in np.array_split(chosen, max(len(chosen) // 1000, 1)):
        near = links[block]
        degree = near.sum(axis=1)
        closed = (near @ links).multiply(near).sum(axis=1)
        total += float(np.sum(closed / np.maximum(degree * (degree - 1), 1)))
    return total / len(chosen) if len(chosen) else 0.0


def average_path_length(
    views: Views, alive: Flags, *, sources: int = 32, generator: np.random.Generator
) -> float:
    """Mean number of hops from `sources` random live peers to every peer they can reach."""
    links = live_links(views, alive)
    chosen = _sample(alive, sources, generator)
    reached = np.zeros((links.shape[0], len(chosen)), dtype=np.bool_)
    reached[chosen, np.arange(len(chosen))] = True
    frontier = reached.copy()
    hops = pairs = distance = 0
    while frontier.any():
        distance += 1
        frontier = (links @ frontier.astype(np.float32) > 0) & ~reached
        reached |= frontier
        found = int(frontier.sum())
        pairs += found
        hops += distance * found
    return hops / pairs if pairs else 0.0


def connectedness(views: Views, alive: Flags) -> Connectedness:
    """The connectedness of the live peers."""
    live = np.flatnonzero(alive)
    if not len(live):
        return Connectedness(peers=0, components=0, largest=0)
    _, labels = connected_components(live_links(views, alive), directed=False)
    sizes = np.unique(labels[live], return_counts=True)[1]
    return Connectedness(peers=len(live), components=len(sizes), largest=int(sizes.max()))


def connectedness_after_failure(
    views: Views, alive: Flags, share: float, *, generator: np.random.Generator
) -> Connectedness:
    """The connectedness of the rest right after a random `share` of the live peers vanishes at once."""
    return connectedness(views, vanish(alive, share, generator=generator))


def vanish(alive: Flags, share: float, *, generator: np.random.Generator) -> Flags:
    """The peers alive after a random `share` (0…1) of them has vanished.

    Raises
    ------
    InvalidParameter
        If `share` is not between 0 and 1.
    """
    share = check_fraction("share", share)
    live = np.flatnonzero(alive)
    after = alive.copy()
    after[generator.choice(live, size=round(share * len(live)), replace=False)] = False
    return after


def _links(views: Views, alive: Flags) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Holder and target of each entry in a live peer's view."""
    holders, columns = np.nonzero((views >= 0) & alive[:, None])
    return holders, views[holders, columns]


def _sample(alive: Flags, size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    live = np.flatnonzero(alive)
    return live if len(live) <= size else generator.choice(live, size=size, replace=False)

"""Random graphs of the classic models, drawn without a loop over nodes."""

from __future__ import annotations

from math import log
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from topology.bounds import Positive, Share, check_at_least, check_fraction, check_number
from topology.errors import ImpossibleDegree
from topology.graphs.assemble import assemble, check_edge_budget
from topology.graphs.topology import Topology

__all__ = ["erdos_renyi", "geometric", "scale_free", "small_world"]

_Ints = npt.NDArray[np.int64]


def erdos_renyi(
    n: Positive, p: Share, seed: int, *, directed: bool = False, require_connected: bool = True
) -> Topology:
    """Return a graph in which every pair is linked independently with probability `p`.

    Parameters
    ----------
    n : int
        Number of nodes, at least 1.
    p : float
        Probability of an edge, 0 to 1.
    seed : int
        The same seed gives the same graph on any machine.
    directed : bool
        Draw each direction independently.
    require_connected : bool
        Raise if the draw is not connected.

    Raises
    ------
    Disconnected
        If the draw is not (strongly) connected, unless `require_connected` is False.
    InvalidParameter
        If `n` or `p` is out of range.
    TooLarge
        If more edges are expected than a topology can hold.

    Notes
    -----
    Gaps between edges, in the order of all pairs, are geometric: time grows with the number of edges, not of
    pairs.

    References
    ----------
    Gilbert, "Random graphs", Annals of Mathematical Statistics 30, 1959. Batagelj and Brandes, "Efficient
    generation of large random networks", Physical Review E 71, 2005, algorithm 1.
    """
    n, p = check_at_least("n", n, 1), check_fraction("p", p)
    pairs = n * (n - 1) if directed else n * (n - 1) // 2
    check_edge_budget(f"erdos_renyi({n}, {p:g})", int(1.1 * p * pairs * (1 if directed else 2)))
    chosen = _geometric_skips(pairs, p, np.random.Generator(np.random.Philox(seed)))
    if directed:
        sources, targets = chosen // max(n - 1, 1), chosen % max(n - 1, 1)
        targets += targets >= sources
    else:
        targets, sources = _unrank_pairs(chosen)
    found = assemble(n, sources, targets, name=f"erdos_renyi({n}, {p:g})", directed=directed)
    threshold = log(n) / n if n > 1 else 0.0
    remedy = f"Raise p above ln(n)/n = {threshold:.3g}, take another seed, or pass require_connected=False"
    return found.require_connected(remedy) if require_connected else found


def _geometric_skips(total: int, p: float, generator: np.random.Generator) -> _Ints:
    """Each of ``0 … total-1`` with probability p, in increasing order."""
    if p == 0 or total == 0:
        return np.empty(0, dtype=np.int64)
    if p == 1:
        return np.arange(total)
    chunks, last = [], -1
    while last < total:
        left = (total - last) * p
        steps = generator.geometric(p, size=int(left + 6 * left**0.5 + 16))
        # A geometric step can overflow a sum only where p is so small that it also ends the loop.
        places = last + np.cumsum(np.minimum(steps, total + 1))
        chunks.append(places)
        last = int(places[-1])
    chosen = np.concatenate(chunks)
    kept: _Ints = chosen[chosen < total]
    return kept


def _unrank_pairs(rank: _Ints) -> tuple[_Ints, _Ints]:
    """Return the pair (smaller, larger) of each rank in the order 0-1, 0-2, 1-2, 0-3 and so on."""
    larger = ((1 + np.sqrt(1 + 8 * rank.astype(np.float64))) // 2).astype(np.int64)
    # The root is rounded: step back or forth where it crossed an integer.
    larger -= larger * (larger - 1) // 2 > rank
    larger += (larger + 1) * larger // 2 <= rank
    return rank - larger * (larger - 1) // 2, larger


def small_world(
    n: Positive, degree: Annotated[int, Ge(2)], rewire: Share, seed: int, *, require_connected: bool = True
) -> Topology:
    """Return a Watts–Strogatz graph: a ring lattice some of whose edges lead elsewhere.

    Parameters
    ----------
    n : int
        Number of nodes, at least 3.
    degree : int
        Neighbours in the lattice, even, from 2 to n − 1: the nearest degree/2 on either side.
    rewire : float
        Probability that an edge's far end moves to a random node.
    seed : int
        The same seed gives the same graph on any machine.
    require_connected : bool
        Raise if the draw is not connected.

    Raises
    ------
    ImpossibleDegree
        If `degree` is odd or out of range.
    Disconnected
        If the draw is not connected, unless `require_connected` is False.
    InvalidParameter
        If `n` or `rewire` is out of range.

    References
    ----------
    Watts and Strogatz, "Collective dynamics of 'small-world' networks", Nature 393, 1998. All edges are
    rewired at once here, not one after another; both leave n·degree/2 distinct edges.
    """
    n, rewire = check_at_least("n", n, 3), check_fraction("rewire", rewire)
    if degree % 2 or not 2 <= degree <= n - 1:
        raise ImpossibleDegree(
            "a ring lattice has equally many neighbours on either side",
            expected=f"an even degree from 2 to {n - 1}",
            got=degree,
            remedy="Take an even degree below n",
        )
    generator = np.random.Generator(np.random.Philox(seed))
    sources = np.tile(np.arange(n), degree // 2)
    targets = (sources + np.repeat(np.arange(1, degree // 2 + 1), n)) % n
    open_edges = generator.random(len(sources)) < rewire
    if degree == n - 1:
        open_edges[:] = False
    taken = np.sort(_pair_keys(n, sources, targets))
    waiting = np.flatnonzero(open_edges)
    while len(waiting):
        # All waiting edges propose an end at once; until one is free, an edge keeps its own place.
        here, proposed = sources[waiting], generator.integers(n, size=len(waiting))
        keys = _pair_keys(n, here, proposed)
        place = np.minimum(np.searchsorted(taken, keys), len(taken) - 1)
        first = np.zeros(len(waiting), dtype=bool)
        first[np.unique(keys, return_index=True)[1]] = True
        accepted = (proposed == targets[waiting]) | (first & (taken[place] != keys) & (here != proposed))
        targets[waiting[accepted]] = proposed[accepted]
        taken = np.sort(_pair_keys(n, sources, targets))
        waiting = waiting[~accepted]
    found = assemble(n, sources, targets, name=f"small_world({n}, {degree}, {rewire:g})")
    remedy = "Raise degree, take another seed, or pass require_connected=False"
    return found.require_connected(remedy) if require_connected else found


def _pair_keys(n: int, one: _Ints, two: _Ints) -> _Ints:
    keys: _Ints = np.minimum(one, two) * n + np.maximum(one, two)
    return keys


def scale_free(n: Positive, links: Positive, seed: int) -> Topology:
    """Return a Barabási–Albert graph: each newcomer links to `links` nodes, chosen in proportion to degree.

    Parameters
    ----------
    n : int
        Number of nodes, above `links`.
    links : int
        Edges that each newcomer brings, at least 1. The first links + 1 nodes form a star.
    seed : int
        The same seed gives the same graph on any machine.

    Returns
    -------
    Topology
        Undirected and connected, with (n − links) · links edges.

    Raises
    ------
    InvalidParameter
        If a parameter is out of range.

    References
    ----------
    Barabási and Albert, "Emergence of scaling in random networks", Science 286, 1999. Batagelj and Brandes,
    "Efficient generation of large random networks", Physical Review E 71, 2005, algorithm 5: an end drawn
    uniformly from all ends of earlier edges is a node drawn in proportion to its degree. Ends that repeat
    within a newcomer are drawn again.
    """
    links = check_at_least("links", links, 1)
    n = check_at_least("n", n, links + 1)
    generator = np.random.Generator(np.random.Philox(seed))
    newcomers = np.arange(links + 1, n)
    edges = len(newcomers) * links
    # Ends 0 … 2·links-1 are the star's; then source and target of every later edge in turn.
    ends = np.empty(2 * (links + edges), dtype=np.int64)
    ends[: 2 * links : 2], ends[1 : 2 * links : 2] = 0, np.arange(1, links + 1)
    ends[2 * links :: 2] = np.repeat(newcomers, links)
    known = 2 * (links + np.repeat(np.arange(len(newcomers)), links) * links)
    pointer = (generator.random(edges) * known).astype(np.int64)
    while edges:
        targets = _follow(ends, pointer, links)
        rows = np.sort(targets.reshape(-1, links), axis=1)
        clash = (rows[:, 1:] == rows[:, :-1]).any(axis=1)
        if not clash.any():
            break
        again = _repeats(targets.reshape(-1, links)[clash])
        places = np.flatnonzero(np.repeat(clash, links))[again.ravel()]
        pointer[places] = (generator.random(len(places)) * known[places]).astype(np.int64)
    else:
        targets = np.empty(0, dtype=np.int64)
    sources = np.concatenate((np.zeros(links, dtype=np.int64), ends[2 * links :: 2]))
    return assemble(
        n,
        sources,
        np.concatenate((np.arange(1, links + 1), targets)),
        name=f"scale_free({n}, {links})",
    )


def _follow(ends: _Ints, pointer: _Ints, links: int) -> _Ints:
    """Node at the end of each chain of copied targets, by pointer doubling."""
    place = pointer.copy()
    while True:
        # Odd places past the star hold targets that are themselves copies.
        copied = (place >= 2 * links) & (place % 2 == 1)
        if not copied.any():
            return ends[place]
        place[copied] = pointer[(place[copied] - 2 * links) // 2]


def _repeats(rows: _Ints) -> npt.NDArray[np.bool_]:
    """Return which entries repeat an earlier one of their row."""
    repeated = np.zeros(rows.shape, dtype=bool)
    for column in range(1, rows.shape[1]):
        repeated[:, column] = (rows[:, :column] == rows[:, column : column + 1]).any(axis=1)
    return repeated


def geometric(
    n: Positive, radius: float, seed: int, *, dimensions: Positive = 2, require_connected: bool = True
) -> Topology:
    """Return nodes at random in the unit cube, linked where closer than `radius`.

    Parameters
    ----------
    n : int
        Number of nodes, at least 1.
    radius : float
        Largest distance of neighbours, above 0.
    seed : int
        The same seed gives the same graph on any machine.
    dimensions : int
        Dimensions of the cube, at least 1.
    require_connected : bool
        Raise if the draw is not connected.

    Returns
    -------
    Topology
        Undirected, with `positions`, and distances as `weights`.

    Raises
    ------
    Disconnected
        If the draw is not connected, unless `require_connected` is False.
    InvalidParameter
        If a parameter is out of range.

    References
    ----------
    Penrose, "Random geometric graphs", Oxford University Press, 2003: in two dimensions the graph connects
    around ``radius = √(ln n / (π n))``.
    """
    from scipy.spatial import KDTree  # a tenth of a second that no other graph needs

    n, dimensions = check_at_least("n", n, 1), check_at_least("dimensions", dimensions, 1)
    radius = check_number("radius", radius, gt=0, remedy="Pass e.g. radius=0.2")
    positions = np.random.Generator(np.random.Philox(seed)).random((n, dimensions))
    tree = KDTree(positions)
    check_edge_budget(f"geometric({n}, {radius:g})", int(tree.count_neighbors(tree, radius)) - n)
    pairs = tree.query_pairs(radius, output_type="ndarray").reshape(-1, 2)
    lengths = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    found = assemble(
        n, pairs[:, 0], pairs[:, 1], name=f"geometric({n}, {radius:g})", weights=lengths, positions=positions
    )
    needed = (log(n) / n) ** (1 / dimensions) if n > 1 else 0.0
    remedy = f"Raise radius towards {needed:.2g}, take another seed, or pass require_connected=False"
    return found.require_connected(remedy) if require_connected else found

"""Edge colouring: a graph as a union of few matchings."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from topology.graphs.topology import IntArray, Topology

__all__ = ["matching_decomposition"]


def matching_decomposition(topology: Topology) -> list[IntArray]:
    """Return disjoint matchings that together make up the graph, at most one more than its largest degree.

    Parameters
    ----------
    topology : Topology
        Undirected.

    Returns
    -------
    list of int64 arrays, each of shape [edges, 2]
        At most ``max_degree + 1`` nonempty matchings; every edge is in exactly one.

    Raises
    ------
    DirectedGraph
        If edges have a direction.

    References
    ----------
    Misra and Gries, "A constructive proof of Vizing's theorem", Information Processing Letters 41, 1992.
    """
    topology.require_undirected("a matching decomposition", "Use an undirected topology")
    colouring = _Colouring(topology.max_degree + 1, [{} for _ in range(topology.n)])
    for u, v in topology.edges().tolist():
        colouring.add(u, v)
    groups: dict[int, list[tuple[int, int]]] = {}
    for u, reached in enumerate(colouring.partner):
        for colour, v in reached.items():
            if u < v:
                groups.setdefault(colour, []).append((u, v))
    return [np.array(groups[colour], dtype=np.int64) for colour in sorted(groups)]


@dataclass
class _Colouring:
    """A proper colouring of the edges added so far; ``partner[u][c]`` is u's neighbour by colour c."""

    colours: int
    partner: list[dict[int, int]]
    colour: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, u: int, v: int) -> None:
        fan = self._fan(u, v)
        c, d = self._free(u), self._free(fan[-1])
        self._invert_path(u, c, d)
        # After the inversion d is free on u; the fan is cut at the first of its ends on which d is free.
        end = next(
            k for k in range(len(fan)) if d not in self.partner[fan[k]] and self._is_fan(u, fan[: k + 1])
        )
        for k in range(end):
            colour = self.colour[self._edge(u, fan[k + 1])]
            self._clear(u, fan[k + 1])
            self._set(u, fan[k], colour)
        self._set(u, fan[end], d)

    def _free(self, u: int) -> int:
        return next(c for c in range(self.colours) if c not in self.partner[u])

    def _fan(self, u: int, v: int) -> list[int]:
        """Return a maximal fan: each next neighbour's edge has a colour free on the one before."""
        fan, inside, grown = [v], {v}, True
        while grown:
            grown = False
            for colour, w in self.partner[u].items():
                if w not in inside and colour not in self.partner[fan[-1]]:
                    fan.append(w)
                    inside.add(w)
                    grown = True
                    break
        return fan

    def _is_fan(self, u: int, fan: list[int]) -> bool:
        steps = pairwise(fan)
        return all(self.colour[self._edge(u, after)] not in self.partner[before] for before, after in steps)

    def _invert_path(self, u: int, c: int, d: int) -> None:
        """Swap colours c and d along the path that begins at u with d (c is free on u)."""
        path, here, colour = [u], u, d
        while colour in self.partner[here]:
            here = self.partner[here][colour]
            path.append(here)
            colour = c if colour == d else d
        edges = list(pairwise(path))
        old = [self.colour[self._edge(a, b)] for a, b in edges]
        for a, b in edges:
            self._clear(a, b)
        for (a, b), was in zip(edges, old, strict=True):
            self._set(a, b, c if was == d else d)

    @staticmethod
    def _edge(u: int, v: int) -> tuple[int, int]:
        return (u, v) if u < v else (v, u)

    def _set(self, u: int, v: int, colour: int) -> None:
        self.partner[u][colour], self.partner[v][colour] = v, u
        self.colour[self._edge(u, v)] = colour

    def _clear(self, u: int, v: int) -> None:
        colour = self.colour.pop(self._edge(u, v))
        del self.partner[u][colour], self.partner[v][colour]

"""MATCHA: matchings of a graph, each switched on at random as often as it earns its messages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import csr_array
from scipy.sparse.csgraph import laplacian

from topology.bounds import Share, check_number
from topology.errors import SolverFailed, TooLarge
from topology.graphs.topology import FloatArray, IntArray, Topology
from topology.sequences.colouring import matching_decomposition
from topology.sequences.keyed import derive_key, draw
from topology.sequences.sequence import Row, RuleSequence, from_entries

__all__ = ["activation_probabilities", "matcha"]

_LARGEST = 2048
_CUTS = 500


def matcha(graph: Topology, budget: Share, seed: int) -> RuleSequence:
    """Return the MATCHA sequence of a graph: random subsets of its matchings within a budget.

    Parameters
    ----------
    graph : Topology
        Undirected, connected, at most 2,048 nodes (the probabilities come from dense eigenvalues).
    budget : float
        Expected share of the matchings that is switched on in a round, above 0 and at most 1.
    seed : int
        With t it fixes which matchings are on; every node that knows the graph finds that alone.

    Returns
    -------
    RuleSequence
        Symmetric and doubly stochastic, ``I − α Σ Bⱼ(t) Lⱼ``, random. Where α times a degree exceeds 1 the
        node's own weight is negative in rounds with all its matchings on. `expected_contraction` is None,
        because the contraction depends on x; the paper's bound on it is ρ of `activation_probabilities`.

    Raises
    ------
    DirectedGraph, Disconnected
        If the graph is directed or falls apart.
    InvalidParameter
        If `budget` is outside (0, 1].
    TooLarge
        If there are more than 2,048 nodes.

    References
    ----------
    Wang, Sahu, Yang, Joshi and Kar, "MATCHA: Speeding up decentralized SGD via matching decomposition
    sampling", Indian Control Conference 2019, sections 3.1 to 3.3.
    """
    matchings = matching_decomposition(graph)
    probabilities, alpha, _ = activation_probabilities(graph, matchings, budget)
    key = derive_key(int(seed), 7)
    rule = _Activation(graph.n, tuple(matchings), tuple((probabilities * 2.0**64).tolist()), alpha, key)
    return RuleSequence(
        name=f"matcha({graph.name}, {budget:g})",
        n=graph.n,
        period=None,
        degree=graph.max_degree,
        symmetric=True,
        make=rule.matrix,
        row_rule=rule.row,
    )


def activation_probabilities(
    topology: Topology, matchings: list[IntArray], budget: float
) -> tuple[FloatArray, float, float]:
    """Return how often to switch on each matching, the step α, and the bound ρ on the contraction a round.

    Probabilities maximise the algebraic connectivity λ₂(Σ pⱼLⱼ) under Σ pⱼ ≤ budget · M (paper's problem 4),
    by cutting planes to a relative gap of 1e-6; α minimises ρ = ‖E[W²] − J‖₂ (problem 8, in closed form for
    fixed p).

    Returns
    -------
    probabilities : float64 array, shape [number of matchings]
    alpha : float
    rho : float
        ``E‖Wx − x̄‖² ≤ ρ ‖x − x̄‖²`` for every x.

    Raises
    ------
    InvalidParameter
        If `budget` is outside (0, 1].
    Disconnected
        If the graph falls apart.
    TooLarge
        If there are more than 2,048 nodes.
    SolverFailed
        If the cutting planes do not close the gap.
    """
    remedy = "Pass the share of matchings that may be on in a round, e.g. 0.5"
    budget = check_number("budget", budget, gt=0, le=1, remedy=remedy)
    topology.require_connected()
    if topology.n > _LARGEST:
        raise TooLarge(
            "MATCHA's probabilities need dense eigenvalues",
            expected=f"at most {_LARGEST} nodes",
            got=topology.n,
            remedy="Use random_matching or epidemic, which need no preparation",
        )
    from scipy.optimize import minimize_scalar  # a tenth of a second that nobody else needs

    count, n = len(matchings), topology.n
    if n == 1:
        return np.empty(0), 0.0, 0.0
    laplacians = [_laplacian(n, pairs) for pairs in matchings]
    probabilities = _best_probabilities(laplacians, matchings, budget * count)
    mean = sum(p * L for p, L in zip(probabilities, laplacians, strict=True)).toarray()
    spread = sum(p * (1 - p) * L for p, L in zip(probabilities, laplacians, strict=True)).toarray()
    square = mean @ mean + 2 * spread

    def contraction(alpha: float) -> float:
        expected = np.eye(n) - 1 / n - 2 * alpha * mean + alpha**2 * square
        return float(eigh(expected, eigvals_only=True, subset_by_index=[n - 1, n - 1])[0])

    best: Any = minimize_scalar(contraction, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-8})
    return probabilities, float(best.x), float(best.fun)


def _best_probabilities(laplacians: list[csr_array], matchings: list[IntArray], total: float) -> FloatArray:
    """Kelley's cutting planes on the concave λ₂: each eigenvector v gives λ₂ ≤ Σ pⱼ vᵀLⱼv."""
    from scipy.optimize import linprog

    count, n = len(laplacians), laplacians[0].shape[0]
    p = np.full(count, total / count)
    best_value, best_p = -1.0, p
    cuts: list[FloatArray] = []
    deflate = np.full((n, n), 2.0 * total / n)
    for _ in range(_CUTS):
        L = sum(x * y for x, y in zip(p, laplacians, strict=True)).toarray()
        values, vectors = eigh(L + deflate, subset_by_index=[0, min(4, n - 2)])
        if values[0] > best_value:
            best_value, best_p = float(values[0]), p
        cuts.extend(np.array([((v[e[:, 0]] - v[e[:, 1]]) ** 2).sum() for e in matchings]) for v in vectors.T)
        bound: Any = linprog(
            np.append(np.zeros(count), -1.0),
            A_ub=np.block(
                [[-np.array(cuts), np.ones((len(cuts), 1))], [np.ones((1, count)), np.zeros((1, 1))]]
            ),
            b_ub=np.append(np.zeros(len(cuts)), total),
            bounds=[(0, 1)] * count + [(0, None)],
        )
        if -bound.fun - best_value <= 1e-6 * max(best_value, 1e-12):
            found: FloatArray = np.clip(best_p, 0, 1)
            return found
        p = np.clip(bound.x[:count], 0, 1)
    raise SolverFailed(
        "MATCHA's activation probabilities did not converge",
        expected="a relative gap of 1e-6",
        got=f"{(-bound.fun - best_value) / best_value:.1e} after {_CUTS} cutting planes",
        remedy="Raise the budget, or take a smaller graph",
    )


def _laplacian(n: int, pairs: IntArray) -> csr_array:
    links = csr_array((np.ones(2 * len(pairs)), np.concatenate((pairs, pairs[:, ::-1])).T), shape=(n, n))
    return csr_array(laplacian(links))


@dataclass(frozen=True)
class _Activation:
    """The matchings that are on in a round, and the matrix that they make."""

    n: int
    matchings: tuple[IntArray, ...]
    thresholds: tuple[float, ...]
    alpha: float
    key: int

    @cached_property
    def partners(self) -> list[IntArray]:
        """The partner of each node in each matching; the node itself if it has none."""
        found: list[IntArray] = []
        for pairs in self.matchings:
            partner: IntArray = np.arange(self.n)
            partner[pairs[:, 0]], partner[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
            found.append(partner)
        return found

    def is_on(self, t: int, m: int) -> bool:
        return draw(derive_key(self.key, t), m) < self.thresholds[m]

    def matrix(self, t: int) -> csr_array:
        on = [pairs for m, pairs in enumerate(self.matchings) if self.is_on(t, m)]
        pairs = np.concatenate(on) if on else np.empty((0, 2), dtype=np.int64)
        rows, columns = np.concatenate((pairs, pairs[:, ::-1])).T
        return from_entries(self.n, rows, columns, self.alpha)

    def row(self, t: int, i: int) -> Row:
        met = [
            int(partner[i]) for m, partner in enumerate(self.partners) if partner[i] != i and self.is_on(t, m)
        ]
        nodes = np.array(sorted([*met, i]), dtype=np.int64)
        return nodes, np.where(nodes == i, 1.0 - self.alpha * len(met), self.alpha)

"""The fastest mixing matrix of a graph, by convex optimisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from topology.errors import SolverFailed, TooLarge
from topology.graphs.topology import Topology
from topology.lazy import import_extra
from topology.mixing.weights import _insert_diagonal

__all__ = ["LARGEST_FASTEST", "fastest"]

LARGEST_FASTEST = 256
"""Most nodes for which the semidefinite programme is attempted; time grows with about n⁴."""


def fastest(topology: Topology, *, nonnegative: bool = False) -> csr_array:
    """Return the symmetric weights with the smallest second eigenvalue modulus (FDLA).

    Minimises ``‖W − J‖₂`` over ``W = I − B diag(w) Bᵀ``, one weight an edge, by Clarabel's interior-point
    method.

    Parameters
    ----------
    topology : Topology
        Undirected, connected, at most 256 nodes.
    nonnegative : bool
        Allow no negative weight, on edges or on the diagonal (then W is the fastest mixing Markov chain of
        Boyd, Diaconis and Xiao 2004).

    Returns
    -------
    scipy.sparse.csr_array of float64, shape [n, n]
        Symmetric; rows and columns sum to 1. Some weights may be negative unless `nonnegative`: pass
        ``nonnegative=False`` to `check_mixing_matrix`.

    Raises
    ------
    MissingExtra
        If cvxpy or clarabel is not installed.
    DirectedGraph, Disconnected
        If the graph is directed or falls apart.
    TooLarge
        If there are more than 256 nodes.
    SolverFailed
        If the solver does not reach the optimum.

    References
    ----------
    Xiao and Boyd, "Fast linear iterations for distributed averaging", Systems & Control Letters 53, 2004,
    problem (17). Boyd, Diaconis and Xiao, "Fastest mixing Markov chain on a graph", SIAM Review 46, 2004.
    """
    topology.require_undirected("fastest", "Use uniform(…) or column_stochastic(…)").require_connected()
    n = topology.n
    if n > LARGEST_FASTEST:
        raise TooLarge(
            f"the semidefinite programme of {topology.name} is too large",
            expected=f"at most {LARGEST_FASTEST} nodes",
            got=n,
            remedy="Use metropolis_hastings, which is within a small factor on most graphs",
        )
    if n == 1:
        return csr_array(np.ones((1, 1)))
    cvxpy = import_extra(
        "cvxpy", "clarabel", extra="fastest", what="the fastest weights come from a convex programme"
    )
    edges = topology.edges()
    weights = _solve(cvxpy, n, edges, nonnegative=nonnegative)
    number = csr_array(
        (np.tile(np.arange(1, len(edges) + 1), 2), np.concatenate((edges, edges[:, ::-1])).T), shape=(n, n)
    )
    data = weights[number.data - 1]
    rows = np.repeat(np.arange(n), np.diff(number.indptr))
    diagonal = 1.0 - np.bincount(rows, weights=data, minlength=n)
    return _insert_diagonal(number.indptr, number.indices, data, diagonal)


def _solve(cvxpy: Any, n: int, edges: Any, *, nonnegative: bool) -> Any:  # noqa: ANN401 - cvxpy is untyped
    """Weights of the edges, float64 [edges]."""
    m = len(edges)
    incidence = csr_array(
        (
            np.concatenate((np.ones(m), -np.ones(m))),
            (np.concatenate((edges[:, 0], edges[:, 1])), np.tile(np.arange(m), 2)),
        ),
        shape=(n, m),
    )
    w, s = cvxpy.Variable(m, nonneg=nonnegative), cvxpy.Variable()
    # One column of this map is the Laplacian of one edge, flattened.
    columns = [np.outer(b, b).ravel() for b in incidence.T.toarray()]
    laplacian = cvxpy.reshape(csr_array(np.array(columns).T) @ w, (n, n), order="C")
    deviation = np.eye(n) - 1.0 / n - laplacian
    constraints = [deviation << s * np.eye(n), deviation >> -s * np.eye(n)]
    if nonnegative:
        constraints.append(abs(incidence) @ w <= 1)
    problem = cvxpy.Problem(cvxpy.Minimize(s), constraints)
    try:
        problem.solve(solver="CLARABEL")
    except cvxpy.SolverError as failure:
        raise SolverFailed(
            "the solver gave up", got=str(failure), remedy="Use metropolis_hastings"
        ) from failure
    if problem.status != "optimal":
        raise SolverFailed(
            "the solver did not reach the optimum",
            expected="optimal",
            got=problem.status,
            remedy="Use metropolis_hastings",
        )
    return np.asarray(w.value)

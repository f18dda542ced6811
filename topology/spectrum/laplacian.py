"""Eigenvalues of a graph's Laplacian, and the number of hostile neighbours that they allow."""

from __future__ import annotations

from math import ceil

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.linalg import eigsh, splu

from topology.errors import InvalidParameter
from topology.graphs import Topology
from topology.spectrum.eigen import DENSE_NODES

__all__ = [
    "algebraic_connectivity",
    "fiedler_vector",
    "hostile_neighbours_survivable",
    "laplacian",
    "largest_laplacian_eigenvalue",
]

_Floats = npt.NDArray[np.float64]
_SEED = 20220202
_ROUNDING = 1e-9
_BESIDE = 1e-7  # how far beside an eigenvalue equations are solved, relative to it
_INVERSE_ITERATIONS = 4


def laplacian(graph: Topology) -> csr_array:
    """Return L = D − A of an undirected graph, every link of weight 1: float64 ``[n, n]``.

    Raises
    ------
    InvalidParameter
        If the graph is directed.
    """
    if graph.directed:
        raise InvalidParameter(
            "a Laplacian is of undirected links", expected="an undirected graph", got=graph.name
        )
    return laplacian_of_links(
        csr_array((np.ones(len(graph.indices)), graph.indices, graph.indptr), shape=(graph.n, graph.n))
    )


def laplacian_of_links(links: csr_array) -> csr_array:
    """Return L = D − A of a symmetric matrix of links, ones without a diagonal."""
    return csr_array(diags_array(links.sum(axis=1)) - links)


def algebraic_connectivity(graph: Topology) -> float:
    """Return μ₂, the second smallest eigenvalue of the Laplacian; 0 if the graph falls apart.

    Raises
    ------
    InvalidParameter
        If the graph is directed, or has a single node.

    References
    ----------
    Fiedler, "Algebraic connectivity of graphs", Czechoslovak Mathematical Journal 1973.

    Examples
    --------
    >>> from topology import graphs
    >>> round(algebraic_connectivity(graphs.complete(7)), 9)
    7.0
    """
    return max(0.0, _second(laplacian(graph)))


def largest_laplacian_eigenvalue(graph: Topology) -> float:
    """Return λ_max of the Laplacian.

    Raises
    ------
    InvalidParameter
        If the graph is directed.
    """
    L = laplacian(graph)
    if L.shape[0] <= DENSE_NODES:
        return float(np.linalg.eigvalsh(L.toarray())[-1])
    return float(eigsh(L, k=1, which="LA", v0=_start(L), return_eigenvectors=False)[0])


def fiedler_vector(links: csr_array) -> _Floats:
    """Return the eigenvector of μ₂, of norm 1, its largest entry positive: float64 ``[n]``.

    Where μ₂ has several, it is the one nearest to a fixed draw, on every machine.

    Parameters
    ----------
    links : csr_array
        A symmetric matrix of links, ones without a diagonal.
    """
    L = laplacian_of_links(links)
    value, vector = _second(L), _start(L)
    beside = splu((L - (value - _BESIDE * max(1.0, value)) * eye_array(L.shape[0])).tocsc())
    for _ in range(_INVERSE_ITERATIONS):  # keeps to the draw's own part of the eigenspace, as solvers do not
        vector = beside.solve(vector - vector.mean())
        vector /= np.linalg.norm(vector)
    turned: _Floats = vector * np.sign(vector[np.abs(vector).argmax()])
    return turned


def hostile_neighbours_survivable(graph: Topology) -> int:
    """Return the largest b below μ₂/2: as many hostile neighbours of each honest node can be survived at best.

    With b ≥ μ₂/2 no rule on neighbours' rows brings the honest nodes of such a graph together, whatever it is.

    Parameters
    ----------
    graph : Topology
        The graph of the honest nodes.

    Raises
    ------
    InvalidParameter
        If the graph is directed, or has a single node.

    References
    ----------
    Gaucher, Dieuleveut and Hendrikx, "Unified breakdown analysis for Byzantine robust gossip", ICML 2025.

    Examples
    --------
    >>> from topology import graphs
    >>> hostile_neighbours_survivable(graphs.two_worlds(26, links=8))
    7
    """
    return max(0, ceil(algebraic_connectivity(graph) / 2 - _ROUNDING) - 1)


def _second(L: csr_array) -> float:
    """The second smallest eigenvalue of a Laplacian."""
    n = L.shape[0]
    if n < 2:
        raise InvalidParameter("a single node has no second eigenvalue", expected="at least 2 nodes", got=n)
    if n <= DENSE_NODES:
        return float(np.linalg.eigvalsh(L.toarray())[1])
    return float(np.sort(eigsh(L.tocsc(), k=2, sigma=-1e-2, v0=_start(L), return_eigenvectors=False))[1])


def _start(L: csr_array) -> _Floats:
    drawn: _Floats = np.random.Generator(np.random.Philox(_SEED)).normal(size=L.shape[0])
    return drawn

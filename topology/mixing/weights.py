"""Mixing matrices by local rules: each node computes its own row from its neighbours' degrees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, eye_array

from topology.bounds import check_number
from topology.graphs.topology import FloatArray, Topology

__all__ = ["column_stochastic", "lazy", "max_degree", "metropolis_hastings", "uniform"]

_FOR_DIRECTED = "Use column_stochastic(…) with push-sum, or uniform(…)"


def metropolis_hastings(topology: Topology) -> csr_array:
    """Return the Metropolis–Hastings weights ``1 / (1 + max(dᵢ, dⱼ))``.

    Parameters
    ----------
    topology : Topology
        Undirected.

    Returns
    -------
    scipy.sparse.csr_array of float64, shape [n, n]
        Symmetric, doubly stochastic, positive on every edge and on the diagonal. On a regular graph of degree
        d it is (I + A)/(d + 1).

    Raises
    ------
    DirectedGraph
        If edges have a direction.

    References
    ----------
    Xiao, Boyd and Kim, "Distributed average consensus with least-mean-square deviation", Journal of Parallel
    and Distributed Computing 67, 2007, equation (5).

    Examples
    --------
    >>> from topology import graphs, mixing
    >>> mixing.metropolis_hastings(graphs.ring(4)).toarray()[0]
    array([0.33333333, 0.33333333, 0.        , 0.33333333])
    """
    topology.require_undirected("metropolis_hastings", _FOR_DIRECTED)
    degrees = topology.degrees
    around = np.repeat(degrees, degrees)
    np.maximum(around, degrees[topology.indices], out=around)
    return _with_remainder_on_diagonal(topology, 1.0 / (1.0 + around))


def max_degree(topology: Topology) -> csr_array:
    """Return the maximum-degree weights: ``1 / (1 + d_max)`` on every edge, the rest on the diagonal.

    Parameters
    ----------
    topology : Topology
        Undirected.

    Returns
    -------
    scipy.sparse.csr_array of float64, shape [n, n]
        Symmetric and doubly stochastic: I − L/(1 + d_max) with the graph Laplacian L.

    Raises
    ------
    DirectedGraph
        If edges have a direction.

    References
    ----------
    Xiao and Boyd, "Fast linear iterations for distributed averaging", Systems & Control Letters 53, 2004,
    section 4.
    """
    topology.require_undirected("max_degree", _FOR_DIRECTED)
    share = 1.0 / (1.0 + topology.max_degree)
    return _with_remainder_on_diagonal(topology, np.full(len(topology.indices), share))


def uniform(topology: Topology) -> csr_array:
    """Return the plain average of a node's own and received values: ``1 / (1 + dᵢ)`` for itself and each sender.

    Parameters
    ----------
    topology : Topology
        Directed or not; dᵢ counts the nodes that send to i.

    Returns
    -------
    scipy.sparse.csr_array of float64, shape [n, n]
        Rows sum to 1. Columns do too exactly when the graph is regular (in and out), as rings, tori and
        exponential graphs are; otherwise the network agrees on a mean weighted by degree.
    """
    if topology.directed:
        heard = topology.adjacency.T.tocsr()
        heard.sort_indices()
        indptr, indices = heard.indptr, heard.indices
    else:
        indptr, indices = topology.indptr, topology.indices
    shares = 1.0 / (1.0 + np.diff(indptr))
    return _insert_diagonal(indptr, indices, np.repeat(shares, np.diff(indptr)), shares)


def column_stochastic(topology: Topology) -> csr_array:
    """Return push-sum weights: each node splits its value equally between itself and its recipients.

    Parameters
    ----------
    topology : Topology
        Directed or not.

    Returns
    -------
    scipy.sparse.csr_array of float64, shape [n, n]
        Columns sum to 1: ``W[i, j] = 1 / (1 + out-degree of j)``.

    References
    ----------
    Kempe, Dobra and Gehrke, "Gossip-based computation of aggregate information", FOCS 2003. Nedić and
    Olshevsky, "Distributed optimization over time-varying directed graphs", IEEE Transactions on Automatic
    Control 60, 2015, equation (1.3).
    """
    degrees = topology.degrees
    shares = 1.0 / (1.0 + degrees)
    sent = _insert_diagonal(topology.indptr, topology.indices, np.repeat(shares, degrees), shares)
    received = sent.T.tocsr()
    received.sort_indices()
    return received


def lazy(W: csr_array, stay: float = 0.5) -> csr_array:
    """Return ``stay · I + (1 − stay) · W``: every node keeps a share of its value.

    Parameters
    ----------
    W : scipy.sparse.csr_array, shape [n, n]
        Any mixing matrix.
    stay : float
        Share kept, from 0 to below 1. At ½ no eigenvalue of a symmetric W stays negative.

    Returns
    -------
    scipy.sparse.csr_array of float64, shape [n, n]

    Raises
    ------
    InvalidParameter
        If `stay` is not in [0, 1).
    """
    stay = check_number("stay", stay, ge=0, lt=1, remedy="Pass stay=0.5 for (I + W)/2")
    return csr_array(stay * eye_array(W.shape[0], format="csr") + (1.0 - stay) * W)


def _with_remainder_on_diagonal(topology: Topology, data: FloatArray) -> csr_array:
    # reduceat would misread empty rows; differences of a cumulative sum would round.
    sums = np.bincount(np.repeat(np.arange(topology.n), topology.degrees), weights=data, minlength=topology.n)
    return _insert_diagonal(topology.indptr, topology.indices, data, 1.0 - sums)


def _insert_diagonal(
    indptr: npt.NDArray[np.integer],
    indices: npt.NDArray[np.integer],
    data: FloatArray,
    diagonal: FloatArray,
) -> csr_array:
    """Compressed rows of off-diagonal entries with the diagonal put in its sorted place."""
    n = len(indptr) - 1
    counts = np.diff(indptr)
    rows = np.repeat(np.arange(n, dtype=indices.dtype), counts)
    below = indices < rows
    before = indptr[:-1] + np.arange(n) + np.bincount(rows[below], minlength=n)
    places = np.arange(len(indices)) + rows + ~below
    out_indices = np.empty(len(indices) + n, dtype=indices.dtype)
    out_data = np.empty(len(indices) + n)
    out_indices[places], out_data[places] = indices, data
    out_indices[before], out_data[before] = np.arange(n), diagonal
    out_indptr = (indptr + np.arange(n + 1)).astype(indptr.dtype)
    matrix = csr_array((out_data, out_indices, out_indptr), shape=(n, n))
    matrix.has_sorted_indices = True
    return matrix

"""Correlated noise (DECOR): noise that neighbours share cancels in sums over all nodes, and hides each node's row.

Allouah, Koloskova, El Firdoussi, Jaggi and Guerraoui, "The privacy power of correlated noise in decentralized
learning", ICML 2024. Node i sends its row plus ``N(0, σ²)`` plus ``±v_ij`` for each neighbour j, with ``v_ij ~
N(0, σ_c²)`` drawn by both from a seed that they share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.errors import SettingError
from gossipfl.privacy.guarantees import require_delta

__all__ = ["EdgeNormals", "composed_epsilon", "correlated_losses", "edge_noise", "renyi_per_step"]

Floats = NDArray[np.float64]

EdgeNormals = Callable[[int, int], Tensor]
"""From a pair of nodes, the smaller number first, to the standard normals that both draw, float64 ``[D]``."""

_LARGEST = float(2**62)


def correlated_losses(
    adjacency: NDArray[np.bool_],
    *,
    deviation: float,
    edge_deviation: float,
    coalition: Collection[int] = (),
    absent: Collection[int] = (),
) -> Floats:
    """Square shift, per unit of sensitivity, of an observer's view of all rows that are sent, ``[n]``.

    It is ``[(Σ_SS)⁻¹]_uu`` with ``Σ = σ² I + σ_c² L`` of the nodes outside the coalition, and S those of them that
    sent: the coalition knows the noise on its own edges, so these are left out of the Laplacian L. A node that
    drops out before it sends leaves its neighbours with noise that nothing cancels, which hides them no less.

    Parameters
    ----------
    adjacency : ndarray
        Symmetric, bool ``[n, n]``.
    deviation, edge_deviation : float
        σ and σ_c.
    coalition : collection of int
        Nodes whose noise the observer knows.
    absent : collection of int
        Nodes that drew their noise with their neighbours, and sent nothing.

    Returns
    -------
    ndarray
        0 for those that sent nothing, and infinite for the coalition, which knows its own rows.

    Raises
    ------
    SettingError
        If the matrix is none of a graph, or there is no independent noise.
    """
    linked = np.asarray(adjacency, dtype=bool)
    if linked.ndim != 2 or not np.array_equal(linked, linked.T) or linked.diagonal().any():
        raise SettingError(
            "neighbours share their noise in pairs", expected="a symmetric matrix with an empty diagonal"
        )
    if not deviation > 0 or edge_deviation < 0:
        raise SettingError(
            "correlated noise needs independent noise beside it: the sum of all rows has no other",
            expected="deviation above 0, and edge_deviation of at least 0",
            got=f"{deviation} and {edge_deviation}",
        )
    n = len(linked)
    honest = np.setdiff1d(np.arange(n), list(coalition))
    among = linked[np.ix_(honest, honest)].astype(np.float64)
    laplacian = np.diag(among.sum(axis=1)) - among
    covariance = deviation**2 * np.eye(len(honest)) + edge_deviation**2 * laplacian
    sent = ~np.isin(honest, list(absent))
    losses = np.zeros(n)
    losses[list(coalition)] = math.inf
    losses[honest[sent]] = np.diagonal(np.linalg.inv(covariance[np.ix_(sent, sent)]))
    return losses


def renyi_per_step(losses: Floats, *, clip: float) -> float:
    """ε₁ = 2C² max_u [Σ⁻¹]_uu: a step loses αε₁ of Rényi order α, where rows of norm C may be replaced."""
    return 2 * clip**2 * float(np.max(losses[np.isfinite(losses)], initial=0.0))


def composed_epsilon(per_step: float, *, steps: int, delta: float) -> float:
    """ε of so many steps: ``Tε₁ + 2√(Tε₁ ln 1/δ)``, the best over all orders α of ``αTε₁ + ln(1/δ)/(α − 1)``.

    Raises
    ------
    SettingError
        If δ is no probability.
    """
    require_delta(delta)
    total = steps * per_step
    return total + 2 * math.sqrt(total * math.log(1 / delta))


def edge_noise(
    node: int, neighbours: Collection[int], normals: EdgeNormals, *, deviation: float, unit: float
) -> Tensor:
    """Noise of a node's edges in whole multiples of a unit; over all nodes of a graph it sums to zero exactly.

    Parameters
    ----------
    node : int
    neighbours : collection of int
        At least one.
    normals : callable
        Gives both ends of an edge the same normals: from a secret that they share, or a simulation's seed.
    deviation : float
        σ_c.
    unit : float
        Of the fixed-point numbers, above 0.

    Returns
    -------
    Tensor
        int64 ``[D]``: ``+v`` at the end with the smaller number, ``−v`` at the other.
    """
    total: Tensor | None = None
    for other in sorted(neighbours):
        drawn = normals(min(node, other), max(node, other))
        whole = torch.round(drawn * (deviation / unit)).clamp_(-_LARGEST, _LARGEST).to(torch.int64)
        signed = whole if node < other else -whole
        total = signed if total is None else total + signed
    if total is None:
        raise SettingError("a node without neighbours shares noise with nobody", expected="at least one")
    return total

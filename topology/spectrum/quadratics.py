"""Decentralised SGD on quadratics, solved exactly."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.linalg import ArpackNoConvergence, eigs, spsolve

from topology.bounds import check_choice, check_number
from topology.errors import Diverges, InvalidParameter, NotMixingMatrix
from topology.mixing.checks import check_mixing_matrix
from topology.sequences.sequence import MixingSequence
from topology.spectrum.eigen import DENSE_NODES, eigenvalues
from topology.spectrum.prediction import Prediction

__all__ = ["Order", "dsgd_fixed_point", "dsgd_noise_floor"]

Order = Literal["adapt-then-combine", "combine-then-adapt"]
"""``W(X − ηG)`` (step, then mix) or ``WX − ηG`` with the gradient at X (mix, step from where one was)."""


def dsgd_fixed_point(
    W: csr_array | npt.ArrayLike,
    eta: float,
    b: npt.ArrayLike,
    *,
    order: Order = "adapt-then-combine",
    curvature: npt.ArrayLike = 1.0,
) -> npt.NDArray[np.float64]:
    """Return the fixed point of decentralised gradient descent on ``fᵢ(x) = ½ hᵢ ‖x − bᵢ‖²``.

    Parameters
    ----------
    W : sparse or dense array, shape [n, n]
        Mixing matrix, rows summing to 1.
    eta : float
        Step size, above 0.
    b : array, shape [n] or [n, dimensions]
        Minimiser of each node's function.
    order : {"adapt-then-combine", "combine-then-adapt"}
        ``X ← W(X − ηG)`` or ``X ← WX − ηG``, the gradient taken at X.
    curvature : float or array of shape [n]
        h, one for all or one a node, above 0.

    Returns
    -------
    float64 array of the shape of `b`
        Exact: the solution of ``(I − W(I − ηH)) X = ηWHb``, or of ``(I − W + ηH) X = ηHb``. In W's eigenbasis
        with h = 1 the mode of λ is ``ηλb̂ / (1 − (1−η)λ)``, or ``ηb̂ / (1 − λ + η)``.

    Raises
    ------
    Diverges
        If the iteration does not converge to it.
    InvalidParameter
        If a parameter is out of range or of the wrong shape.
    NotMixingMatrix
        If rows do not sum to 1.

    References
    ----------
    Yuan, Ling and Yin, "On the convergence of decentralized gradient descent", SIAM Journal on Optimization
    26, 2016. Sayed, "Adaptation, learning, and optimization over networks", 2014, for the two orders.
    """
    matrix = check_mixing_matrix(W, stochastic="rows", nonnegative=False, tolerance=1e-9)
    n = matrix.shape[0]
    targets = np.asarray(b, dtype=np.float64)
    h = np.asarray(curvature, dtype=np.float64)
    h = np.full(n, h) if h.ndim == 0 else h
    _check_problem(n, eta, targets, h)
    steps = diags_array(eta * h).tocsr()
    pulled = (eta * h).reshape(-1, *[1] * (targets.ndim - 1)) * targets
    identity = eye_array(n, format="csr")
    if _is_adapt_first(order):
        iteration, constant = matrix @ (identity - steps), matrix @ pulled
    else:
        iteration, constant = matrix - steps, pulled
    _check_stable(csr_array(iteration), eta)
    found: npt.NDArray[np.float64] = spsolve((identity - iteration).tocsc(), constant)
    return np.asarray(found).reshape(targets.shape)


def _check_problem(n: int, eta: float, targets: npt.NDArray[np.float64], h: npt.NDArray[np.float64]) -> None:
    check_number("eta", eta, gt=0, remedy="Pass e.g. 0.1")
    if targets.ndim not in (1, 2) or len(targets) != n:
        raise InvalidParameter(
            "b has the wrong shape",
            expected=f"[{n}] or [{n}, dimensions]",
            got=targets.shape,
            remedy="One row a node",
        )
    if h.shape != (n,) or not (h > 0).all():
        raise InvalidParameter(
            "curvature is out of range",
            expected=f"a positive number, or {n} of them",
            got=h.shape if h.shape != (n,) else float(h.min()),
            remedy="Pass curvature=1.0",
        )


def _is_adapt_first(order: Order) -> bool:
    check_choice("order", order, Order)
    return order == "adapt-then-combine"


def _check_stable(iteration: csr_array, eta: float) -> None:
    if iteration.shape[0] <= DENSE_NODES:
        radius = float(np.abs(np.linalg.eigvals(iteration.toarray())).max())
    else:
        try:
            radius = float(
                np.abs(eigs(iteration, k=1, which="LM", tol=1e-6, return_eigenvectors=False)).max()
            )
        except ArpackNoConvergence:
            return
    if radius >= 1:
        raise Diverges(
            "decentralised gradient descent does not converge here",
            expected="a spectral radius of the iteration below 1",
            got=f"{radius:.6g} at eta = {eta:g}",
            remedy="Lower eta, or use the lazy matrix (I + W)/2",
        )


def dsgd_noise_floor(
    W: csr_array | npt.ArrayLike | MixingSequence,
    eta: float,
    *,
    order: Order = "adapt-then-combine",
    noise: float = 1.0,
    curvature: float = 1.0,
) -> Prediction:
    """Return the stationary consensus distance under gradient noise on quadratics.

    Parameters
    ----------
    W : mixing matrix of shape [n, n], or MixingSequence
        Doubly stochastic and normal (symmetric or circulant, say); or a random sequence whose
        `expected_contraction` β is known, in the order adapt-then-combine.
    eta : float
        Step size, above 0.
    order : {"adapt-then-combine", "combine-then-adapt"}
        See `dsgd_fixed_point`.
    noise : float
        Variance of each gradient coordinate, independent over nodes and rounds.
    curvature : float
        h, the same for all nodes.

    Returns
    -------
    Prediction
        Exact stationary ``(1/n) Σ E‖xᵢ − x̄‖²`` a coordinate: ``(1/n) Σ_{λ≠1} η²σ²|λ|² / (1 − (1−ηh)²|λ|²)``;
        combine-then-adapt ``(1/n) Σ η²σ² / (1 − |λ − ηh|²)``; random
        ``(1 − 1/n) η²σ²β / (1 − (1−ηh)²β)``.

    Raises
    ------
    Diverges
        If the variance grows without limit.
    NotMixingMatrix
        If W is not doubly stochastic or not normal.
    InvalidParameter
        If no exact formula is known for the given sequence.
    """
    adapt_first = _is_adapt_first(order)
    check_number("eta", eta, gt=0, remedy="Pass e.g. 0.1")
    check_number("noise", noise, ge=0)
    check_number("curvature", curvature, gt=0)
    source = "stationary covariance of the linear recursion, mode by mode"
    if isinstance(W, MixingSequence):
        if W.period == 1:
            return dsgd_noise_floor(W.matrix(0), eta, order=order, noise=noise, curvature=curvature)
        beta = W.expected_contraction
        if beta is None or not adapt_first:
            raise InvalidParameter(
                f"no exact noise floor is known for {W.name}, {order}",
                expected="a fixed matrix, or a random sequence with expected_contraction, adapt-then-combine",
                got=f"period {W.period}",
                remedy="Pass a matrix",
            )
        squares, pull = np.full(W.n - 1, beta), np.full(W.n - 1, (1 - eta * curvature) ** 2 * beta)
    else:
        modes = _other_modes(W)
        squares = np.abs(modes) ** 2 if adapt_first else np.ones(len(modes))
        pull = (1 - eta * curvature) ** 2 * squares if adapt_first else np.abs(modes - eta * curvature) ** 2
    if (pull >= 1).any():
        raise Diverges(
            "the variance grows without limit",
            expected="every mode contracting",
            got=f"a factor of {pull.max():.6g} a round",
            remedy="Lower eta, or use the lazy matrix (I + W)/2",
        )
    floor = eta**2 * noise * float((squares / (1 - pull)).sum()) / (len(squares) + 1)
    return Prediction(floor, "exact", source)


def _other_modes(W: csr_array | npt.ArrayLike) -> npt.NDArray[Any]:
    matrix = check_mixing_matrix(W, nonnegative=False, tolerance=1e-9)
    crossed = abs(matrix @ matrix.T - matrix.T @ matrix)
    if crossed.nnz and crossed.max() > 1e-9:
        raise NotMixingMatrix(
            "the matrix is not normal, so its modes do not separate",
            expected="W Wᵀ = Wᵀ W, as for symmetric and circulant matrices",
            got=f"a difference of {crossed.max():.3g}",
            remedy="Use Metropolis–Hastings weights on the undirected graph",
        )
    modes = eigenvalues(matrix)
    return np.delete(modes, np.argmin(np.abs(modes - 1)))

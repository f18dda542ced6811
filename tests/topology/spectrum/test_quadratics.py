"""Fixed points and floors against the iterations themselves."""

import numpy as np
import pytest

from topology import graphs, mixing, sequences, spectrum
from topology.errors import Diverges, InvalidParameter, NotMixingMatrix

mh = mixing.metropolis_hastings
ORDERS = ["adapt-then-combine", "combine-then-adapt"]


def step(W, X, gradient, eta, order):
    return W @ (X - eta * gradient) if order == "adapt-then-combine" else W @ X - eta * gradient


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "W",
    [mh(graphs.ring(7)), mh(graphs.star(6)), mixing.uniform(graphs.exponential(9))],
    ids=["ring", "star", "exp"],
)
def test_fixed_point_is_where_iterating_ends(W, order):
    n = W.shape[0]
    generator = np.random.default_rng(0)
    b, h = generator.standard_normal((n, 3)), generator.uniform(0.5, 2, n)
    X = np.zeros((n, 3))
    for _ in range(4000):
        X = step(W, X, h[:, None] * (X - b), 0.1, order)
    found = spectrum.dsgd_fixed_point(W, 0.1, b, order=order, curvature=h)
    assert found == pytest.approx(X, abs=1e-10)


def test_fixed_point_mode_by_mode():
    W = mh(graphs.torus((3, 4)))
    values, vectors = np.linalg.eigh(W.toarray())
    b, eta = np.random.default_rng(1).standard_normal(12), 0.2
    modes = vectors.T @ spectrum.dsgd_fixed_point(W, eta, b)
    assert modes == pytest.approx(eta * values * (vectors.T @ b) / (1 - (1 - eta) * values))
    modes = vectors.T @ spectrum.dsgd_fixed_point(W, eta, b, order="combine-then-adapt")
    assert modes == pytest.approx(eta * (vectors.T @ b) / (1 - values + eta))


def test_exact_averaging_gives_the_mean():
    b = np.arange(5.0)
    assert spectrum.dsgd_fixed_point(np.full((5, 5), 0.2), 0.3, b) == pytest.approx(np.full(5, 2.0))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "W", [mh(graphs.ring(9)), mixing.uniform(graphs.exponential(9))], ids=["ring", "exp"]
)
def test_noise_floor_is_the_stationary_distance(W, order):
    n, eta, h, sigma = W.shape[0], 0.2, 1.5, 0.7
    step_matrix = (
        (1 - eta * h) * W.toarray() if order == "adapt-then-combine" else W.toarray() - eta * h * np.eye(n)
    )
    injected = eta * sigma * (W.toarray() if order == "adapt-then-combine" else np.eye(n))
    centre = np.eye(n) - 1 / n
    covariance = np.zeros((n, n))
    for _ in range(2000):
        covariance = step_matrix @ covariance @ step_matrix.T + injected @ injected.T
    floor = spectrum.dsgd_noise_floor(W, eta, order=order, noise=sigma**2, curvature=h)
    assert floor.kind == "exact"
    assert floor.value == pytest.approx(np.trace(centre @ covariance @ centre) / n, rel=1e-9)
    assert (
        spectrum.dsgd_noise_floor(sequences.static(W), eta, order=order, noise=sigma**2, curvature=h) == floor
    )


def test_noise_floor_of_a_random_sequence():
    sequence, eta = sequences.random_matching(12, 4), 0.3
    floor = spectrum.dsgd_noise_floor(sequence, eta)
    generator = np.random.default_rng(2)
    X, found = np.zeros((12, 400)), []
    for t in range(900):
        X = sequence.matrix(t) @ (X - eta * (X + generator.standard_normal(X.shape)))
        found.append(spectrum.consensus_distance(X) / 400)
    assert np.mean(found[100:]) == pytest.approx(floor.value, rel=0.02)


def test_divergence_is_said():
    with pytest.raises(Diverges, match="lazy"):
        spectrum.dsgd_fixed_point(mh(graphs.torus((4, 4))), 0.5, np.zeros(16), order="combine-then-adapt")
    with pytest.raises(Diverges):
        spectrum.dsgd_noise_floor(mh(graphs.ring(5)), 3.0)


def test_bad_input_is_named():
    W = mh(graphs.ring(4))
    with pytest.raises(InvalidParameter, match="b has the wrong shape"):
        spectrum.dsgd_fixed_point(W, 0.1, np.zeros(3))
    with pytest.raises(InvalidParameter, match="eta"):
        spectrum.dsgd_fixed_point(W, 0, np.zeros(4))
    with pytest.raises(InvalidParameter, match="order"):
        spectrum.dsgd_fixed_point(W, 0.1, np.zeros(4), order="adapt")
    with pytest.raises(InvalidParameter, match="curvature"):
        spectrum.dsgd_fixed_point(W, 0.1, np.zeros(4), curvature=[1, 1, -1, 1])
    with pytest.raises(NotMixingMatrix):
        spectrum.dsgd_noise_floor(mixing.uniform(graphs.star(4)), 0.1)
    with pytest.raises(InvalidParameter, match="no exact noise floor"):
        spectrum.dsgd_noise_floor(sequences.base(25, 1), 0.1)

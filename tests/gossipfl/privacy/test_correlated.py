from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.errors import SettingError
from gossipfl.privacy.acceleration import chebyshev_weight
from gossipfl.privacy.correlated import composed_epsilon, correlated_losses, edge_noise, renyi_per_step
from topology import Topology, graphs


def _linked(graph: Topology) -> np.ndarray:
    linked = np.zeros((graph.n, graph.n), dtype=bool)
    for node in range(graph.n):
        linked[node, graph.neighbours(node)] = True
    return linked


# The deviation is published as 17.8271. The figures with correlation are, to all their digits, those of
# 17.82709926, which rounds to it; the one without is that of 17.827.
@pytest.mark.parametrize(
    ("graph", "deviation", "edge_deviation", "per_step", "epsilon"),
    [
        (graphs.complete(16), 17.82709926, 32, "5.055857e-04", "10.796774"),
        (graphs.ring(16), 17.82709926, 188, "4.656257e-04", "10.292830"),
        (graphs.ring(16), 17.827, 0, "6.293228e-03", None),
    ],
)
def test_published_figures_to_all_digits(
    graph: Topology, deviation: float, edge_deviation: float, per_step: str, epsilon: str | None
) -> None:
    losses = correlated_losses(_linked(graph), deviation=deviation, edge_deviation=edge_deviation)
    found = renyi_per_step(losses, clip=1)
    assert f"{found:.6e}" == per_step
    as_published = correlated_losses(_linked(graph), deviation=17.8271, edge_deviation=edge_deviation)
    assert renyi_per_step(as_published, clip=1) == pytest.approx(float(per_step), rel=2e-5)
    if epsilon is not None:
        assert f"{composed_epsilon(found, steps=3500, delta=1e-5):.6f}" == epsilon
        rounded = composed_epsilon(renyi_per_step(as_published, clip=1), steps=3500, delta=1e-5)
        assert rounded == pytest.approx(float(epsilon), abs=1e-6)


def _graph(seed: int) -> Topology:
    rng = np.random.default_rng(seed)
    return graphs.erdos_renyi(int(rng.integers(4, 10)), 0.6, seed=seed, require_connected=False)


@given(st.integers(0, 2**30), st.floats(0.1, 5), st.floats(0, 50))
@settings(max_examples=60, deadline=None)
def test_losses_equal_the_gaussian_mechanism_with_all_noise_written_out(
    seed: int, deviation: float, edge_deviation: float
) -> None:
    """sᵤᵀ (N Nᵀ)⁺ sᵤ with the noise of every node and edge as a column of its own, and known noise removed."""
    rng, linked = np.random.default_rng(seed), _linked(_graph(seed))
    n = len(linked)
    coalition = rng.choice(n, size=int(rng.integers(0, 3)), replace=False).tolist()
    absent = [int(rng.integers(n))] if rng.random() < 0.5 else []
    edges = [(i, j) for i in range(n) for j in range(i) if linked[i, j] and not {i, j} & set(coalition)]
    noise = np.zeros((n, n + len(edges)))
    noise[:, :n] = deviation * np.eye(n)
    for place, (i, j) in enumerate(edges):
        noise[i, n + place], noise[j, n + place] = edge_deviation, -edge_deviation
    sent = [node for node in range(n) if node not in coalition and node not in absent]
    exact = np.diagonal(np.linalg.pinv(noise[sent] @ noise[sent].T, hermitian=True))
    losses = correlated_losses(
        linked, deviation=deviation, edge_deviation=edge_deviation, coalition=coalition, absent=absent
    )
    np.testing.assert_allclose(losses[sent], exact, rtol=1e-6)
    assert np.isinf(losses[coalition]).all()
    assert all(losses[node] == 0 for node in absent if node not in coalition)


@given(st.integers(0, 2**30))
@settings(max_examples=40, deadline=None)
def test_noise_of_edges_sums_to_zero_exactly(seed: int) -> None:
    linked = _linked(_graph(seed))

    def normals(low: int, high: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed * 10_000 + low * 100 + high)
        return torch.randn(7, dtype=torch.float64, generator=generator)

    rows = [
        edge_noise(node, np.flatnonzero(row).tolist(), normals, deviation=188.0, unit=2.0**-24)
        for node, row in enumerate(linked)
        if row.any()
    ]
    if rows:
        total = torch.stack(rows)
        assert not total.sum(dim=0).any()
        assert total.any()


def test_noise_of_edges_has_the_deviation_that_is_accounted_for() -> None:
    def normals(low: int, high: int) -> torch.Tensor:
        del low
        return torch.randn(20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(high))

    drawn = edge_noise(0, [1, 2, 3, 4], normals, deviation=3.0, unit=2.0**-16).double() * 2.0**-16
    assert float(drawn.std()) == pytest.approx(3 * math.sqrt(4), rel=0.02)


@pytest.mark.parametrize(("gap", "weight"), [(0.4, 1.25), (1.0, 2 * (1 - math.sqrt(0.75)) / 0.25)])
def test_weight_of_accelerated_averaging(gap: float, weight: float) -> None:
    assert chebyshev_weight(gap) == pytest.approx(weight, rel=1e-12)


def test_impossible_values_are_named() -> None:
    with pytest.raises(SettingError, match="symmetric"):
        correlated_losses(np.array([[False, True], [False, False]]), deviation=1, edge_deviation=1)
    with pytest.raises(SettingError, match="independent noise"):
        correlated_losses(_linked(graphs.ring(4)), deviation=0, edge_deviation=1)
    with pytest.raises(SettingError, match="spectral gap"):
        chebyshev_weight(0)
    with pytest.raises(SettingError, match="without neighbours"):
        edge_noise(0, [], lambda low, high: torch.zeros(low + high), deviation=1, unit=1)

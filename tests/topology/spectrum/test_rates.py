import math

import numpy as np
import pytest

from topology import graphs, mixing, sequences, spectrum
from topology.errors import InvalidParameter

mh = mixing.metropolis_hastings


@pytest.mark.parametrize(
    "sequence",
    [
        sequences.static(mh(graphs.ring(12))),
        sequences.static(mixing.uniform(graphs.tree(2, 3))),
        sequences.one_peer_exponential(25),
        sequences.base(25, 2),
    ],
    ids=lambda s: s.name,
)
def test_mixing_rate_bounds_every_start_and_is_attained(sequence):
    rate = spectrum.mixing_rate(sequence)
    assert rate.kind == "exact"
    product = np.eye(sequence.n)
    for t in range(rate.rounds):
        product = sequence.matrix(t) @ product
    product -= product.mean(axis=0)
    left = np.linalg.svd(product, compute_uv=False)[0] ** 2
    assert left == pytest.approx(1 - rate.p, abs=1e-12)


def test_exact_sequences_have_full_rate():
    rate = spectrum.mixing_rate(sequences.base(100, 2))
    assert rate.p == 1
    assert rate.rounds == 8


@pytest.mark.parametrize(
    "sequence",
    [
        sequences.static(mh(graphs.ring(25))),
        sequences.static(mh(graphs.star(10))),
        sequences.one_peer_exponential(24),
        sequences.base(25, 1),
    ],
    ids=lambda s: s.name,
)
def test_bound_on_rounds_to_consensus_holds(sequence):
    bound = spectrum.predicted_rounds_to_consensus(sequence, 1e-6)
    assert bound.kind == "bound"
    assert spectrum.rounds_to_consensus(sequence, 1e-6) <= bound.value


def test_rounds_to_target_has_the_terms_of_the_theorem():
    rate = spectrum.MixingRate(p=0.25, rounds=2, kind="exact")
    found = spectrum.predicted_rounds_to_target(
        rate, 10, 0.01, noise=2, heterogeneity=3, smoothness=4, start=5
    )
    drift = 3 * 2 + 2 * math.sqrt(0.25 * 2)
    assert found.kind == "order"
    assert found.value == pytest.approx((4 / (10 * 1e-4) + drift / (0.25 * 1e-3) + 2 / (0.25 * 0.01)) * 4 * 5)
    strong = spectrum.predicted_rounds_to_target(
        rate,
        10,
        0.01,
        convexity="strongly convex",
        noise=0,
        heterogeneity=0,
        smoothness=4,
        strong_convexity=0.5,
    )
    assert strong.value == pytest.approx(4 * 2 / (0.5 * 0.25) * math.log(100))


def test_better_mixing_never_predicts_more_rounds():
    ring, torus, complete = (
        spectrum.mixing_rate(sequences.static(mh(g)))
        for g in (graphs.ring(64), graphs.torus((8, 8)), graphs.complete(64))
    )
    for convexity in ("strongly convex", "convex", "non-convex"):
        values = [
            spectrum.predicted_rounds_to_target(rate, 64, 1e-2, convexity=convexity, heterogeneity=1).value
            for rate in (ring, torus, complete)
        ]
        assert values == sorted(values, reverse=True)


def test_no_mixing_never_arrives():
    rate = spectrum.MixingRate(p=0.0, rounds=1, kind="exact")
    assert spectrum.predicted_rounds_to_target(rate, 4, 0.1).value == math.inf


def test_transient_iterations():
    assert spectrum.transient_iterations(10, 0.5).value == pytest.approx(1000 * 16)
    assert spectrum.transient_iterations(10, 0.5, heterogeneous=False).value == pytest.approx(1000 * 4)
    with pytest.raises(InvalidParameter, match="gap"):
        spectrum.transient_iterations(10, 0)


def test_pairwise_ratios_by_simulation():
    n = 10_000
    generator = np.random.default_rng(3)
    found = {"sequential": [], "random pairs": []}
    for name, ratios in found.items():
        for _ in range(3):
            x = generator.standard_normal(n)
            before = x.var()
            first = np.arange(n) if name == "sequential" else generator.integers(n, size=n)
            second = (first + generator.integers(1, n, size=n)) % n
            x = x.tolist()
            for i, j in zip(first.tolist(), second.tolist(), strict=True):
                x[i] = x[j] = (x[i] + x[j]) / 2
            ratios.append(np.var(x) / before)
    for name, ratios in found.items():
        assert np.mean(ratios) == pytest.approx(spectrum.pairwise_variance_ratio(name).value, rel=0.03)
    matching = sequences.random_matching(n, 1)
    x = generator.standard_normal(n)
    after = matching.matrix(1) @ (matching.matrix(0) @ x)
    assert after.var() / x.var() == pytest.approx(0.25, rel=0.05)

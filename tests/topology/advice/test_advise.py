"""The adviser: its arithmetic, and that it never contradicts the consensus curves it shows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import topology
from topology import catalogue, spectrum
from topology.advice import candidate_expressions, lifetimes
from topology.advice.disagreement import rate_kept_by
from topology.advice.rounds import Training, kept_up
from topology.errors import InvalidParameter, UnknownTopology
from topology.spectrum import MixingRate


@settings(max_examples=15, deadline=None)
@given(
    st.integers(2, 40),
    st.integers(1, 8),
    st.floats(0, 10),
    st.floats(0, 10),
    st.floats(1e-4, 1),
    st.integers(0, 2**32 - 1),
)
def test_no_recommendation_contradicts_a_curve(n, budget, heterogeneity, noise, target, seed):
    generator = np.random.default_rng(seed)
    latency = generator.uniform(0, 1, (n, n))
    advice = topology.advise(
        n,
        budget,
        1_000_000,
        generator.uniform(1e6, 1e8, n),
        latency,
        heterogeneity,
        noise,
        target=target,
        seed=seed % 1000,
    )
    times = [r.seconds for r in advice.recommendations]
    assert times == pytest.approx(sorted(times))
    for r in advice.recommendations:
        sequence = catalogue.build(r.expression).sequence
        assert sequence.degree == r.cost.max_degree <= budget or sequence.period is None
        assert np.array_equal(r.curve, spectrum.expected_consensus_curve(sequence, len(r.curve) - 1))
        assert r.rounds >= r.ideal_rounds * (1 - 1e-9)
        assert r.seconds == pytest.approx(r.rounds * r.seconds_per_round)
    for ahead, behind in itertools.combinations(advice.recommendations, 2):
        length = min(len(ahead.curve), len(behind.curve))
        below = behind.curve[:length] < ahead.curve[:length] * (1 - 1e-6) - 1e-12
        never_above = behind.curve[:length] <= ahead.curve[:length]
        contradicted = never_above.all() and below.any()
        assert not (contradicted and behind.seconds_per_round < ahead.seconds_per_round * (1 - 1e-6)), (
            ahead.expression,
            behind.expression,
        )


def test_the_advice_for_exact_averaging_is_the_theorem():
    """Complete graph: of Theorem 2's terms one is left, 4 L F₀ σ² / (n ε²) at the best η = ε n / (2 L σ²)."""
    advice = topology.advise(
        8, 7, 1_000_000, 8e6, 0.5, 2.0, 3.0, target=0.1, candidates=["complete:8"], compute_seconds=4.0
    )
    best = advice.best
    assert best.rounds == best.ideal_rounds == pytest.approx(4 * 3.0**2 / (8 * 0.1**2), rel=1e-3)
    assert best.step == pytest.approx(0.1 * 8 / (2 * 3.0**2), rel=0.04)
    assert best.seconds_per_round == pytest.approx(7 + 0.5 + 4)
    assert best.seconds == pytest.approx(best.rounds * 11.5)


def test_where_steps_are_short_the_rounds_are_of_the_order_of_the_theorem():
    """As ε → 0 nothing pulls nodes back, and its three terms are left, with constants between 1 and 4."""
    for name in ("ring:24", "one-peer-exponential:32", "torus:4x6", "random-matching:16"):
        sequence = catalogue.build(name).sequence
        rate = spectrum.mixing_rate(sequence)
        curve = spectrum.expected_consensus_curve(sequence, 600)
        S, H = lifetimes(curve, rate)
        for heterogeneity, noise in ((2.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
            target = 1e-7
            drift = heterogeneity * (H - 1) + noise * (S - 1) ** 0.5
            terms = noise**2 / (sequence.n * target**2) + drift / target**1.5
            training = Training(
                n=sequence.n,
                heterogeneity=heterogeneity,
                noise=noise,
                target=target,
                smoothness=1.0,
                initial_gap=1.0,
            )
            rounds, _ = training.rounds(curve, rate)
            assert 1 <= rounds / terms <= 4, (name, heterogeneity, noise)


@pytest.mark.parametrize("name", ["torus:4x4", "ring:9", "one-peer-exponential:16", "base:12,k=1"])
@pytest.mark.parametrize("pull", [0.0, 0.1, 0.5, 1.0])
def test_what_is_kept_up_is_what_descent_on_quadratics_keeps_up(name, pull):
    """X ← W (X − η(h X − G)): noise gives S exactly, constant differences at most H, over a period."""
    sequence = catalogue.build(name).sequence
    n, period = sequence.n, sequence.period
    apart = np.eye(n) - 1 / n
    rate = spectrum.mixing_rate(sequence)
    curve = np.mean([spectrum.consensus_curve(sequence, 400, start=t) for t in range(period)], axis=0)
    S, H = kept_up(curve, rate, np.array([pull]))
    square, noisy = [], []
    for phase in range(period):
        rounds = range(600 * period + phase, phase, -1)  # the last first
        product, constant, new = np.eye(n), np.zeros((n, n)), 0.0
        for k, t in enumerate(rounds):
            product = product @ sequence.matrix(t).toarray()
            left = (1 - pull) ** k * product @ apart
            constant += left
            new += float((left**2).sum())
            if np.abs(left).max() < 1e-15:
                break
        square.append(float((constant**2).sum()) / (n - 1))
        noisy.append(new / (n - 1))
    assert np.mean(noisy) == pytest.approx(S[0], rel=1e-6)
    assert np.mean(square) ** 0.5 <= H[0] * (1 + 1e-9)


def test_lifetimes_of_known_curves():
    exact = MixingRate(p=1.0, rounds=2, kind="exact")
    assert lifetimes(np.array([0.8, 0.2, 0.0, 0.0]), exact) == pytest.approx((1.25, 1.5))
    geometric = MixingRate(p=0.75, rounds=1, kind="exact")
    assert lifetimes(0.9 * 0.25 ** np.arange(6), geometric) == pytest.approx((4 / 3, 2))
    slow = MixingRate(p=0.1, rounds=1, kind="exact")
    assert lifetimes(np.array([1.0, 0.9]), slow) == pytest.approx((10, 1 / (1 - 0.9**0.5)))


def test_lifetimes_are_what_noise_and_differences_keep_up():
    """On a ring with numbers dealt out at random: D-SGD on a flat loss, noise and constant gradients."""
    sequence = catalogue.build("ring:12").sequence
    W = sequence.matrix(0).toarray()
    curve = spectrum.consensus_curve(sequence, 400)
    S, H = lifetimes(curve, spectrum.mixing_rate(sequence))
    values = np.linalg.eigvalsh(W)[:-1]
    assert pytest.approx(np.mean(1 / (1 - values**2))) == S
    kept_up = np.sqrt(np.mean(1 / (1 - values) ** 2))
    assert kept_up <= H <= 2 * kept_up


def test_an_estimated_rate_is_lowered_to_what_the_curve_keeps():
    curve = np.array([1.0, 0.5, 0.25, 0.125])
    hopeful = MixingRate(p=0.9, rounds=1, kind="order")
    assert rate_kept_by(curve, hopeful).p == pytest.approx(0.5)
    assert rate_kept_by(np.ones(4), hopeful).p == 0
    modest = MixingRate(p=0.3, rounds=1, kind="order")
    assert rate_kept_by(curve, modest) == modest


def test_what_is_refused_says_why():
    advice = topology.advise(
        16, 2, 1000, 1e6, candidates=["ring:16", "torus:4x4", "epidemic:16,s=2,mode=local"]
    )
    assert [r.expression for r in advice.recommendations] == ["ring:16"]
    why = {refusal.expression: refusal.why for refusal in advice.refusals}
    assert "sends 4 models" in why["torus:4x4"]
    assert "mean" in why["epidemic:16,s=2,mode=local"]


def test_a_long_ring_is_ranked_by_its_true_gap():
    advice = topology.advise(5000, 2, 1000, 1e6, candidates=["ring:5000", "one-peer-exponential:5000"])
    best, ring = advice.recommendations
    assert best.expression == "one-peer-exponential:5000"
    gap = spectrum.closed_forms.ring_gap(5000)
    assert ring.rate.p == pytest.approx(1 - (1 - gap) ** 2, rel=1e-4)


def test_links_that_are_slow_favour_fewer_messages_and_heterogeneity_more():
    patient = topology.advise(64, 8, 10_000_000, 1e6, 0.0, heterogeneity=0.1, noise=10)
    assert patient.best.cost.max_degree == 1
    eager = topology.advise(64, 8, 1_000, 1e9, 0.05, heterogeneity=100, noise=0)
    assert eager.best.cost.max_degree > 1


def test_every_recommendation_says_why_in_a_sentence():
    advice = topology.advise(24, 4, 1_000_000, 20e6, 0.02)
    assert all(r.why.endswith(".") and len(r.why) > 40 for r in advice.recommendations)
    assert "least time" in advice.best.why
    assert len({r.why for r in advice.recommendations}) > 5


@pytest.mark.parametrize(("n", "budget"), [(2, 1), (3, 5), (7, 2), (16, 15), (60, 4)])
def test_candidates_exist_and_keep_the_budget(n, budget):
    for expression in candidate_expressions(n, budget):
        sequence = catalogue.build(expression).sequence
        assert sequence.n == n
        assert sequence.degree <= budget


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"n": 1}, InvalidParameter),
        ({"degree_budget": 0}, InvalidParameter),
        ({"target": 0}, InvalidParameter),
        ({"noise": float("nan")}, InvalidParameter),
        ({"bandwidth": 0}, InvalidParameter),
        ({"candidates": ["ring:7"]}, InvalidParameter),
        ({"candidates": ["complete:8"]}, InvalidParameter),
        ({"candidates": ["rign:8"]}, UnknownTopology),
    ],
)
def test_impossible_questions_are_refused(wrong, error):
    question = {"n": 8, "degree_budget": 2, "model_bytes": 1000, "bandwidth": 1e6} | wrong
    with pytest.raises(error):
        topology.advise(**question)


@pytest.mark.parametrize(("n", "degree"), [(5, 4), (16, 12), (27, 12)])
def test_no_two_recommendations_are_one_topology(n, degree):
    found = topology.advise(n, degree, 5_000_000, 20e6, 0.03).recommendations
    named = {r.expression: catalogue.build(r.expression).sequence for r in found}
    fixed = {
        expression: tuple(sequence.matrix(t).toarray().round(9).tobytes() for t in range(sequence.period))
        for expression, sequence in named.items()
        if sequence.period
    }
    assert len(set(fixed.values())) == len(fixed)
    assert "epidemic:16,s=1,seed=0" not in named
    asked = topology.advise(n, degree, 5_000_000, 20e6, 0.03, candidates=[f"base:{n},k=4", f"base:{n},k=4"])
    assert len(asked.recommendations) == 2  # those asked for are all answered


def test_hostile_neighbours_rule_graphs_out():
    advice = topology.advise(26, 25, 5_000_000, 20e6, hostile=3)
    assert all(each.hostile_neighbours >= 3 for each in advice.recommendations)
    assert any("no rule survives 3" in each.why for each in advice.refusals)
    worlds = ["two-worlds:26,links=8", "ring:26"]
    limits = topology.advise(26, 25, 5_000_000, 20e6, candidates=[*worlds, "one-peer-exponential:26"])
    assert {r.expression: r.hostile_neighbours for r in limits.recommendations} == {
        "two-worlds:26,links=8": 7,
        "ring:26": 0,
        "one-peer-exponential:26": None,
    }
    with pytest.raises(InvalidParameter, match="degree budget of at least 17; got 5"):
        topology.advise(26, 5, 5_000_000, 20e6, hostile=8)
    with pytest.raises(InvalidParameter, match=r"no rule survives 8 hostile neighbours on it, only 7"):
        topology.advise(26, 25, 5_000_000, 20e6, hostile=8, candidates=worlds)


@pytest.mark.parametrize(("n", "hostile"), [(3, 1), (5, 2), (11, 5), (12, 5), (11, 4)])
def test_where_all_are_neighbours_half_of_them_can_be_survived(n, hostile):
    """μ₂ of the complete graph is n, one more than its degree."""
    advice = topology.advise(n, n - 1, 5_000_000, 20e6, hostile=hostile)
    for each in advice.recommendations:
        A = topology.catalogue.build(each.expression).graph.adjacency.toarray() != 0
        second = np.linalg.eigvalsh(np.diag(A.sum(1)) - A)[1]
        assert hostile < second / 2
        assert each.hostile_neighbours < second / 2 <= each.hostile_neighbours + 1 + 1e-9
    assert f"complete:{n}" in {each.expression for each in advice.recommendations}
    with pytest.raises(InvalidParameter, match=f"at least {2 * n + 1} nodes"):
        topology.advise(n, n - 1, 5_000_000, 20e6, hostile=n)


def test_the_least_degree_is_told():
    with pytest.raises(InvalidParameter, match="at least 10"):
        topology.advise(11, 9, 5_000_000, 20e6, hostile=5)

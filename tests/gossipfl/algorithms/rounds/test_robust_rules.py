"""Rules on all neighbours' rows, each against a few lines of NumPy node by node, and published examples."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.algorithms import Neighbourhood
from gossipfl.algorithms.pre_aggregation import in_buckets
from gossipfl.algorithms.rounds.balance import Balance, Sketchguard
from gossipfl.algorithms.rounds.clipped_gossip import ClippedGossip
from gossipfl.algorithms.rounds.coordinate_wise import CoordinateMedian, TrimmedMean
from gossipfl.algorithms.rounds.geometric_median import GeometricMedian
from gossipfl.algorithms.rounds.krum import Krum
from gossipfl.algorithms.rounds.nearest_neighbours import NearestNeighbours
from gossipfl.algorithms.rounds.robust_gossip import GTS, CSPlus
from gossipfl.algorithms.rounds.ubar import UBAR
from gossipfl.training import Nodes
from tests.gossipfl.algorithms.rounds_by_hand import Network, Still, after, quadratics, start_at

few = settings(max_examples=40, deadline=None)

ALL = [
    TrimmedMean(0),
    TrimmedMean(1),
    TrimmedMean(3),
    CoordinateMedian(),
    GeometricMedian(steps=200),
    Krum(hostile=1),
    Krum(hostile=2, chosen=None),
    NearestNeighbours(1),
    NearestNeighbours(2),
    ClippedGossip(radius=0.7),
    ClippedGossip(hostile=1),
    CSPlus(1),
    GTS(1),
    GTS(0),
]


def by_hand(rule, own, rows, weights):
    """What a rule makes of one node's own row and its neighbours' rows, by definition."""
    everyone = np.vstack([own, rows])
    n, distances = len(everyone), np.linalg.norm(rows - own, axis=1)
    order = np.argsort(distances, kind="stable")
    match rule:
        case TrimmedMean(hostile=b):
            cut = min(b, (n - 1) // 2)
            return np.sort(everyone, axis=0)[cut : n - cut].mean(axis=0)
        case CoordinateMedian():
            return np.median(everyone, axis=0)
        case GeometricMedian():
            return None
        case Krum(hostile=b, chosen=chosen):
            good = max(n - b, n // 2 + 1)
            squares = ((everyone[:, None] - everyone[None]) ** 2).sum(axis=2)
            best = np.argsort(np.sort(squares, axis=1)[:, :good].sum(axis=1), kind="stable")
            return everyone[best[: min(chosen or good, good)]].mean(axis=0)
        case NearestNeighbours(hostile=b):
            return np.vstack([own, rows[order[: max(0, n - 1 - b)]]]).mean(axis=0)
        case ClippedGossip(radius=None, hostile=b):
            near, far = order[: max(0, n - 1 - b)], order[max(0, n - 1 - b) :]
            suspected = weights[far].sum()
            radius = (
                np.sqrt((weights[near] * distances[near] ** 2).sum() / suspected) if suspected else np.inf
            )
        case ClippedGossip(radius=radius):
            pass
        case CSPlus(hostile=b):
            radius = np.sort(distances)[-(2 * b + 1)] if len(rows) > 2 * b else 0.0
        case GTS(hostile=b):
            kept = order[: max(0, n - 1 - b)]
            return own + (weights[kept, None] * (rows[kept] - own)).sum(axis=0)
    steps = (rows - own) * np.minimum(1, radius / np.where(distances > 0, distances, 1))[:, None]
    return own + (weights[:, None] * steps).sum(axis=0)


def neighbourhood(counts, size=3, *, seed=0, spread=1.0, dtype=torch.float64):
    """Nodes with so many neighbours each, in random places of as many as there are at most, and one more."""
    generator, most = np.random.default_rng(seed), max(*counts, 1) + 1
    rows = spread * generator.normal(size=(len(counts), most, size))
    present = np.zeros((len(counts), most), dtype=bool)
    for node, count in enumerate(counts):
        present[node, generator.choice(most, count, replace=False)] = True
    weights = np.where(present, generator.random((len(counts), most)), 0)
    weights /= 2 * np.maximum(1, weights.sum(axis=1, keepdims=True))
    return Neighbourhood(
        nodes=torch.arange(len(counts)),
        own=torch.from_numpy(generator.normal(size=(len(counts), size))).to(dtype),
        own_weights=torch.from_numpy(1 - weights.sum(axis=1)).to(dtype),
        rows=torch.from_numpy(np.where(present[..., None], rows, 0)).to(dtype),
        weights=torch.from_numpy(weights).to(dtype),
        present=torch.from_numpy(present),
    )


def one_by_one(around):
    for i in range(len(around.nodes)):
        there = around.present[i]
        yield around.own[i].numpy(), around.rows[i][there].numpy(), around.weights[i][there].numpy()


@pytest.mark.parametrize("rule", ALL, ids=repr)
@few
@given(st.lists(st.integers(0, 7), min_size=1, max_size=5), st.integers(0, 999))
def test_every_rule_is_its_definition(rule, counts, seed):
    around = neighbourhood(counts, seed=seed)
    combined = rule.combine(around)
    for outcome, (own, rows, weights) in zip(combined.numpy(), one_by_one(around), strict=True):
        expected = by_hand(rule, own, rows, weights)
        if expected is not None:
            assert outcome == pytest.approx(expected, abs=1e-9)
            continue
        everyone = np.vstack([own, rows])  # a geometric median: neither a step nor a row has a smaller sum

        def cost(z, everyone=everyone):
            return np.linalg.norm(everyone - z, axis=1).sum()

        others = [outcome + np.array(step) for step in product((-0.05, 0, 0.05), repeat=3)]
        assert (
            cost(outcome) <= min(map(cost, [*others, *everyone])) + 2e-3
        )  # slow where it is one of the rows


@pytest.mark.parametrize("rule", ALL, ids=repr)
def test_places_that_nobody_takes_do_not_matter(rule):
    around = neighbourhood([5, 5], seed=3)
    packed = Neighbourhood(
        nodes=around.nodes,
        own=around.own,
        own_weights=around.own_weights,
        rows=torch.stack([rows[there] for rows, there in zip(around.rows, around.present, strict=True)]),
        weights=torch.stack([w[there] for w, there in zip(around.weights, around.present, strict=True)]),
        present=torch.ones(2, 5, dtype=torch.bool),
    )
    assert torch.allclose(rule.combine(around), rule.combine(packed), atol=1e-12)


@pytest.mark.parametrize(
    "rule",
    [
        *(TrimmedMean(1), CoordinateMedian(), GeometricMedian(), Krum(hostile=1), NearestNeighbours(1)),
        *(GTS(1), CSPlus(1), ClippedGossip(radius=1.0), ClippedGossip(hostile=1)),
    ],
    ids=repr,
)
def test_one_hostile_neighbour_of_eight_moves_nobody_far(rule):
    around = neighbourhood([8] * 20, seed=5)
    places = around.present.int().argmax(dim=1)
    lies = around.rows.clone()
    lies[torch.arange(20), places] = 1e6
    hostile = rule.combine(Neighbourhood(**{**fields_of(around), "rows": lies}))
    assert (hostile - rule.combine(around)).norm(dim=1).max() < 4
    mean = (lies * around.weights[..., None]).sum(1)
    assert mean.norm(dim=1).min() > 1e3


def fields_of(around):
    return {name: getattr(around, name) for name in Neighbourhood.__dataclass_fields__}


def at_distances(*distances):
    rows = torch.tensor([[[distance, 0.0] for distance in distances]], dtype=torch.float64)
    return Neighbourhood(
        nodes=torch.zeros(1, dtype=torch.int64),
        own=torch.zeros(1, 2, dtype=torch.float64),
        own_weights=torch.zeros(1, dtype=torch.float64),
        rows=rows,
        weights=torch.ones(1, len(distances), dtype=torch.float64),
        present=torch.ones(1, len(distances), dtype=torch.bool),
    )


def test_published_thresholds():
    """Distances 1, 2, 3, 4, 10 and b = 1: CS₊ clips at 3, ClippedGossip at √30 (Gaucher et al. 2025)."""
    around = at_distances(1, 2, 3, 4, 10)
    assert CSPlus(1).combine(around)[0].tolist() == [1 + 2 + 3 + 3 + 3, 0]
    clipped = ClippedGossip(hostile=1).combine(around)[0].tolist()
    assert clipped == pytest.approx([1 + 2 + 3 + 4 + 30**0.5, 0])
    assert GTS(1).combine(around)[0].tolist() == [1 + 2 + 3 + 4, 0]


def dumbbell():
    """Two cliques of ten joined by one link, with Metropolis–Hastings weights."""
    A = np.kron(np.eye(2), np.ones((10, 10))) - np.eye(20)
    A[9, 10] = A[10, 9] = 1
    degrees = A.sum(axis=1)
    W = A / (1 + np.maximum(degrees[:, None], degrees))
    return torch.from_numpy(W + np.diag(1 - W.sum(axis=1)))


@pytest.mark.parametrize(
    ("rule", "meet"),
    [
        (ClippedGossip(radius=1.0), True),
        (GTS(0), True),
        (TrimmedMean(1), False),
        (GeometricMedian(), False),
        (NearestNeighbours(1), False),
        (GTS(1), False),
    ],
    ids=repr,
)
def test_rules_that_drop_what_is_far_learn_nothing_of_the_other_clique(rule, meet):
    """Averaging alone, from two cliques of models (He, Karimireddy & Jaggi 2022, without an attacker)."""
    rows = torch.cat([torch.full((10, 4), -1.0), torch.full((10, 4), 1.0)]).double()
    rows += 0.01 * torch.randn(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    still = quadratics(20, size=4, kind=Still)
    ended = after(rule, start_at(rows), Network.of(dumbbell()), still, count=300).rows
    apart = float((ended[:10].mean(0) - ended[10:].mean(0)).norm())
    assert apart < 0.5 if meet else apart > 3.5


def by_hand_mixed(rows, hostile):
    """Each row as the mean of its n − b nearest."""
    order = [np.argsort(np.linalg.norm(rows - row, axis=1), kind="stable") for row in rows]
    return np.stack([rows[near[: max(1, len(rows) - hostile)]].mean(axis=0) for near in order])


@few
@given(st.lists(st.integers(0, 7), min_size=1, max_size=5), st.integers(0, 3), st.integers(0, 999))
def test_nearest_mixing_is_its_definition(counts, hostile, seed):
    around = neighbourhood(counts, seed=seed)
    rules = [CoordinateMedian(hostile=hostile), TrimmedMean(hostile)]  # scores of Krum may tie
    for rule in rules:
        combined = replace(rule, before="nearest_mixing").combine(around).numpy()
        for outcome, (own, rows, weights) in zip(combined, one_by_one(around), strict=True):
            mixed = by_hand_mixed(np.vstack([own, rows]), hostile)
            assert outcome == pytest.approx(by_hand(rule, mixed[0], mixed[1:], weights), abs=1e-9)


@few
@given(st.lists(st.integers(0, 7), min_size=1, max_size=5), st.integers(1, 4), st.integers(0, 999))
def test_buckets_hold_every_row_once(counts, size, seed):
    around = neighbourhood(counts, seed=seed).including_own()
    keys = torch.arange(len(counts)) + seed
    buckets = in_buckets(around, size=size, keys=keys)
    for i, count in enumerate(counts):
        assert int(buckets.present[i].sum()) == -(-(count + 1) // size)
        sizes = [min(size, count + 1 - k * size) for k in range(-(-(count + 1) // size))]
        total = (buckets.rows[i][buckets.present[i]] * torch.tensor(sizes)[:, None]).sum(0)
        assert torch.allclose(total, around.rows[i].sum(0))
    if size == 1 and min(counts) > 4:
        other = in_buckets(around, size=1, keys=keys + 1).rows
        assert not other.equal(buckets.rows)  # another key, another order
    plain = TrimmedMean(1).aggregate(around)
    assert torch.allclose(TrimmedMean(1).aggregate(in_buckets(around, size=1, keys=keys)), plain)


def test_buckets_do_not_depend_on_places_that_nobody_takes():
    around = neighbourhood([5, 3], seed=3).including_own()
    wider = Neighbourhood(
        **{
            **fields_of(around),
            "rows": torch.cat([torch.zeros(2, 2, 3, dtype=torch.float64), around.rows], dim=1),
            "weights": torch.cat([torch.zeros(2, 2, dtype=torch.float64), around.weights], dim=1),
            "present": torch.cat([torch.zeros(2, 2, dtype=torch.bool), around.present], dim=1),
        }
    )
    keys = torch.tensor([5, 6])
    for each in (around, wider):
        each.rows.masked_fill_(~each.present[..., None], 0)
    first, second = (
        Krum(hostile=1).aggregate(in_buckets(each, size=2, keys=keys)) for each in (around, wider)
    )
    assert torch.allclose(first, second, atol=1e-12)


def test_equal_weights_make_gts_nearest_neighbour_averaging():
    around = neighbourhood([6] * 8, seed=1)
    kept = 6 - 2 + 1
    equal = Neighbourhood(**{**fields_of(around), "weights": around.present / kept})
    assert torch.allclose(GTS(2).combine(equal), NearestNeighbours(2).combine(equal), atol=1e-12)


@few
@given(st.lists(st.floats(0.1, 50), min_size=5, max_size=9), st.integers(0, 2), st.data())
def test_thresholds_of_other_norms(norms, b, data):
    """CS₊: the (2b + 1)-th largest; ClippedGossip: τ² = (1/b̃) Σ w‖z‖² over all but the b farthest."""
    around = at_distances(*norms)
    weights = data.draw(st.lists(st.floats(0.05, 1), min_size=len(norms), max_size=len(norms)))
    around = Neighbourhood(**{**fields_of(around), "weights": torch.tensor([weights], dtype=torch.float64)})
    order = np.argsort(norms, kind="stable")
    near, far = order[: len(norms) - b], order[len(norms) - b :]
    ordered, w = np.sort(norms)[::-1], np.array(weights)

    def moved_by(radius):
        return float((w * np.minimum(norms, radius)).sum())

    assert CSPlus(b).combine(around)[0, 0].item() == pytest.approx(moved_by(ordered[2 * b]))
    tau = np.sqrt((w[near] * np.array(norms)[near] ** 2).sum() / w[far].sum()) if b else np.inf
    assert ClippedGossip(hostile=b).combine(around)[0, 0].item() == pytest.approx(moved_by(tau))


@few
@given(st.integers(0, 6), st.integers(0, 120), st.floats(0.05, 2), st.floats(0, 3), st.integers(0, 99))
def test_balance_is_its_definition(count, number, radius, decay, seed):
    rule = Balance(radius=radius, decay=decay, horizon=60, own=0.3)
    around = neighbourhood([count] * 4, seed=seed)
    combined = rule.combine(around, number=number).numpy()
    for outcome, (own, rows, _) in zip(combined, one_by_one(around), strict=True):
        distances = np.linalg.norm(rows - own, axis=1)
        limit = radius * np.exp(-decay * number / 60) * np.linalg.norm(own)
        accepted = rows[distances <= limit] if (distances <= limit).any() else rows[distances.argsort()[:1]]
        expected = 0.3 * own + 0.7 * accepted.mean(axis=0) if len(rows) else own
        assert outcome == pytest.approx(expected, abs=1e-9)


@few
@given(st.integers(0, 6), st.floats(0.1, 1), st.integers(0, 99))
def test_ubar_is_its_definition(count, kept, seed):
    rule = UBAR(kept=kept, own=0.4)
    around = neighbourhood([count] * 4, seed=seed)
    local = quadratics(4, size=3, seed=seed)
    trained = start_at(around.own)
    combined = rule.combine(around, trained=trained, local=local).numpy()
    for i, (outcome, (own, rows, _)) in enumerate(zip(combined, one_by_one(around), strict=True)):

        def loss(rows, i=i):
            rows = torch.from_numpy(rows)
            return local.losses_of(trained, rows, torch.full((len(rows),), i)).numpy()

        near = np.linalg.norm(rows - own, axis=1).argsort()[: max(1, round(kept * count))]
        candidates = rows[near]
        expected = own
        if len(candidates):
            good = loss(candidates) <= loss(own[None])
            accepted = candidates[good] if good.any() else candidates[[loss(candidates).argmin()]]
            expected = 0.4 * own + 0.6 * accepted.mean(axis=0)
        assert outcome == pytest.approx(expected, abs=1e-9)


def test_ubar_refuses_a_neighbour_that_is_no_number():
    around = neighbourhood([3] * 2, seed=2)
    around.rows[0, around.present[0].int().argmax()] = torch.nan
    combined = UBAR(kept=1.0).combine(around, trained=start_at(around.own), local=quadratics(2, size=3))
    assert bool(combined.isfinite().all())


def test_wide_sketches_choose_as_balance_does():
    """With a sketch much wider than the row, distances are almost those of the rows."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(12, 5, generator=generator, dtype=torch.float64)
    still = quadratics(12, size=5, kind=Still)
    network = Network.of(torch.full((12, 12), 1 / 12, dtype=torch.float64))
    for radius in (0.9, 1.4):
        sketched = Sketchguard(radius=radius, width=100_000)
        ended = [
            after(rule, start_at(rows), network, still, count=3).rows
            for rule in (sketched, Balance(radius=radius))
        ]
        assert torch.allclose(*ended, atol=1e-12)


def test_worker_momentum_is_the_momentum_of_training():
    """MoNNA: m ← β m + (1 − β) g and x ← x − γ m is training with momentum β and step size γ (1 − β)."""
    beta, gamma = 0.9, 0.3
    local = quadratics(1, size=3, momentum=beta, learning_rate=gamma * (1 - beta))
    nodes = start_at(torch.ones(1, 3, dtype=torch.float64))
    x, m = np.ones(3), np.zeros(3)
    for _ in range(6):
        _, gradient = local.gradient(Nodes.start(torch.from_numpy(x)[None]))
        m = beta * m + (1 - beta) * gradient[0].numpy()
        x = x - gamma * m
        nodes = local.update(nodes)
        assert nodes.rows[0].numpy() == pytest.approx(x, abs=1e-12)

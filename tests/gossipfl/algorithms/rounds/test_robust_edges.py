"""Robust rules where rows tie or are alike, nobody is there, weights are zero, or lies are as large as can be."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.algorithms import Neighbourhood
from gossipfl.algorithms.rounds.balance import Balance
from gossipfl.algorithms.rounds.clipped_gossip import ClippedGossip
from gossipfl.algorithms.rounds.coordinate_wise import CoordinateMedian, TrimmedMean
from gossipfl.algorithms.rounds.geometric_median import GeometricMedian
from gossipfl.algorithms.rounds.krum import Krum
from gossipfl.algorithms.rounds.nearest_neighbours import NearestNeighbours
from gossipfl.algorithms.rounds.robust_gossip import GTS, CSPlus
from gossipfl.algorithms.rounds.ubar import UBAR
from tests.gossipfl.algorithms.rounds.test_robust_rules import by_hand, by_hand_mixed, one_by_one
from tests.gossipfl.algorithms.rounds_by_hand import quadratics, start_at

SIZE = 2
some = settings(max_examples=30, deadline=None)
numbers = st.sampled_from([-1.0, 0.0, 1.0, 2.0])


@st.composite
def degenerate(draw):
    """Up to three nodes with up to six neighbours, whose rows and weights tie, and are often equal or zero."""
    nodes, places = draw(st.integers(1, 3)), draw(st.integers(1, 6))

    def drawn(values, *shape):
        count = int(np.prod(shape))
        found = np.array(draw(st.lists(values, min_size=count, max_size=count)))
        return torch.from_numpy(found.reshape(shape))

    if draw(st.booleans()):
        row = drawn(numbers, SIZE)
        own, rows = row.expand(nodes, SIZE).clone(), row.expand(nodes, places, SIZE).clone()
    else:
        own, rows = drawn(numbers, nodes, SIZE), drawn(numbers, nodes, places, SIZE)
    present = drawn(st.booleans(), nodes, places)
    weights = torch.where(present, drawn(st.sampled_from([0.0, 0.0625, 0.125]), nodes, places), 0)
    return Neighbourhood(
        nodes=torch.arange(nodes),
        own=own,
        own_weights=1 - weights.sum(dim=1),
        rows=torch.where(present[..., None], rows, 0),
        weights=weights,
        present=present,
    )


RULES = [
    TrimmedMean,
    lambda _: CoordinateMedian(),
    lambda b: Krum(hostile=b),
    lambda b: Krum(hostile=b, chosen=None),
    NearestNeighbours,
    lambda b: ClippedGossip(hostile=b),
    lambda b: ClippedGossip(radius=1.0 + b),
    CSPlus,
    GTS,
]


@pytest.mark.parametrize("made", RULES, ids=lambda made: repr(made(1)))
@some
@given(degenerate(), st.integers(0, 4))
def test_rules_are_their_definitions_where_rows_tie(made, around, b):
    rule = made(b)
    for outcome, (own, rows, weights) in zip(rule.combine(around).numpy(), one_by_one(around), strict=True):
        assert outcome == pytest.approx(by_hand(rule, own, rows, weights), abs=1e-12)


@some
@given(degenerate(), st.integers(0, 4))
def test_mixing_before_a_rule_is_its_definition_where_rows_tie(around, b):
    combined = TrimmedMean(b, before="nearest_mixing").combine(around).numpy()
    for outcome, (own, rows, weights) in zip(combined, one_by_one(around), strict=True):
        mixed = by_hand_mixed(np.vstack([own, rows]), b)
        assert outcome == pytest.approx(by_hand(TrimmedMean(b), mixed[0], mixed[1:], weights), abs=1e-12)


@some
@given(degenerate(), st.integers(0, 4))
def test_who_is_alone_or_agrees_with_all_stays_where_it_is(around, b):
    alone = around.only(torch.zeros_like(around.present))
    alike = around.__class__(
        **{
            **{name: getattr(around, name) for name in around.__dataclass_fields__},
            "rows": torch.where(around.present[..., None], around.own[:, None], 0),
        }
    )
    local, trained = quadratics(len(around.nodes), size=SIZE), start_at(around.own)
    others = [
        GeometricMedian(),
        *(TrimmedMean(b, before=each) for each in ("nearest_mixing", "bucketing")),
    ]
    for each in (alone, alike):
        for rule in [*(made(b) for made in RULES), *others]:
            assert torch.allclose(rule.combine(each), each.own, atol=1e-9), rule
        assert torch.allclose(Balance().combine(each, number=b), each.own, atol=1e-12)
        assert torch.allclose(UBAR().combine(each, trained=trained, local=local), each.own, atol=1e-12)


@pytest.mark.parametrize(
    "rule",
    [
        *(TrimmedMean(2), CoordinateMedian(), Krum(hostile=2), Krum(hostile=2, chosen=None)),
        *(NearestNeighbours(2), ClippedGossip(hostile=2), CSPlus(2), GTS(2), GeometricMedian()),
        *(TrimmedMean(2, before="nearest_mixing"), Balance()),
    ],
    ids=repr,
)
@some
@given(
    st.lists(st.sampled_from([1.0, -1.0, 1e18, -1e18, 1e25, 3e38, -3e38, 0.0]), min_size=2, max_size=2),
    st.integers(0, 999),
)
def test_two_finite_liars_of_nine_neighbours_of_any_size_leave_a_finite_row_among_the_honest(
    rule, sizes, seed
):
    """In float32, whose squares overflow from 2e19 on."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(1, 9, 4, generator=generator)
    own = torch.randn(1, 4, generator=generator)
    honest = torch.cat([own, rows[0, 2:]])
    rows[0, :2] = torch.tensor(sizes)[:, None]
    around = Neighbourhood(
        nodes=torch.zeros(1, dtype=torch.int64),
        own=own,
        own_weights=torch.tensor([0.1]),
        rows=rows,
        weights=torch.full((1, 9), 0.1),
        present=torch.ones(1, 9, dtype=torch.bool),
    )
    more = {"number": 0} if isinstance(rule, Balance) else {}
    outcome = rule.combine(around, **more)
    assert bool(outcome.isfinite().all())
    assert float((outcome - honest.mean(dim=0)).norm()) <= 2 * float(torch.cdist(honest, honest).max())

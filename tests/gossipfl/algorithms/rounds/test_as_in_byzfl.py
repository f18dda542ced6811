"""Rules, steps before them, and attacks beside those of byzfl, on rows and numbers of liars at random.

byzfl needs a torchvision for its own training, which is not used here: ``pip install --no-deps byzfl`` is enough.
"""

import importlib.util
import sys
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.algorithms import Neighbourhood
from gossipfl.algorithms.pre_aggregation import in_buckets, nearest_mixed
from gossipfl.algorithms.rounds.clipped_gossip import ClippedGossip
from gossipfl.algorithms.rounds.coordinate_wise import CoordinateMedian, TrimmedMean
from gossipfl.algorithms.rounds.geometric_median import GeometricMedian
from gossipfl.algorithms.rounds.krum import Krum
from gossipfl.algorithms.rounds.nearest_neighbours import NearestNeighbours
from gossipfl.attacks import ALIE, IPM, Mimic, Senders, SignFlip
from gossipfl.outgoing import Draws
from tests.gossipfl.attacks.test_attacks import complete, sent

if importlib.util.find_spec("byzfl") is None:
    pytest.skip("byzfl is not installed: pip install --no-deps byzfl", allow_module_level=True)
for library in ("torchvision", "seaborn"):
    if importlib.util.find_spec(library) is None:
        sys.modules[library] = MagicMock()
import byzfl  # noqa: E402

several = settings(max_examples=200, deadline=None)


@st.composite
def rows_and_liars(draw, least=5):
    """Rows ``[n, D]``, the first of them the node's own, some of them far away; and f < n/2."""
    n, size = draw(st.integers(least, 20)), draw(st.integers(1, 30))
    f = draw(st.integers(1, (n - 1) // 2))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = generator.normal(size=(n, size)) * draw(st.sampled_from([0.01, 1.0, 100.0]))
    rows[n - f :] += generator.normal(size=size) * draw(st.sampled_from([0.0, 3.0, 1000.0]))
    return rows, f


def around(rows, *, including_own=False):
    """One node whose neighbours are all others, with equal weights."""
    n = len(rows)
    found = Neighbourhood(
        nodes=torch.zeros(1, dtype=torch.int64),
        own=torch.from_numpy(rows[:1].copy()),
        own_weights=torch.full((1,), 1 / n, dtype=torch.float64),
        rows=torch.from_numpy(rows[None, 1:].copy()),
        weights=torch.full((1, n - 1), 1 / n, dtype=torch.float64),
        present=torch.ones(1, n - 1, dtype=torch.bool),
    )
    return found.including_own() if including_own else found


def same(ours, theirs, rows):
    """Equal, to digits that the longest row leaves."""
    return np.allclose(ours, theirs, rtol=1e-7, atol=1e-9 * max(1, np.abs(rows).max()))


RULES = {
    "trimmed mean": lambda f: (TrimmedMean(f), byzfl.TrMean(f=f)),
    "median": lambda f: (CoordinateMedian(), byzfl.Median()),
    "Krum": lambda f: (Krum(hostile=f), byzfl.Krum(f=f)),
    "multi-Krum": lambda f: (Krum(hostile=f, chosen=None), byzfl.MultiKrum(f=f)),
    "MoNNA": lambda f: (NearestNeighbours(f), byzfl.MoNNA(f=f, idx=0)),
}


@pytest.mark.parametrize("name", RULES)
@several
@given(rows_and_liars())
def test_rules(name, drawn):
    rows, f = drawn
    ours, theirs = RULES[name](f)
    assert same(ours.combine(around(rows))[0].numpy(), theirs(rows.copy()), rows)


@settings(max_examples=60, deadline=None)
@given(rows_and_liars())
def test_geometric_medians_have_the_same_cost(drawn):
    """Theirs begins at zero and ours at the own row, and neither has arrived after a number of steps.

    So the points may differ by more than rounding where Weiszfeld steps are slow: near one of the rows, and where
    all are almost on a line, on which every point between the two in the middle is one. Their costs may not,
    beyond what the smoothing ν adds to each distance.
    """
    rows, _ = drawn
    spread = float(np.abs(rows - rows.mean(axis=0)).max()) + 1e-12
    scaled = rows / spread
    ours = GeometricMedian(steps=500, smoothing=1e-3).combine(around(scaled))[0].numpy()
    theirs = byzfl.GeometricMedian(nu=1e-3, T=500)(scaled.copy())
    costs = [np.linalg.norm(scaled - point, axis=1).sum() for point in (ours, theirs)]
    assert costs[0] == pytest.approx(costs[1], abs=2e-3 * len(rows))


@several
@given(rows_and_liars())
def test_clipping(drawn):
    rows, _ = drawn
    radius = float(np.median(np.linalg.norm(rows - rows[0], axis=1))) + 1e-9
    theirs = byzfl.CenteredClipping(L=1, tau=radius)
    theirs.m = rows[0].copy()  # its constructor refuses both kinds of arrays
    with np.errstate(divide="ignore"):  # of the own row from itself
        assert same(ClippedGossip(radius=radius).combine(around(rows))[0].numpy(), theirs(rows.copy()), rows)


@several
@given(rows_and_liars())
def test_nearest_mixing_and_what_follows(drawn):
    rows, f = drawn
    theirs = byzfl.NNM(f=f)(rows.copy())
    mixed = nearest_mixed(around(rows, including_own=True), hostile=f)
    assert same(mixed.rows[0].numpy(), theirs, rows)
    rule = TrimmedMean(f, before="nearest_mixing")
    assert same(rule.combine(around(rows))[0].numpy(), byzfl.TrMean(f=f)(theirs), rows)


@several
@given(rows_and_liars(), st.integers(1, 6))
def test_buckets(drawn, size):
    """Permutations differ, so rows are compared whose order does not matter: all the same, but one."""
    rows, _ = drawn
    rows = np.repeat(rows[:1], len(rows), axis=0)
    rows[-1] += 1
    ours = in_buckets(around(rows, including_own=True), size=size, keys=torch.tensor([7]))
    means, theirs = ours.rows[0][ours.present[0]].numpy(), byzfl.Bucketing(s=size)(rows.copy())
    assert len(means) == len(theirs) == -(-len(rows) // size)
    if len(rows) % size == 0:  # else the odd row may be in the bucket that is smaller, or not
        assert same(np.sort(means, axis=0), np.sort(theirs, axis=0), rows)


@several
@given(st.integers(2, 8), st.integers(1, 5), st.integers(1, 20), st.floats(0.1, 4.0), st.integers(0, 999))
def test_attacks(good, hostile, size, factor, seed):
    """Theirs add deviations to the mean, and ours take them off it: their signs are arbitrary."""
    receivers, rows, _ = complete(good, hostile, size=size, seed=seed)
    own, neighbours = rows[:1], rows[1:good]
    if good > 2:
        expected = byzfl.ALittleIsEnough(factor)(neighbours.copy())
        assert same(2 * neighbours.mean(axis=0) - sent(ALIE(factor=factor), receivers)[0], expected, rows)
    expected = byzfl.InnerProductManipulation(factor)(neighbours.copy())
    assert same(sent(IPM(factor=factor), receivers)[0], expected, rows)
    copied = sent(Mimic(), receivers)[0]
    assert any(same(copied, byzfl.Mimic(i)(neighbours), rows) for i in range(len(neighbours)))
    keys = torch.zeros(1, dtype=torch.int64)
    senders = Senders(numbers=keys, rows=torch.from_numpy(own.copy()), turns=keys, draws=Draws(keys=keys))
    assert same(SignFlip().send(senders)[0].numpy(), byzfl.SignFlipping()(own.copy()), rows)

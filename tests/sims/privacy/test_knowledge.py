"""The accountant beside rational arithmetic, beside attacks on simulated views, and beside published figures."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sims.privacy.errors import NotAccountable
from sims.privacy.events import EventRun
from sims.privacy.knowledge import Knowledge, knowledge_of
from sims.privacy.linear_run import NOBODY, LinearRun, Stage, averaging
from sims.privacy.published import muffliato_pairwise
from tests.sims.privacy.exact import projector_diagonal, reduced, unit
from tests.sims.privacy.random_runs import Case, random_case
from topology import graphs, mixing, sequences


def _require_exact(case: Case) -> Knowledge:
    known, rows = knowledge_of(case.run, case.observers), case.rows
    exact = projector_diagonal(rows)
    np.testing.assert_allclose(known.shares(), np.array(exact, dtype=np.float64), rtol=0, atol=1e-9)
    assert known.rank == len(reduced(rows))
    # The attack: a value is computed from what was seen if its unit vector adds nothing to the rows.
    computable = [len(reduced([*rows, unit(len(exact), u)])) == known.rank for u in range(len(exact))]
    assert known.reconstructed().tolist() == computable == [share == 1 for share in exact]
    return known


@given(st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_shares_equal_those_in_rational_arithmetic(seed: int) -> None:
    _require_exact(random_case(seed))


@pytest.mark.slow
def test_shares_equal_those_in_rational_arithmetic_on_a_thousand_runs() -> None:
    for seed in range(1000):
        _require_exact(random_case(seed))


@given(st.integers(0, 2**40))
@settings(max_examples=30, deadline=None)
def test_simulated_views_tell_as_much_as_is_said(seed: int) -> None:
    _require_estimates(random_case(seed), seed)


@pytest.mark.slow
def test_simulated_views_of_a_thousand_runs_tell_as_much_as_is_said() -> None:
    for seed in range(1000):
        _require_estimates(random_case(seed), seed)


def _require_estimates(case: Case, seed: int) -> None:
    """The best linear estimate of a noisy value from a view leaves the variance 1 − [B⁺B]_uu."""
    known = knowledge_of(case.run, case.observers)
    rows = np.array(case.rows, dtype=np.float64)
    noise = np.random.default_rng(seed).standard_normal((rows.shape[1], 3))
    views = rows @ noise
    for value, share in enumerate(known.shares()):
        coefficients = np.linalg.lstsq(rows.T, np.eye(len(known.shares()))[value], rcond=1e-10)[0]
        left = np.square(coefficients @ rows - np.eye(len(known.shares()))[value]).sum()
        assert left == pytest.approx(1 - share, abs=1e-6)
        recovered = np.abs(coefficients @ views - noise[value]).max() < 1e-4
        assert recovered or not known.reconstructed()[value]


def _by_distance(known: Knowledge, observer: int, count: int) -> list[float]:
    return [round(float(known.shares()[observer + distance]), 4) for distance in range(1, count + 1)]


RING = mixing.metropolis_hastings(graphs.ring(16))


@pytest.mark.parametrize(
    ("messages", "exact", "published", "rank"),
    [
        (2, [1, 1, 0, 0], [1, 0.3333, 0, 0], 5),
        (4, [1, 1, 1, 1, 0], [1, 0.8063, 0.1165, 0.0071, 0], 9),
    ],
)
def test_ring_of_sixteen(messages: int, exact: list[float], published: list[float], rank: int) -> None:
    run = averaging([RING] * messages)
    known, bound = knowledge_of(run, [0]), muffliato_pairwise(run, [0])
    assert _by_distance(known, 0, len(exact)) == exact
    assert [round(float(bound[d]), 4) for d in range(1, len(published) + 1)] == published
    assert known.rank == rank


def test_star_of_sixteen_seen_from_a_leaf() -> None:
    run = averaging([mixing.metropolis_hastings(graphs.star(16))] * 16)
    known, bound = knowledge_of(run, [5]), muffliato_pairwise(run, [5])
    assert known.shares()[0] == pytest.approx(1) == bound[0]
    np.testing.assert_allclose(known.shares()[[1, 4, 6, 15]], 1 / 14, rtol=1e-12)
    np.testing.assert_allclose(bound[[1, 4, 6, 15]], 15 / 16, rtol=1e-12)
    assert known.rank == 3


def test_second_neighbour_is_recovered_by_a_subtraction() -> None:
    """Why the exact loss may exceed a bound that takes messages for independent: two share their noise."""
    values = np.random.default_rng(0).standard_normal(16)
    first, second = values[1], (RING @ values)[1]
    assert 3 * second - first - values[0] == pytest.approx(values[2])


def test_long_runs_on_symmetric_graphs_stay_exact() -> None:
    """Leaves of a star cannot be told apart, however long one listens."""
    for rounds in (3, 50, 1000):
        run = averaging([mixing.metropolis_hastings(graphs.star(12))] * rounds)
        np.testing.assert_allclose(knowledge_of(run, [3]).shares()[1], 1 / 10, rtol=1e-9)


def test_a_repeated_sequence_equals_its_rounds_one_by_one() -> None:
    cycle = sequences.one_peer_exponential(8)
    matrices = [cycle.matrix(t) for t in range(11)]
    run = averaging(matrices)
    assert run.period == 3
    apart = LinearRun(
        nodes=8,
        owners=run.owners,
        stages=[Stage(**{name: getattr(s, name) for name in s.__dataclass_fields__}) for s in run.stages],
    )
    assert apart.period is None
    for observer in range(8):
        one, other = knowledge_of(run, [observer]), knowledge_of(apart, [observer])
        assert one.rank == other.rank
        np.testing.assert_allclose(one.shares(), other.shares(), atol=1e-9)


@given(st.integers(0, 2**40))
@settings(max_examples=30, deadline=None)
def test_coalitions_know_no_less_than_their_members(seed: int) -> None:
    case = random_case(seed)
    together = knowledge_of(case.run, case.observers).shares()
    for node in case.observers:
        assert (knowledge_of(case.run, [node]).shares() <= together + 1e-9).all()


def test_several_values_of_a_node_add_up_to_no_more_than_their_number() -> None:
    """One node sends after each of three steps: each row is the sum of the steps so far, so all are recovered."""
    run = EventRun(2)
    for _ in range(3):
        run.change(0, own=1.0, entering=[1.0])
        run.receive(1, run.send(0))
    known = knowledge_of(run.finished(), [1])
    assert known.losses().tolist() == [pytest.approx(3), 0]
    once = EventRun(2)
    once.change(0, own=1.0, entering=[1.0, 1.0, 1.0])
    once.receive(1, once.send(0))
    known = knowledge_of(once.finished(), [1])
    np.testing.assert_allclose(known.shares(), 1 / 3)
    assert known.losses()[0] == pytest.approx(
        3
    )  # three steps of Δ each, in a sum of deviation √3 σ: μ² = 9/3


def test_observers_and_stages_are_checked() -> None:
    run = averaging([RING])
    with pytest.raises(NotAccountable, match=r"expected numbers of 0 … 15"):
        knowledge_of(run, [16])
    with pytest.raises(NotAccountable, match="at least one mixing matrix"):
        averaging([])
    stage = Stage(
        transition=csr_array(np.eye(3)), observed=csr_array((0, 3)), senders=NOBODY, receivers=NOBODY
    )
    with pytest.raises(NotAccountable, match="stage 0 does not follow"):
        LinearRun(nodes=3, owners=np.arange(3), stages=[stage])


def test_the_reference_is_right_by_itself() -> None:
    third = Fraction(1, 3)
    assert projector_diagonal([[third, third, third]]) == [third] * 3

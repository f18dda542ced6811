"""A peer's neighbourhood: a place for each neighbour, and where the weight of a missing one goes."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from gossipfl.algorithms import NeighbourRows, Requirements
from gossipfl.codecs import FLOAT32
from gossipfl.errors import SettingError
from gossipfl.outgoing import Pipeline
from gossipfl.rounds.member_rows import mixed, outgoing
from gossipfl.rounds.message_shapes import forms_of
from gossipfl.rounds.mixing import Mixing
from gossipfl.rounds.plan import RoundsPlan
from gossipfl.rounds.roster import Roster
from tests.gossipfl.algorithms.robust_rules import TrimmedMean
from tests.gossipfl.rounds.test_plan import settings, trainer
from topology import graphs, mixing, sequences

WEIGHTS = mixing.metropolis_hastings(graphs.from_edges([(0, 1), (1, 2), (1, 3), (1, 4), (4, 5), (3, 5)], n=6))
OTHERS = {0, 2, 3, 4}


class Seeing(TrimmedMean):
    """Notes what it sees."""

    def combine(self, around):
        object.__setattr__(self, "seen", around)
        return around.own


def plan_of_member_1(algorithm):
    given = settings()
    forms = forms_of("seeing", algorithm, trainer(given), links=None)
    return RoundsPlan(
        name="seeing",
        algorithm=algorithm,
        mixing=Mixing(sequence=sequences.static(WEIGHTS)),
        roster=Roster(tuple("abcdef"), {}),
        number=1,
        seed=0,
        outgoing=Pipeline(codec=FLOAT32),
        forms=forms,
        agreement=bytes(32),
    )


def seen(arrived, *, listening=False, place=0):
    """What the rule sees of rows that are all equal to their sender's number."""
    algorithm = Seeing()
    plan = plan_of_member_1(algorithm)
    size = plan.forms[0].size
    exchange = NeighbourRows(torch.ones(1, size), algorithm.combine)
    out = outgoing(plan, (0, 0), exchange)
    rows = {number: torch.full((size,), float(number)) for number in arrived}
    mixed(plan, (0, 0), out, rows, untaken=(), listening=listening, place=place)
    return algorithm.seen


@given_settings(deadline=None)
@given(st.sets(st.sampled_from(sorted(OTHERS))), st.integers(0, 5))
def test_every_neighbour_has_a_place_and_the_missing_give_their_weight_to_oneself(arrived, place):
    around = seen(arrived, place=place)
    there = [number in arrived for number in sorted(OTHERS)]
    assert around.present.tolist() == [there]
    assert around.rows[0, :, 0].tolist() == [number * (number in arrived) for number in sorted(OTHERS)]
    W = WEIGHTS.toarray()[1]
    expected = [W[number] if number in arrived else 0 for number in sorted(OTHERS)]
    assert around.weights[0].tolist() == pytest.approx(expected)
    assert float(around.own_weights + around.weights.sum()) == pytest.approx(1)
    assert around.own[0, 0] == 1
    assert around.nodes.tolist() == [place]


@pytest.mark.parametrize(
    ("arrived", "centre"), [({0, 3, 4}, 3.0), ({0, 2, 3, 4}, 2.5), ({4}, 4.0), ((), 1.0)]
)
def test_who_listens_is_centred_on_the_median_of_what_arrived(arrived, centre):
    around = seen(arrived, listening=True)
    assert around.own[0].tolist() == [centre] * around.own.shape[1]
    assert float(around.own_weights) == (not arrived)
    assert float(around.own_weights + around.weights.sum()) == pytest.approx(1)


def test_a_rule_cannot_carry_mass():
    class Pushed(TrimmedMean):
        @property
        def requirements(self):
            return Requirements(stochastic="columns")

    with pytest.raises(SettingError, match="combines rows by a rule of its own, and requires columns"):
        forms_of("pushed", Pushed(), trainer(settings()), links=None)


def test_the_shape_of_what_a_rule_takes_is_known_before_anybody_is_there():
    (form,) = forms_of("trimmed", TrimmedMean(2), trainer(settings()), links=None)
    assert form.over == "rule"
    assert form.described()[1:] == [None, "rule"]

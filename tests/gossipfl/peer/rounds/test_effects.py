"""Effects of neighbours' rows in rounds: what is missed without one, and only where rows are models."""

import math

import pytest
import torch

from gossipfl.algorithms import Exchange
from gossipfl.network import load_or_create_identity
from gossipfl.peer.gossip.effects import MergeEffects
from gossipfl.peer.rounds.effects import RoundEffects
from gossipfl.peer.rounds.exchanging import Exchanged, answer_of
from gossipfl.peer.rounds.mailbox import Received
from gossipfl.peer.store.recorded_effects import recorded_effects
from gossipfl.rounds.member_rows import outgoing
from gossipfl.rounds.message_shapes import models_in
from gossipfl.training import Nodes
from tests.gossipfl.network.helpers import in_trio
from tests.gossipfl.peer.rounds.networks_of_rounds import peers_in_rounds
from tests.gossipfl.peer.rounds.test_rounds import run_all
from tests.gossipfl.rounds.test_plan import IDS, TASK, plan, settings, trainer
from tests.integration.peers import records_of


def measured(given, rows, *, own, models=(True,)):
    """What one exchange's record says, and the measurement, of rows by number of the sender."""
    data = TASK.dataset()
    merges = MergeEffects(TASK, data, samples=len(data.test_targets))
    effects = RoundEffects(plan=given, merges=merges, models=models)
    out = outgoing(given, (0, 0), Exchange(own[:, : TASK.layout.shared_size]))
    received = {number: Received(row=row, incarnation=1) for number, row in rows.items()}
    missing = tuple(number for number in out.neighbours if number not in rows)
    result = Exchanged(received=received, missing=missing, untaken=(), too_late=False)
    answer = answer_of(given, (0, 0), out, result, False)
    nodes = Nodes.start(own, optimiser_state_size=0)
    return effects.measured((0, 0), nodes, out, result, answer), effects


def loss(row):
    data = TASK.dataset()
    return float(TASK.evaluate(row, data.test_inputs, data.test_targets)["loss"][0])


def test_an_effect_is_what_is_missed_without_the_row():
    rows = torch.randn(3, TASK.layout.size, generator=torch.Generator().manual_seed(1))
    own, left, right = rows[:1], rows[1], rows[2]
    told, effects = measured(plan(me=1), {0: left, 2: right}, own=own)
    mean = (own + left + right) / 3
    assert told["effect"] == pytest.approx(loss(own) - loss(mean), abs=1e-5)
    expected = [loss((2 * own + other) / 3) - loss(mean) for other in (right, left)]
    assert told["effects"] == pytest.approx(expected, abs=1e-5)
    assert effects.described(IDS[0])["mean"] == pytest.approx(expected[0], abs=1e-5)
    assert effects.described(IDS[3]) is None


def test_who_is_missing_has_no_effect_and_who_spoils_a_loss_none_that_counts():
    own = torch.zeros(1, TASK.layout.size)
    told, _ = measured(plan(me=1), {2: torch.full((TASK.layout.size,), 3e38)}, own=own)
    assert told["effects"] == [None] or math.isfinite(told["effects"][0])
    assert measured(plan(me=1), {}, own=own)[0] == {}
    assert measured(plan(me=1), {0: own[0]}, own=own, models=(False,))[0] == {}


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("d_psgd", {}, (True,)),
        ("d_psgd", {"order": "combine-then-adapt"}, (True,)),
        ("d_squared", {}, (True,)),
        ("gradient_tracking", {}, None),
        ("apfl", {}, (True,)),
        ("pens", {}, (True,)),
        ("trimmed_mean", {}, (True,)),
        ("choco", {"codec": "top:0.1", "restart_every": 10}, (False,)),
        ("relay_sgd", {}, (False,)),
        ("ifca", {}, (False,)),
    ],
)
def test_only_exchanges_of_models_are_measured(name, parameters, expected):
    topology = "path:6" if name == "relay_sgd" else f"ring:{len(IDS)}"
    given = settings(algorithm=name, parameters=parameters, topology=topology)
    made = plan(algorithm=name, parameters=parameters, topology=topology)
    found = models_in(name, made.algorithm, trainer(given), links=made.links(0))
    assert len(found) == len(made.forms)
    if expected is None:
        assert not all(found)
    else:
        assert found == expected


@in_trio
async def test_peers_in_rounds_record_and_show_what_each_gave(tmp_path):
    tables = {"rounds": {"stop_after": 4, "topology": "complete:3"}, "evaluation": {"merge_samples": 8}}
    peers = peers_in_rounds(tmp_path, 3, **tables)
    await run_all(peers)
    ids = [load_or_create_identity(peer.home.directory).peer_id for peer in peers]
    for place, peer in enumerate(peers):
        mixes = records_of(peer.home, "mix")
        assert all(len(each["effects"]) == len(each["members"]) == 2 for each in mixes)
        assert all(math.isfinite(each["effect"]) for each in mixes)
        found = recorded_effects(peer.home.records)
        assert set(found) == {*ids} - {ids[place]}
        assert found[ids[place - 1]] == [
            each["effects"][each["members"].index((place - 1) % 3)] for each in mixes
        ]

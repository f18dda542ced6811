"""Peers whose training is private: their ledger, what stops once it is spent, and what cannot be replayed."""

import json

import numpy as np
import pytest

from gossipfl.errors import SettingError
from gossipfl.peer import Peer
from gossipfl.peer.private_training import SecretDraws, SpentTraining, drawing_in_secret
from gossipfl.privacy.factorised import sensitivities
from gossipfl.privacy.ledger import BudgetSpent, PrivacyLedger
from gossipfl.privacy.sampled_gaussian import sampled_epsilon
from gossipfl.settings import dump_settings, parse_settings
from gossipfl.tasks import find_task
from gossipfl.training import Nodes
from gossipfl.training.step_draws import SeededDraws
from sims.replay import replay
from sims.replay.errors import NotRecomputable
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.rounds.networks_of_rounds import peers_in_rounds
from tests.integration.peers import network_of, quick_settings, records_of, running

PRIVACY = {"clip": 1.0, "noise_multiplier": 2.0, "epsilon": 2.0}
TABLES = {"training": {"privacy": PRIVACY, "batch_size": 8}, "gate": {"loss_samples": 0}}


def ledger_of(peer):
    ledger = PrivacyLedger(peer.home.privacy_ledger, epsilon=2.0, delta=1e-5, of_samples=True)
    ledger.close()
    return ledger


def is_spent(peer):
    return "privacy" in {each["name"] for each in peer.status().conditions}


@in_trio
async def test_a_peer_that_gossips_stops_training_and_sharing_when_its_budget_is_spent(tmp_path):
    async with network_of(tmp_path, 2, **TABLES) as peers:
        await until(lambda: all(map(is_spent, peers)))
        steps = [peer.status().step for peer in peers]
    for peer, step in zip(peers, steps, strict=True):
        ledger = ledger_of(peer)
        (mechanism,) = ledger.steps
        assert step <= ledger.steps[mechanism]
        assert sampled_epsilon(ledger.steps, delta=1e-5) <= 2.0
        assert ledger.left(mechanism) == 0
    again = Peer(peers[0].home.directory, settings=peers[0].settings)
    async with running(again):
        await until(lambda: is_spent(again))
        assert again.status().step <= sum(ledger_of(peers[0]).steps.values())
    assert ledger_of(again).steps == ledger_of(peers[0]).steps
    with pytest.raises(NotRecomputable, match=r"training\.privacy\.secret = false"):
        replay([peer.home.directory for peer in peers])


@in_trio
async def test_a_peer_in_rounds_goes_on_with_gradients_of_zero(tmp_path):
    peers = peers_in_rounds(tmp_path, 3, training=TABLES["training"], rounds={"period": 0.01})
    async with running(*peers):
        await until(lambda: all(map(is_spent, peers)))
        rounds = [peer.status().event for peer in peers]
        await until(lambda: all(p.status().event > r + 2 for p, r in zip(peers, rounds, strict=True)))
        assert len({peer.status().step for peer in peers}) == 1
    for peer in peers:
        records = records_of(peer.home, "round")
        assert not records[0]["rests"]
        assert records[-1]["rests"]
        assert sum(ledger_of(peer).steps.values()) == peer.status().step


@in_trio
async def test_a_rehearsal_is_replayed_from_the_seed(tmp_path):
    privacy = {"clip": 1.0, "noise_multiplier": 2.0, "secret": False}
    training = {"privacy": privacy, "batch_size": 8}
    peers = peers_in_rounds(tmp_path, 3, training=training, rounds={"stop_after": 5})
    async with running(*peers):
        await until(lambda: all(peer.status().event == 5 for peer in peers))
    report = replay([peer.home.directory for peer in peers])
    assert [each.verdict for each in report.peers] == ["identical"] * 3
    assert not peers[0].home.privacy_ledger.exists()


def test_no_row_is_sent_once_training_has_spent_its_budget():
    class Draws(SeededDraws):
        is_spent = True

    SpentTraining(SeededDraws(0)).spend(1)
    with pytest.raises(BudgetSpent):
        SpentTraining(Draws(0)).spend(1)


def test_draws_of_peers_are_new_each_time(tmp_path):
    from gossipfl.peer.assembly import trainer_of

    settings = quick_settings(0, training={"privacy": {"clip": 1.0, "noise_multiplier": 2.0}, "batch_size": 8},
                              gate={"loss_samples": 0})  # fmt: skip
    task = find_task(settings.task.name, settings.task.options)
    trainer = drawing_in_secret(
        trainer_of(task, task.dataset(), settings), tmp_path / "ledger", note=lambda _: None
    )
    nodes = Nodes.start(task.initial_row()[None])
    owners = trainer.data.numbers * 0
    found = [trainer.gradient(nodes, owners)[1] for _ in range(3)]
    assert not (found[0] == found[1]).any()
    assert not (found[1] == found[2]).any()
    assert json.loads((tmp_path / "ledger").read_text().splitlines()[-1])["steps"][0][2] == 3


def test_contradicting_settings_are_named():
    with pytest.raises(SettingError, match=r"gate\.loss_samples = 0"):
        parse_settings({"training": TABLES["training"]}, source="a test")
    outgoing = [{"kind": "clip", "norm": 1.0}, {"kind": "noise", "deviation": 1.0, "epsilon": 1.0}]
    with pytest.raises(SettingError, match="leave one of them out"):
        parse_settings({**TABLES, "outgoing": outgoing}, source="a test")
    with pytest.raises(SettingError, match=r"training\.privacy\.clip"):
        parse_settings({"training": {"privacy": {"noise_multiplier": 1.0}}}, source="a test")
    assert "privacy = { clip = 1.0" in dump_settings(parse_settings(TABLES, source="a test"))


def test_a_cyclic_peer_spends_the_sensitivity_of_its_factor_and_begins_anew_at_each_start(tmp_path):
    said = []
    rates, nobody = np.array([1 / 3]), np.zeros(1, dtype=np.int64)
    for start in (1, 2):
        ledger = PrivacyLedger(tmp_path / "ledger", epsilon=None, delta=1e-5, of_samples=True)
        draws = SecretDraws(ledger, multiplier=2.0, rate=1 / 3, bands=4, note=said.append)
        taken = [draws.next(nobody, nobody, rates=rates) for _ in range(7)]
        one = np.square(sensitivities(4, apart=3, steps=7)).sum() / 2.0**2
        assert ledger.spent == pytest.approx(start * one)
        batches = [step.sampled(np.array([9]), rates)[0].tolist() for step in taken]
        assert sorted([*batches[0], *batches[1], *batches[2]]) == list(range(9))
        assert batches[0] == batches[3] == batches[6]
        first, second = taken[0].noise(5000), taken[1].noise(5000)
        assert np.corrcoef(first[0], second[0])[0, 1] < -0.3
        ledger.close()
    ledger = PrivacyLedger(tmp_path / "ledger", epsilon=20.0, delta=1e-5, of_samples=True)
    draws = SecretDraws(ledger, multiplier=2.0, rate=1 / 3, bands=4, note=said.append)
    while not draws.is_spent:
        draws.next(nobody, nobody, rates=rates)
    assert ledger.spent_epsilon() <= 20.0
    assert len(said) == 1
    with pytest.raises(BudgetSpent):
        draws.next(nobody, nobody, rates=rates)
    ledger.close()


def test_cyclic_batches_of_data_that_grew_share_noise_with_none_before(tmp_path):
    """Batches of other sizes hold a sample sooner again than the factor's sensitivity allows for."""
    nobody = np.zeros(1, dtype=np.int64)
    ledger = PrivacyLedger(tmp_path / "ledger", epsilon=None, delta=1e-5, of_samples=True)
    draws = SecretDraws(ledger, multiplier=2.0, rate=1 / 3, bands=4, note=lambda _: None)
    taken = [draws.next(nobody, nobody, rates=np.array([rate])) for rate in [1 / 3] * 5 + [1 / 5] * 7]
    assert [len(step.earlier) for step in taken] == [0, 1, 2, 3, 3, 0, 1, 2, 3, 3, 3, 3]
    spent = sum(
        np.square(sensitivities(4, apart=apart, steps=steps)).sum() / 4 for apart, steps in [(3, 5), (5, 7)]
    )
    assert ledger.spent == pytest.approx(spent)
    ledger.close()

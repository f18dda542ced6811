"""Secret noise of peers in rounds: what neighbours share cancels, what is spent stays so, nothing is replayed."""

import json
from pathlib import Path

import pytest
import torch

from gossipfl.errors import SettingError
from gossipfl.peer import Peer
from gossipfl.privacy.gaussian import largest_shift
from sims.replay import replay
from sims.replay.errors import NotRecomputable
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.rounds.networks_of_rounds import peers_in_rounds
from tests.integration.peers import running

N, ROUNDS = 4, 1


def rows_of(peers):
    return torch.cat([peer._incarnation.learner.state.nodes.rows for peer in peers])


async def run(directory: Path, algorithm, **parameters):
    directory.mkdir()
    rounds = {"algorithm": algorithm, "topology": f"ring:{N}", "stop_after": ROUNDS, "parameters": parameters}
    peers = peers_in_rounds(directory, N, rounds=rounds, training={"learning_rate": 0.01})
    async with running(*peers):
        await until(lambda: all(peer.status().event == ROUNDS for peer in peers))
    return peers


@in_trio
async def test_noise_that_neighbours_share_cancels_in_the_mean_of_peers(tmp_path):
    quiet = await run(tmp_path / "quiet", "decor", clip=1e6, deviation=1e-9)
    noisy = await run(tmp_path / "noisy", "decor", clip=1e6, deviation=1e-9, edge_deviation=1000.0)
    apart = rows_of(noisy) - rows_of(quiet)
    assert apart.abs().max() > 3  # 0.01 · 1000 · √2 and more
    assert apart.mean(0).abs().max() < 1e-5
    with pytest.raises(NotRecomputable, match=r"noise of decor in secret"):
        replay([peer.home.directory for peer in noisy])
    again = await run(tmp_path / "again", "decor", clip=1e6, deviation=1e-9, edge_deviation=1000.0)
    assert (rows_of(again) - rows_of(noisy)).abs().max() > 3  # other secrets


@in_trio
async def test_copies_of_zip_dl_leave_the_mean_alone(tmp_path):
    quiet = await run(tmp_path / "quiet", "d_psgd")
    noisy = await run(tmp_path / "noisy", "zip_dl", deviation=1e-4)
    apart = rows_of(noisy) - rows_of(quiet)
    assert apart.abs().max() > 2e-5  # of secret noise: larger in all but one of 10¹⁰ runs
    assert apart.mean(0).abs().max() < 1e-7


@in_trio
async def test_a_budget_of_rounds_is_spent_before_they_are_and_survives(tmp_path):
    epsilon, parameters = 4.0, {"clip": 1.0, "deviation": 6.0, "edge_deviation": 50.0}
    rounds = {"algorithm": "decor", "topology": "ring:3", "parameters": {**parameters, "epsilon": epsilon}}
    peers = peers_in_rounds(tmp_path, 3, rounds=rounds)

    def is_spent(peer):
        return "privacy" in {each["name"] for each in peer.status().conditions}

    async with running(*peers):
        await until(lambda: all(map(is_spent, peers)))
        done = [peer.status().event for peer in peers]
        await until(lambda: all(p.status().event > d + 2 for p, d in zip(peers, done, strict=True)))
    lines = [json.loads(peers[0].home.privacy_ledger.read_text().splitlines()[-1])]
    assert lines[0]["spent"] <= largest_shift(epsilon, 1e-5) ** 2
    steps = peers[0]._incarnation.learner.state.step
    assert steps == lines[0]["releases"]
    again = Peer(peers[0].home.directory, settings=peers[0].settings)
    async with running(again, *(Peer(p.home.directory, settings=p.settings) for p in peers[1:])):
        await until(lambda: is_spent(again))
    assert json.loads(again.home.privacy_ledger.read_text().splitlines()[-1]) == lines[0]
    assert again._incarnation.learner.state.step == steps


@in_trio
async def test_two_budgets_are_refused(tmp_path):
    rounds = {"algorithm": "muffliato_sgd", "topology": "ring:3", "parameters": {"epsilon": 1.0}}
    privacy = {"clip": 1.0, "noise_multiplier": 1.0}
    peers = peers_in_rounds(tmp_path, 3, rounds=rounds, training={"privacy": privacy})
    with pytest.raises((SettingError, ExceptionGroup)) as error:
        async with running(peers[0]):
            await until(lambda: peers[0].status().event > 0)
    assert "budget of muffliato_sgd beside another" in repr(error.value) + str(
        getattr(error.value, "exceptions", "")
    )

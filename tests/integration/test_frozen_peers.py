"""Peers on a frozen body: their rows, files and replays have what is trained, and each process has one body."""

import pytest
import torch

from gossipfl.peer import Home, Peer
from gossipfl.peer.saved_model import saved_model, task_of_home
from gossipfl.peer.store.checkpoint import left_out_of, load_checkpoint, read_row, save_checkpoint
from sims.analysis.runs.problem import problem_of
from sims.analysis.runs.recorded import read_recorded
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.rounds.networks_of_rounds import peers_in_rounds
from tests.integration.peers import network_of, running
from tests.integration.test_rounds import assert_replayed, run_all

TASK = {"name": "tests.integration.module_tasks:holding", "options": {"kind": "body"}}
BODY = {"0.weight", "0.bias", "scale"}
TRAINED = 3 * 64 + 3


def test_peers_in_rounds_keep_a_body_once(tmp_path):
    peers = peers_in_rounds(
        tmp_path,
        2,
        task=TASK["name"],
        options=TASK["options"],
        rounds={"topology": "complete:2", "stop_after": 3},
        training={"momentum": 0.9},
    )
    whole = [peer.task for peer in peers]
    assert whole[0].layout.size == TRAINED + 16 * 64 + 64 + 16
    in_trio(run_all)(peers)
    for peer, task in zip(peers, whole, strict=True):
        learner = peer._incarnation.learner
        assert learner.state.nodes.rows.shape == (1, TRAINED) == (1, len(read_row(peer.home.checkpoint)[0]))
        assert left_out_of(peer.home.checkpoint) == BODY
        bodies = [learner._trainer.gradients.module, peer.task._evaluator._module]
        assert len({each[0].weight.data_ptr() for each in bodies}) == 1
        model, again = peer.model(), saved_model(peer.home, task)[0]
        for name, tensor in task.build_module().state_dict().items():
            assert torch.equal(model.state_dict()[name], again.state_dict()[name])
            assert torch.equal(model.state_dict()[name], tensor) == (name in BODY)
    homes = [peer.home.directory for peer in peers]
    assert_replayed(homes)
    recorded = read_recorded(homes)
    assert recorded.rows.shape == (2, problem_of(recorded).task.layout.size) == (2, TRAINED)


@pytest.mark.slow
def test_a_gossiping_peer_goes_on_from_a_home_that_has_whole_rows(tmp_path):
    @in_trio
    async def gossip():
        async with network_of(tmp_path, 2, task=TASK) as peers:
            await until(lambda: all(peer.status().event > 4 for peer in peers))

    @in_trio
    async def go_on():
        peer = Peer(tmp_path / "peer-1")
        async with running(peer):
            event = peer._incarnation.learner.state.event
            await until(lambda: peer.status().event > event + 1)
            assert peer._incarnation.learner.state.nodes.rows.shape == (1, TRAINED)

    gossip()
    homes = [tmp_path / f"peer-{number}" for number in range(2)]
    home = Home(homes[1])
    task = task_of_home(home)
    lean = read_row(home.checkpoint)[0]
    saved = load_checkpoint(home.checkpoint, task, optimiser_state_size=0)
    assert saved.nodes.rows.shape == (1, task.layout.size)
    assert torch.equal(saved.nodes.rows[0, :TRAINED], lean)
    save_checkpoint(home.checkpoint, saved, task)  # as earlier versions did
    assert left_out_of(home.checkpoint) == set()
    assert_replayed(homes)
    go_on()
    assert left_out_of(home.checkpoint) == BODY
    assert_replayed(homes)

"""Peers that learn in rounds, over 127.0.0.1 in one program: present, missing, late, mistaken and diverging."""

import json
import logging
import re

import pytest
import torch
import trio

from gossipfl.cli.running import run_peer
from gossipfl.errors import CorruptCheckpoint, UnknownAlgorithm
from gossipfl.peer import Peer
from sims.replay import replay
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.rounds.networks_of_rounds import members, peers_in_rounds, settings_of
from tests.integration.peers import records_of, running


async def run_all(peers) -> None:
    async with trio.open_nursery() as nursery:
        for peer in peers:
            nursery.start_soon(peer.run)


def assert_replayed(*peers) -> None:
    report = replay([peer.home.directory for peer in peers])
    assert [peer.verdict for peer in report.peers] == ["identical"] * len(peers)
    assert report.notes == ()


@in_trio
async def test_two_peers_do_the_rounds_they_are_asked_for_and_agree(tmp_path):
    peers = peers_in_rounds(tmp_path, 2, rounds={"stop_after": 12, "topology": "complete:2"})
    await run_all(peers)
    assert [peer._incarnation.learner.state.event for peer in peers] == [12, 12]
    # Over two fully connected peers adapt-then-combine ends every round with the mean at both.
    assert torch.equal(*(peer._incarnation.learner.state.nodes.rows for peer in peers))
    for peer in peers:
        assert [each["round"] for each in records_of(peer.home, "round")] == list(range(12))
        assert all(each["missing"] == [] == each["untaken"] for each in records_of(peer.home, "mix"))
        assert peer.status().rounds["round"] == 12


@in_trio
async def test_peers_that_know_one_address_hear_of_the_others(tmp_path):
    """A roster of ids, and one member as everybody's first contact."""
    listen, roster = members(tmp_path, 4)
    ids = [each.rpartition("/p2p/")[2] for each in roster]
    peers = [
        Peer(
            tmp_path / f"peer-{number}",
            settings=settings_of(
                number,
                listen,
                ids,
                rounds={"stop_after": 4, "topology": "ring:4"},
                bootstrap=[] if number == 0 else [roster[0]],
            ),
        )
        for number in range(4)
    ]
    await run_all(peers)
    for peer in peers:
        assert all(each["missing"] == [] for each in records_of(peer.home, "mix"))


@in_trio
async def test_the_weight_of_who_never_comes_goes_back_to_oneself(tmp_path):
    """Two of three on a ring are there: the deadline passes at first, and then nobody waits for the third."""
    rounds = {"stop_after": 8, "gathering": 0.5, "deadline": 0.5, "patience": 2}
    *there, _never = peers_in_rounds(tmp_path, 3, rounds=rounds)
    await run_all(there)
    for peer in there:
        mixes = records_of(peer.home, "mix")
        assert [each["missing"] for each in mixes] == [[2]] * 8
        seconds = [each["seconds"] for each in records_of(peer.home, "round")]
        assert min(seconds[:2]) >= 0.5
        assert sum(seconds[2:]) < 2.5
        assert peer.status().rounds["absent"] == [2]
    assert_replayed(*there)


@in_trio
async def test_who_starts_late_takes_over_what_the_others_have_and_is_waited_for(tmp_path):
    rounds = {"gathering": 0.3, "deadline": 0.5, "patience": 1, "period": 0.03, "topology": "complete:3"}
    first, second, late = peers_in_rounds(tmp_path, 3, rounds=rounds, training={"momentum": 0.5})
    async with running(first, second):
        await until(lambda: first.status().event >= 12)
        async with running(late):
            await until(lambda: late._incarnation.learner.state.event > 0)
            met = late._incarnation.learner.state.event

            def keeps_up() -> bool:
                mixes = records_of(first.home, "mix")
                return any(2 in each["members"] and each["round"] > met for each in mixes)

            await until(keeps_up)
    jump = records_of(late.home, "jump")[0]
    assert jump["from_round"] == 0
    assert jump["round"] >= 12
    mixes = records_of(late.home, "mix")
    listened = [each for each in mixes if each["listening"]]
    assert listened[-1]["members"]
    # While it listened its row of old weighed nothing with the others.
    rounds_heard = {each["round"] for each in records_of(first.home, "mix") if 2 in each["members"]}
    assert not rounds_heard & {each["round"] for each in listened}
    assert_replayed(first, second, late)


@in_trio
async def test_peers_of_other_rounds_refuse_each_other_by_name(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    listen, roster = members(tmp_path, 2)
    rounds = {"topology": "complete:2", "gathering": 20.0}
    peers = [
        Peer(
            tmp_path / f"peer-{number}",
            settings=settings_of(number, listen, roster, rounds={**rounds, "seed": number}),
        )
        for number in range(2)
    ]
    async with running(*peers):
        await until(lambda: all(peer.counters.refused["incompatible_rounds"] for peer in peers))
        assert all(peer.status().rounds["gathering"] for peer in peers)
        await until(lambda: "the sender learns in different rounds" in caplog.text)
    assert "same roster, algorithm, topology, codec and seed" in caplog.text


@in_trio
async def test_a_round_that_diverges_is_given_up_and_the_peer_goes_on(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    peers = peers_in_rounds(
        tmp_path, 2, rounds={"stop_after": 6, "topology": "complete:2"}, training={"learning_rate": 1e38}
    )
    await run_all(peers)
    assert any(each["gave_up"] for peer in peers for each in records_of(peer.home, "round"))
    assert "diverged" in caplog.text
    for peer in peers:
        assert torch.isfinite(peer._incarnation.learner.state.nodes.rows).all()
        assert peer.status().divergences > 0
    assert_replayed(*peers)


#: Algorithms that keep something beside the model, and what they run over.
KEEPING = {
    "sgp": {"topology": "one-peer-exponential:3"},
    "gradient_tracking": {"topology": "ring:3"},
    "exact_diffusion": {"topology": "ring:3"},
    "relay_sgd": {"topology": "path:3"},
    "choco": {
        "topology": "ring:3",
        "parameters": {"compressor": "top:0.3", "consensus_step_size": 0.5, "restart_every": 5},
    },
}


@pytest.mark.parametrize("name", KEEPING)
@in_trio
async def test_what_an_algorithm_keeps_is_saved_and_resumed(tmp_path, name):
    rounds = {"algorithm": name, **KEEPING[name], "deadline": 2.0, "gathering": 5.0}
    peers = peers_in_rounds(tmp_path, 3, rounds={**rounds, "stop_after": 4})
    await run_all(peers)
    kept = peers[0]._incarnation.learner.state.nodes.auxiliary
    assert kept
    again = [
        Peer(peer.home.directory, settings=peer.settings.model_copy(update={"rounds": longer(peer)}))
        for peer in peers
    ]
    await run_all(again)
    for peer in again:
        assert peer._incarnation.learner.state.event == 9
        starts = records_of(peer.home, "start")
        assert [each["event"] for each in starts] == [0, 4]
    assert_replayed(*again)


def longer(peer):
    return peer.settings.rounds.model_copy(update={"stop_after": 9})


@in_trio
async def test_a_checkpoint_of_gossip_is_not_taken_for_one_of_rounds(tmp_path):
    peers = peers_in_rounds(tmp_path, 2, rounds={"stop_after": 2, "topology": "complete:2"})
    await run_all(peers)
    gossiping = peers[0].settings.model_copy(update={"rounds": type(peers[0].settings.rounds)()})
    with pytest.raises(CorruptCheckpoint, match="a different kind of learning; expected gossip; got d_psgd"):
        await Peer(peers[0].home.directory, settings=gossiping).run()
    rounds = peers[0].settings.rounds.model_copy(update={"algorithm": "d_pgsd"})
    with pytest.raises(UnknownAlgorithm, match=r"rounds\.algorithm: there is no algorithm 'd_pgsd'"):
        Peer(peers[0].home.directory, settings=peers[0].settings.model_copy(update={"rounds": rounds}))


def test_a_peer_that_has_done_its_rounds_says_so_and_ends_at_once(tmp_path, caplog, capsys):
    peers = peers_in_rounds(tmp_path, 2, rounds={"stop_after": 3, "topology": "complete:2", "gathering": 1e4})
    trio.run(run_all, peers)
    caplog.clear()
    settings = peers[0].settings
    run_peer(
        peers[0].home.directory,
        settings=settings,
        read_settings=lambda: settings,
        on_ready=lambda: None,
        json_output=False,
        plain=True,
    )
    assert "3 rounds are done and rounds.stop_after is 3, so there is nothing to do; raise" in caplog.text
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(
        r".+ INFO done: 3 rounds, loss \d\.\d{4}, accuracy [01]\.\d{4}; the same is kept in .+/checkpoint\.\w+",
        last,
    )
    assert_replayed(*peers)


def test_replay_names_what_differs_first(tmp_path):
    peers = peers_in_rounds(tmp_path, 2, rounds={"stop_after": 3, "topology": "complete:2"})
    trio.run(run_all, peers)
    (path,) = peers[0].home.records.iterdir()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    last = next(each for each in lines if each["kind"] == "round" and each["round"] == 2)
    true, last["digest"] = last["digest"], "0" * len(last["digest"])
    path.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    (note,) = replay([peer.home.directory for peer in peers]).notes
    assert f"the model's digest was {last['digest']} there, and is {true} here" in note
    assert "another version of the algorithm's file" in note
    assert re.search(r", [56] of 6 in order", note)

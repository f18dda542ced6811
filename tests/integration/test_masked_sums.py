"""Masked sums among real peers: near the plain average, replayed to the bit, with drop-outs."""

from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch
import trio

from gossipfl.cli.display import _rounds_rows
from gossipfl.secure import RevealedShares, Sender
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.rounds.networks_of_rounds import members, settings_of
from tests.integration.peers import PeerProcess, records_of
from tests.integration.test_rounds import assert_replayed, digits_peers, mixes_after, run_all, wait_until

MASKED = {"algorithm": "d_psgd", "topology": "complete:5", "masked_sums": True, "deadline": 20.0}


def rows_of(peers):
    return torch.cat([peer._incarnation.learner.state.nodes.rows for peer in peers])


@pytest.mark.parametrize("outgoing", [(), ({"kind": "mask", "share": 0.25},)], ids=["whole", "a quarter"])
@in_trio
async def test_peers_with_masked_sums_end_where_plain_ones_end_and_are_replayed(tmp_path, outgoing):
    rounds, ends = 4, []
    for masked in (True, False):
        directory = tmp_path / f"masked-{masked}"
        directory.mkdir()
        tables = {**MASKED, "masked_sums": masked, "stop_after": rounds}
        peers = digits_peers(directory, 5, rounds=tables, outgoing=outgoing)
        await run_all(peers)
        ends.append(rows_of(peers))
        assert_replayed([peer.home.directory for peer in peers])
        for peer in peers if masked else ():
            mixes = records_of(peer.home, "mix")
            assert [len(mix["members"]) for mix in mixes] == [4] * rounds
            assert {mix["codec"] for mix in mixes} == {"ring32"}
            assert peer._incarnation.learner.described()["sums"] == {
                "done": rounds,
                "failed": 0,
                "excluded": [],
            }
    assert 0 < (ends[0] - ends[1]).abs().max() < 1e-5


LIAR = 4


class Sealing(Sender):
    """A neighbour whose sealed shares nobody can open, if it is the liar; it lies in nothing else."""

    def share(self, invitation):
        answer = super().share(invitation)
        if self._key.number != LIAR:
            return answer
        return replace(answer, sealed=tuple(bytes(len(each)) for each in answer.sealed))


class Revealing(Sender):
    """A neighbour that reveals other shares than it was given, if it is the liar."""

    def reveal(self, signatures):
        answer = super().reveal(signatures)
        return RevealedShares([bytes(16)] * len(answer.shares)) if self._key.number == LIAR else answer


@pytest.mark.parametrize("lying", [Sealing, Revealing])
@in_trio
async def test_a_neighbour_whose_shares_are_garbage_is_named_and_left_out_alone(tmp_path, monkeypatch, lying):
    monkeypatch.setattr("gossipfl.peer.rounds.summands.Sender", lying)
    rounds = 4
    *honest, liar = digits_peers(tmp_path, 5, rounds={**MASKED, "stop_after": rounds})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(liar.run)
        await run_all(honest)
        liar.stop()
    assert_replayed([peer.home.directory for peer in (*honest, liar)])
    for number, peer in enumerate(honest):
        sums = peer._incarnation.learner.described()["sums"]
        assert sums == {"done": rounds, "failed": 0, "excluded": [LIAR]}
        others = [each for each in range(LIAR) if each != number]
        mixes = records_of(peer.home, "mix")
        assert all(mix["members"] == others and mix["missing"] == [LIAR] for mix in mixes[1:])


@in_trio
async def test_a_sum_that_fails_is_a_condition_and_counted(tmp_path, caplog):
    """Member 4 never comes, and member 3 refuses to show anything: of 4 neighbours, two are left."""
    peers = digits_peers(
        tmp_path, 5, rounds={**MASKED, "gathering": 0.5, "deadline": 2.0, "patience": 9, "stop_after": 2}
    )[:3]
    await run_all(peers)
    for peer in peers:
        assert peer._incarnation.learner.described()["sums"] == {"done": 0, "failed": 2, "excluded": []}
        (held,) = [each for each in peer.conditions.to_values() if each["name"] == "sums"]
        assert "was not had, so this peer keeps its own row" in held["text"]
    assert "masked sums" in dict(status_rows(peers[0]))


def status_rows(peer):
    return _rounds_rows(peer.status().rounds)


@in_trio
async def test_a_peer_that_comes_late_makes_sums_possible_again(tmp_path):
    """Where all exchanges fail at their deadlines, it must not do its own before the others begin theirs."""
    peers = digits_peers(
        tmp_path,
        5,
        rounds={**MASKED, "gathering": 0.5, "deadline": 2.0, "patience": 3, "ahead": 1, "period": 0.1},
    )[:4]
    *early, late = peers

    def has_sums():
        return any(mix["members"] for mix in records_of(early[0].home, "mix"))

    async with trio.open_nursery() as nursery:
        for peer in early:
            nursery.start_soon(peer.run)
        await until(lambda: early[0]._incarnation and early[0]._incarnation.learner.state.event >= 4)
        assert not has_sums()
        nursery.start_soon(late.run)
        await until(has_sums, seconds=40.0)
        for peer in peers:
            peer.stop()
    assert_replayed([peer.home.directory for peer in peers], batched_too=False)


def test_a_killed_and_restarted_peer_drops_out_and_comes_back(tmp_path):
    """Of 4 neighbours one may drop out: the others' sums go on without it, and with it once it is back."""
    listen, roster = members(tmp_path, 5)
    rounds = {**MASKED, "deadline": 3.0, "patience": 1, "period": 0.05}
    tables = {"rounds": rounds, "checkpoint": {"period": 0.1}}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                PeerProcess(
                    tmp_path / f"peer-{number}", settings_of(number, listen, roster, **tables), forked=True
                )
            ).start("--plain")
            for number in range(5)
        ]
        victim = processes[2]
        victim.until_at(event=4)
        victim.process.kill()
        victim.process.wait()
        last = max(record["round"] for record in records_of(victim.home, "round"))
        processes[0].until_at(event=last + 6)
        victim.start("--plain")
        wait_until(lambda: any(2 in mix["members"] for mix in mixes_after(processes[0].home, last + 6)))
        for process in processes:
            process.process.terminate()
        for process in processes:
            assert process.process.wait(timeout=60) == 0, process.err
    without = [mix for mix in records_of(processes[0].home, "mix") if mix["missing"] == [2]]
    assert [mix["members"] for mix in without if mix["members"]][:1] == [[1, 3, 4]]
    assert_replayed([process.home.directory for process in processes], batched_too=False)

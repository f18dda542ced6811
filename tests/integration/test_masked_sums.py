"""Masked sums among real peers: near the plain average, replayed to the bit, with drop-outs."""

from contextlib import ExitStack

import pytest
import torch

from tests.gossipfl.network.helpers import in_trio
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
            assert peer._incarnation.learner.described()["sums"] == {"done": rounds, "failed": 0}
    assert 0 < (ends[0] - ends[1]).abs().max() < 1e-5


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

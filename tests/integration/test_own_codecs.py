"""A codec of one's own in real peers, which learn together only where its file is the same."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.gossipfl.peer.rounds.networks_of_rounds import members, settings_of
from tests.integration.peers import PeerProcess, records_of

MODULE = "coarse_beside_settings"  # a name that no path of another test leads to
EXAMPLE = (Path(__file__).parents[2] / "examples" / "coarse.py").read_text(encoding="utf-8")
COARSE = EXAMPLE.replace("coarse:Coarse", f"{MODULE}:Coarse")
OTHER = COARSE.replace("/ (self.levels - 1))\n", "/ (self.levels - 1)) * 1.0\n", 1)
NAME = f"{MODULE}:Coarse:200"

IN_ROWS = {"exchange": {"codec": NAME}}
IN_ALGORITHM = {
    "rounds": {"algorithm": "deep_squeeze", "parameters": {"codec": NAME, "consensus_step_size": 0.5}}
}


def two_peers(directory, sources, tables):
    """Two members of rounds, each with its own copy of the module beside its settings."""
    listen, roster = members(directory, 2)
    peers = []
    for number, source in enumerate(sources):
        home = directory / f"peer-{number}"
        (home / f"{MODULE}.py").write_text(source, encoding="utf-8")
        rounds = {"topology": "complete:2", "stop_after": 4, "gathering": 60.0, **tables.get("rounds", {})}
        settings = settings_of(number, listen, roster, **{**tables, "rounds": rounds})
        peers.append(PeerProcess(home, settings, forked=True))
    return peers


@pytest.mark.parametrize("tables", [IN_ROWS, IN_ALGORITHM], ids=["codec of rows", "codec of the algorithm"])
def test_peers_whose_files_differ_refuse_each_other_by_name(tmp_path, tables):
    assert OTHER != COARSE
    with ExitStack() as stack:
        peers = [
            stack.enter_context(each).start("--plain")
            for each in two_peers(tmp_path, [COARSE, OTHER], tables)
        ]
        deadline = time.monotonic() + 60
        while not all("the sender learns in different rounds" in peer.err for peer in peers):
            assert time.monotonic() < deadline, [peer.err for peer in peers]
            assert all(peer.process.poll() is None for peer in peers), [peer.err for peer in peers]
            time.sleep(0.05)
        assert not any(records_of(peer.home, "mix") for peer in peers)


def test_peers_with_the_same_file_learn_together(tmp_path):
    with ExitStack() as stack:
        peers = [
            stack.enter_context(each).start("--plain")
            for each in two_peers(tmp_path, [COARSE, COARSE], IN_ROWS)
        ]
        for peer in peers:
            assert peer.process.wait(timeout=90) == 0, peer.err
    for peer in peers:
        assert {each["codec"] for each in records_of(peer.home, "mix")} == {NAME}

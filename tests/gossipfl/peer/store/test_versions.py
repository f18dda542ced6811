"""Homes of earlier versions: resumed and replayed, and those of later ones left alone."""

import json
import shutil
from pathlib import Path

import pytest
import trio

from gossipfl.errors import HomeError
from gossipfl.peer import Home, Peer
from gossipfl.peer.store.checkpoint import read_row
from gossipfl.peer.store.versions import VERSION, bring_up_to_date, read_facts
from gossipfl.settings import PeerSettings
from sims.replay import replay
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import records_of, running

HOMES = Path(__file__).parent / "homes"


def homes_of(version, directory):
    """Two peers of each other, saved by a program of this version."""
    shutil.copytree(HOMES / f"version-{version}", directory, dirs_exist_ok=True)
    for path in directory.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return [Home(directory / name) for name in ("alice", "hub")]


@in_trio
async def test_peers_of_version_1_go_on_and_are_replayed(tmp_path):
    homes = homes_of(1, tmp_path)
    ages = [read_row(home.checkpoint)[1] for home in homes]
    assert [read_facts(home)["version"] for home in homes] == [1, 1]
    peers = [Peer(home.directory) for home in homes]
    async with running(*peers):
        starts = [records_of(home, "start")[-1] for home in homes]
        assert [start["age"] for start in starts] == ages
        assert all(start["incarnation"] > 10**12 for start in starts)
        events = [start["event"] for start in starts]
        await until(
            lambda: all(peer.status().event > event + 3 for peer, event in zip(peers, events, strict=True))
        )
    assert [read_facts(home) for home in homes] == [{"version": VERSION}] * 2
    report = await trio.to_thread.run_sync(lambda: replay([home.directory for home in homes]))
    assert report.equal


def test_a_new_home_is_of_this_version(tmp_path):
    home = Home(tmp_path / "alice")
    home.create(PeerSettings())
    assert bring_up_to_date(home) == {"version": VERSION}


@pytest.mark.parametrize("version", [0, VERSION + 1, "2", True, None])
def test_a_home_of_a_later_version_is_left_alone(tmp_path, version):
    home = Home(tmp_path / "alice")
    home.create(PeerSettings())
    content = json.dumps({"version": version})
    home.facts.write_text(content)
    with pytest.raises(HomeError, match=rf"another version; expected 1 to {VERSION}.*Upgrade gossipfl"):
        trio.run(Peer(home.directory).run)
    assert home.facts.read_text() == content
    assert not (home.directory / "identity.key").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_damaged_facts_are_named(tmp_path, content):
    home = Home(tmp_path / "alice")
    home.create(PeerSettings())
    home.facts.write_text(content)
    with pytest.raises(HomeError, match=r'home\.json is damaged.*write \{"version": 2\} into it'):
        bring_up_to_date(home)

"""``gossipfl peer status`` and ``gossipfl peer peers``: who is there, and whether the peer itself is."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import trio

from gossipfl import __version__
from gossipfl.peer import Home, read_status
from gossipfl.peer.liveness import liveness_of
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import PeerProcess, network_of, quick_settings

from .test_main import cli

__all__ = ["cli"]


def listed(cli, home):
    code, out, err = cli("peer", "peers", "--home", home.directory, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


@in_trio
async def test_neighbours_are_listed_with_what_was_exchanged_with_them(cli, tmp_path):
    async with network_of(tmp_path, 3) as peers:
        first = peers[0]

        def all_is_known():
            seen = first.status().peers
            return len(seen) == 2 and all(
                each["connected"] and each["model_age"] and each["version"] and each["round_trip"]
                for each in seen
            )

        await until(all_is_known, seconds=30)

        async def is_written():
            written = await trio.to_thread.run_sync(read_status, first.home.status)
            return all(each["round_trip"] and each["version"] for each in written["peers"])

        with trio.fail_after(30):
            while not await is_written():
                await trio.sleep(0.1)
        seen = await trio.to_thread.run_sync(listed, cli, first.home)
        assert {each["peer_id"] for each in seen} == {each.status().peer_id for each in peers[1:]}
        for each in seen:
            assert each["version"] == f"gossipfl/{__version__}"
            assert 0 <= time.time() - each["last_success"] < 10
            assert 0 < each["round_trip"] < 0.1  # the kernel's, on loopback
            assert each["reached_at"] == "127.0.0.1"
            assert (each["neighbour"], each["quarantined"], each["failures"]) == (True, False, 0)
        now = {each["peer_id"]: each for each in first.status().peers}
        for counter in ("bytes_sent", "bytes_received"):
            assert sum(each[counter] for each in now.values()) == first.status().network[counter] > 0
        code, out, _ = await trio.to_thread.run_sync(cli, "peer", "peers", "--home", first.home.directory)
        assert code == 0
        assert all(f"{each['peer_id']}  {each['addresses'][0].split('/p2p/')[0]}" in out for each in seen)


@in_trio
async def test_those_the_gate_takes_nothing_from_are_named(tmp_path):
    async with network_of(tmp_path, 2) as (first, second):
        await until(lambda: first.status().peers)
        [liar] = [second.status().peer_id]
        listed = first._started().neighbours.to_values(quarantined=[liar])
        assert [(each["peer_id"], each["quarantined"]) for each in listed] == [(liar, True)]


def test_two_homes_are_refused_by_name(cli, tmp_path):
    for given in (["--home", "a", "--home", "b"], ["--home=a", "--home", "b"]):
        code, out, err = cli("peer", "status", *given)
        assert (code, out) == (2, "")
        assert "--home is given more than once; expected one value; got a, b" in err


def test_a_suspended_peer_is_silent_and_the_status_says_why(cli, tmp_path):
    with PeerProcess(tmp_path / "alice", quick_settings(), forked=True) as peer:
        peer.start("--plain").until_at(step=2)
        os.kill(peer.process.pid, signal.SIGSTOP)
        try:
            values = json.loads(peer.home.status.read_text())
            peer.home.status.write_text(json.dumps({**values, "updated": values["updated"] - 60}))
            os.utime(peer.home.directory / "lock", (values["started"] - 60,) * 2)
            code, out, _ = cli("peer", "status", "--home", peer.home.directory)
            said = " ".join(out.split())
        finally:
            os.kill(peer.process.pid, signal.SIGCONT)
        assert code == 5
        assert f"kill -CONT {peer.process.pid}" in said


@pytest.mark.parametrize("earlier", [None, 60.0])
def test_a_peer_without_a_status_of_this_start_is_starting(cli, tmp_path, earlier):
    with PeerProcess(tmp_path / "alice", quick_settings(), forked=True) as peer:
        if earlier is not None:
            peer.start("--plain").until_at(step=2)
            peer.process.kill()
            peer.process.wait()
            values = json.loads(peer.home.status.read_text())
            peer.home.status.write_text(json.dumps({**values, "updated": values["updated"] - earlier}))
        with peer.home.locked():
            code, out, _ = cli("peer", "status", "--home", peer.home.directory, "--json")
            assert (code, json.loads(out)["state"]) == (4, "starting")
            code, out, _ = cli("peer", "status", "--home", peer.home.directory)
            assert (code, "starting" in out) == (4, True)
        if earlier is not None:
            assert cli("peer", "status", "--home", peer.home.directory)[0] == 3


def test_a_peer_whose_libraries_are_being_imported_is_starting(cli, tmp_path):
    home = Home(tmp_path / "alice")
    home.create(quick_settings())
    assert cli("peer", "status", "--home", home.directory)[0] == 2  # it never ran
    with home.starting(), home.starting():  # the second one started meanwhile ends at the lock
        for options in ([], ["--json"]):
            code, out, _ = cli("peer", "status", "--home", home.directory, *options)
            assert (code, "starting" in out) == (4, True)
        assert (
            json.loads(cli("doctor", "--home", home.directory, "--json")[1])["findings"][0]["seen"]
            == "starting"
        )
        assert liveness_of(home, {"updated": 0.0, "process": 1}).state == "starting"
    assert not home.is_starting()
    assert liveness_of(home, {"updated": 0.0, "process": 1}).state == "stopped"


def test_running_a_peer_shows_that_it_starts_before_torch_is_there(tmp_path):
    home = Home(tmp_path / "alice")
    home.create(quick_settings())
    code = (
        "import sys; from gossipfl.peer.store.home import Home; from gossipfl.cli.main import main\n"
        f"home = Home(__import__('pathlib').Path({str(home.directory)!r}))\n"
        "class Look:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch':\n"
        "            print('starting' if home.is_starting() else 'nothing shown'); sys.exit(7)\n"
        "sys.meta_path.insert(0, Look())\n"
        "sys.argv = ['gossipfl', 'peer', 'run', '--home', str(home.directory)]; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (7, "starting\n"), done.stderr


@pytest.mark.parametrize(
    ("disk", "flags", "said"),
    [(0, 0, "the disk is full"), (1, os.ST_RDONLY, "read-only"), (1, 0, "cannot write it")],
)
def test_a_silence_has_its_reason(tmp_path, monkeypatch, disk, flags, said):
    home = Home(tmp_path / "alice")
    home.create(quick_settings())
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": disk}))
    monkeypatch.setattr("os.statvfs", lambda _: type("Disk", (), {"f_flag": flags}))
    with home.locked():
        os.utime(home.directory / "lock", (0, 0))
        found = liveness_of(home, {"updated": time.time() - 60, "process": os.getpid()})
    assert found.state == "silent"
    assert said in found.reason


def test_a_policy_can_be_tried_without_running_the_peer(cli, tmp_path):
    home = tmp_path / "alice"
    settings = quick_settings(policy={"hours": ["00:00-24:00"], "script": "may-train", "merge": "then"})
    Home(home).create(settings)
    code, _, err = cli("peer", "policy", "--home", home)
    assert (code, "may-train cannot be read: No such file" in err) == (2, True)
    script = home / "may-train"
    script.write_text("#!/bin/sh\ntest ! -e busy || { echo somebody is here; exit 4; }\n")
    script.chmod(0o700)
    code, out, _ = cli("peer", "policy", "--home", home)
    assert (code, out.splitlines()[-1]) == (0, "Training is allowed.")
    (home / "busy").touch()
    code, out, _ = cli("peer", "policy", "--home", home)
    assert (code, out.splitlines()[-1]) == (1, "Training waits.")
    assert "✗ script: may-train exited with code 4: somebody is here" in out
    code, out, _ = cli("peer", "policy", "--home", home, "--json")
    found = json.loads(out)
    assert (code, found["trains"], found["merge"]) == (1, False, "then")
    assert {each["name"]: each["holds"] for each in found["conditions"]} == {"script": False, "hours": True}
    Home(tmp_path / "bob").create(quick_settings())
    code, out, _ = cli("peer", "policy", "--home", tmp_path / "bob")
    assert (code, out) == (0, "[policy] sets no condition.\nTraining is allowed.\n")

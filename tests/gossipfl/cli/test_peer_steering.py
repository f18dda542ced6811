"""A running peer is steered: settings reloaded, paused, resumed, asked to leave; its log says so."""

import json
import re
import signal
import threading
import time

import pytest

from gossipfl.cli.logs import text_of
from gossipfl.peer.control import Requests, read_requests, write_requests
from gossipfl.settings import dump_settings, load_settings
from tests.integration.peers import PeerProcess, quick_settings, records_of

from .test_main import cli

__all__ = ["cli"]


def log_lines(home):
    return [json.loads(line) for line in home.log.read_text().splitlines()] if home.log.exists() else []


def until(condition, *, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def said(home, part):
    return any(part in each["message"] for each in log_lines(home))


def rewrite(home, **tables):
    settings = load_settings(home.settings)
    for table, values in tables.items():
        changed = getattr(settings, table).model_copy(update=values)
        settings = settings.model_copy(update={table: changed})
    home.settings.write_text(dump_settings(settings))


@pytest.fixture
def peer(tmp_path):
    with PeerProcess(tmp_path / "alice", quick_settings(), forked=True) as peer:
        peer.start("--plain", "--exchange-jitter", "0.1").until_at(step=2)
        yield peer


def test_sighup_reloads_what_may_change_and_refuses_the_rest_by_name(peer):
    home = peer.home
    rewrite(home, exchange={"period": 0.03}, evaluation={"period": 0.2}, log={"level": "warning"})
    peer.process.send_signal(signal.SIGHUP)
    until(lambda: said(home, "evaluation.period: 0.2 instead of 0.5 from now on"))
    until(lambda: said(home, "exchange.period: 0.03 instead of 0.05 from now on"))
    assert not said(home, "exchange.jitter")  # which a flag gave

    rewrite(home, exchange={"period": 0.04}, training={"learning_rate": 0.2})
    peer.process.send_signal(signal.SIGHUP)
    until(
        lambda: said(home, "training.learning_rate: cannot change while the peer runs; nothing was changed")
    )
    assert not said(home, "exchange.period: 0.04")

    home.settings.write_text("[training]\nlearing_rate = 0.1\n")
    peer.process.send_signal(signal.SIGHUP)
    until(lambda: said(home, "unknown key"))

    step = peer.status()["step"]
    peer.until_at(step=step + 2)  # it goes on
    peer.process.terminate()
    assert peer.process.wait(timeout=60) == 0
    status = json.loads(home.status.read_text())
    assert status["saved_age"] == status["age"]
    assert re.search(
        r"stopped on SIGTERM: age \d+, .*; the same is kept in .*checkpoint.safetensors", peer.out
    )
    assert not said(home, "stopped on SIGTERM")  # below the level since


def test_a_paused_peer_neither_trains_nor_merges_also_after_a_restart(cli, peer):
    home = peer.home
    assert json.loads(cli("peer", "pause", "--home", home.directory, "--json")[1]) == {
        "paused": True,
        "running": True,
    }
    code, out, _ = cli("peer", "status", "--home", home.directory)
    assert code == 0
    assert "running, but: paused" in out
    event = until(peer.status)["event"]
    evaluations = len(records_of(home, "evaluation"))
    until(lambda: len(records_of(home, "evaluation")) > evaluations + 2)  # it lives
    assert peer.status()["event"] == event

    peer.process.terminate()
    peer.process.wait(timeout=60)
    assert said(home, "stopped on SIGTERM")
    assert said(home, "the same is kept in")
    peer.start("--plain")
    until(
        lambda: (status := peer.status()) and any(each["name"] == "paused" for each in status["conditions"])
    )
    event = peer.status()["event"]
    assert cli("peer", "resume", "--home", home.directory)[1] == "Resumed.\n"
    peer.until_at(event=event + 3)
    assert peer.status()["conditions"] == []


def test_neighbours_hear_a_farewell_and_count_no_failures(cli, tmp_path):
    with PeerProcess(tmp_path / "alice", quick_settings(), forked=True) as alice:
        alice.start("--plain").until_at(step=1)
        [address] = alice.status()["addresses"]
        with PeerProcess(tmp_path / "bob", quick_settings(1, bootstrap=[address]), forked=True) as bob:
            bob.start("--plain").until_at(neighbours=1)
            alice.until_at(neighbours=1)
            code, out, _ = cli("peer", "leave", "--home", bob.home.directory, "--json")
            assert code == 0
            left = json.loads(out)
            assert left["saved_age"] == left["age"] > 0
            assert bob.process.wait(timeout=60) == 0
            assert "stopped by gossipfl peer leave: age" in bob.out
            until(lambda: alice.status()["neighbours"] == 0)
            assert said(alice.home, f"neighbour {left['peer_id'][:16]}… has left")
            count = len(records_of(alice.home, "evaluation"))
            until(lambda: len(records_of(alice.home, "evaluation")) > count + 3)
            outcomes = [each["outcome"] for each in records_of(alice.home, "exchange")[-5:]]
            assert set(outcomes) <= {"ok", "peer_busy"}, outcomes

            code, _, err = cli("peer", "leave", "--home", bob.home.directory)
            assert (code, "is not running" in err) == (2, True)
            bob.start("--plain").until_at(neighbours=1)  # and it may come back
            alice.until_at(neighbours=1)


def test_damaged_requests_are_named_and_without_effect(cli, peer):
    peer.home.requests.write_text("{")
    until(lambda: said(peer.home, "requests.json is damaged"))
    code, _, err = cli("peer", "pause", "--home", peer.home.directory)
    assert (code, "requests.json is damaged" in err) == (2, True)
    assert cli("peer", "resume", "--home", peer.home.directory)[0] == 0
    assert read_requests(peer.home.requests) == Requests()
    assert peer.home.requests.stat().st_mode & 0o077 == 0


def test_a_request_to_leave_is_for_one_start(peer):
    write_requests(peer.home.requests, Requests(leaves=peer.status()["incarnation"] - 1))
    step = peer.status()["step"]
    peer.until_at(step=step + 5)


def test_the_log_is_read_and_followed(cli, peer, capsys):
    home = peer.home
    assert home.log.stat().st_mode & 0o077 == 0
    home.log.with_name("peer.log.1").write_text(
        '{"time": "2026-01-02T03:04:05.000+00:00", "level": "info", "source": "x", "message": "older"}\n'
    )
    peer.process.send_signal(signal.SIGHUP)
    until(lambda: said(home, "the data are as before"))
    code, out, _ = cli("peer", "log", "--home", home.directory, "--lines", 0)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].endswith("INFO older")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO the data are as before: 60 samples", lines[-1])
    out = cli("peer", "log", "--home", home.directory, "--lines", 1, "--json")[1]
    assert [json.loads(each)["message"] for each in out.splitlines()] == [
        "the data are as before: 60 samples"
    ]

    from gossipfl.cli.peer_views import _new_lines

    found = []
    follower = threading.Thread(
        target=lambda: found.extend(each for _, each in zip(range(2), _new_lines(home.log), strict=False)),
        daemon=True,
    )
    follower.start()
    for number in range(200):
        if len(found) == 2:
            break
        if number == 5:
            home.log.rename(home.log.with_name("peer.log.2"))
        with home.log.open("a") as file:
            file.write(f"line {number}\n")
        time.sleep(0.05)
    follower.join(timeout=10)
    assert len(found) == 2


def test_a_log_that_never_began_says_when_it_does(cli, tmp_path):
    with PeerProcess(tmp_path / "alice", quick_settings()) as peer:
        code, _, err = cli("peer", "log", "--home", peer.home.directory)
    assert (code, "It begins when the peer is run" in err) == (2, True)


@pytest.mark.parametrize("line", ["", "5", "{", '{"time": 1}'])
def test_torn_lines_of_a_log_are_printed_as_they_are(line):
    assert text_of(line) == line

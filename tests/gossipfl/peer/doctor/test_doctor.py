"""The doctor: each thing is broken in turn, and is found with a remedy."""

import json
import re
import shutil
import socket
import time
from contextlib import asynccontextmanager

import pytest
import trio

from gossipfl.files import write_atomically
from gossipfl.machine import available_memory
from gossipfl.network import load_identity, load_or_create_identity
from gossipfl.peer import Home, Peer, read_status
from gossipfl.peer.doctor import addresses, files
from gossipfl.peer.doctor.diagnosis import diagnose
from gossipfl.peer.doctor.machine import check_memory, check_page, check_versions
from gossipfl.peer.doctor.neighbours import check_clock, check_links, check_reachability, check_translation
from gossipfl.peer.membership import described
from gossipfl.peer.membership.founding import found
from gossipfl.peer.membership.store import MembershipStore
from tests.gossipfl.cli.test_main import cli
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.test_full_disk import remount, small_disk
from tests.integration.peers import network_of, quick_settings

__all__ = ["cli"]


def stopped(directory, **tables):
    """The home of a peer that has never run."""
    home = Home(directory)
    home.create(quick_settings(**tables))
    load_or_create_identity(directory)
    return home


def found_in(home):
    """What the doctor finds, by name."""
    findings = diagnose(home)
    assert all(each.remedy for each in findings if each.level != "ok")
    named = {each.name: each for each in findings}
    assert len(named) == len(findings)
    return named


def levels(home):
    return {name: each.level for name, each in found_in(home).items()}


@asynccontextmanager
async def two_peers(directory, **tables):
    """Two peers that are connected."""
    async with network_of(directory, 2, **tables) as peers:
        await until(
            lambda: all(
                peer.home.status.exists() and read_status(peer.home.status)["connected"] for peer in peers
            )
        )
        yield peers


async def doctor(peer):
    """What the doctor finds once the status is of now."""
    return await trio.to_thread.run_sync(found_in, peer.home)


@in_trio
async def test_a_healthy_network_has_only_its_loopback_addresses_noted(tmp_path):
    async with two_peers(tmp_path, page={"enabled": True}) as [alice, bob]:
        await until(lambda: all(each["version"] for each in read_status(alice.home.status)["peers"]))
        findings = await doctor(alice)
        link = f"link {bob.home.directory and bob.status().peer_id[:16]}…"
        assert {name: each.level for name, each in findings.items() if each.level != "ok"} == {
            "addresses": "warning"
        }
        assert {"peer", "disk", "port", "reachability", "nat", "clock", "versions", "memory", link} <= set(
            findings
        )
        assert "reached by neighbours on this machine" in findings["reachability"].seen
        assert "calls the peer healthy" in findings["page"].seen


@in_trio
async def test_a_clock_that_differs_from_a_neighbours_is_found(tmp_path):
    async with two_peers(tmp_path) as [alice, bob]:
        bob._incarnation.examiner._service._clock = lambda: time.time() - 7200
        clock = (await doctor(alice))["clock"]
        assert clock.level == "error"
        assert re.match(r"7[12]\d\d\.\d s ahead of that of 1 of 1 neighbours", clock.seen)
        clock = (await doctor(bob))["clock"]  # whose it is
        assert re.match(r"7[12]\d\d\.\d s behind that of 1 of 1 neighbours", clock.seen)


def test_a_stopped_peer_is_examined_as_far_as_it_can_be(tmp_path, cli):
    home = stopped(tmp_path / "alice")
    assert levels(home) == {
        **dict.fromkeys(
            ("settings", "secrets", "disk", "membership", "clock", "memory", "versions", "page", "port"), "ok"
        ),
        "peer": "warning",
        "bootstrap": "warning",
    }
    code, out, _ = cli("doctor", "--home", home.directory)
    assert code == 0
    assert "warning  peer: stopped" in out
    assert "→ Start it: gossipfl peer run" in out
    assert cli("doctor", "--home", tmp_path / "nobody")[0] == 2


def test_an_occupied_port_is_found_before_the_start(tmp_path, cli):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        home = stopped(tmp_path / "alice", network={"listen": [f"/ip4/127.0.0.1/tcp/{port}"]})
        assert levels(home)["port"] == "error"
        code, out, _ = cli("doctor", "--home", home.directory, "--json")
        assert code == 1
        values = json.loads(out)
        [found] = [each for each in values["findings"] if each["name"] == "port"]
        assert values["worst"] == found["level"] == "error"
        assert f"Another program has port {port}" in found["remedy"]
    assert levels(home)["port"] == "ok"


def test_an_address_that_the_machine_does_not_have_is_found(tmp_path):
    home = stopped(
        tmp_path / "alice", network={"listen": ["/ip4/203.0.113.7/tcp/0"]}, membership={"door": "open"}
    )
    assert "No interface" in found_in(home)["port"].remedy


def test_a_disk_that_is_full_or_read_only_is_found(tmp_path):
    with small_disk(tmp_path / "disk", kilobytes=32_000):
        home = stopped(tmp_path / "disk" / "alice", records={"keep_megabytes": 1})
        assert levels(home)["disk"] == "ok"
        (tmp_path / "disk" / "ballast").write_bytes(bytes(20_000_000))
        assert "needs" in found_in(home)["disk"].seen
        with pytest.raises(OSError, match="No space"), (tmp_path / "disk" / "more").open("wb") as file:
            file.write(bytes(20_000_000))
        disk = found_in(home)["disk"]
        assert disk.level == "error"
        assert "No space left" in disk.seen
        remount(tmp_path / "disk", "ro")
        assert "Read-only" in found_in(home)["disk"].seen
        remount(tmp_path / "disk", "rw")
    assert not list((tmp_path / "disk").iterdir())


def test_records_that_may_fill_the_disk_are_warned_of(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    home = stopped(tmp_path / "alice", records={"keep_megabytes": 2 * free / 1e6})
    disk = found_in(home)["disk"]
    assert disk.level == "warning"
    assert "records.keep_megabytes" in disk.remedy
    assert not [each for each in home.directory.iterdir() if each.name.startswith(".")]


def test_secrets_that_others_can_read_and_a_lost_key_are_found(tmp_path):
    home = stopped(tmp_path / "alice")
    key = home.directory / "identity.key"
    key.chmod(0o640)
    assert str(key) in found_in(home)["secrets"].seen
    key.chmod(0o600)
    write_atomically(home.page_token, b"token")
    home.page_token.chmod(0o604)
    assert found_in(home)["secrets"].level == "error"
    home.page_token.unlink()
    key.unlink()
    assert "backup" in found_in(home)["secrets"].remedy


def test_wrong_settings_end_the_examination(tmp_path):
    home = stopped(tmp_path / "alice")
    home.settings.write_text("[training]\nlearing_rate = 1\n")
    assert levels(home) == {"peer": "warning", "settings": "error", "secrets": "ok"}
    home.settings.write_text('[gossip]\nalgorithm = "gosip"\n')
    assert levels(home)["settings"] == "error"


def test_a_peer_that_would_be_open_to_all_machines_is_found(tmp_path):
    home = stopped(tmp_path / "alice", network={"listen": ["/ip4/0.0.0.0/tcp/0"]})
    membership = found_in(home)["membership"]
    assert membership.level == "error"
    assert "gossipfl network create" in membership.remedy


def test_bootstrap_peers_that_do_not_answer_are_found(tmp_path):
    peer_id = "12D3KooWAxA4SRgJ63TF5MV74oqUQYg4fNHdyiZSu2bYCC9G5BJ3"
    with socket.create_server(("127.0.0.1", 0)) as there, socket.create_server(("127.0.0.1", 0)) as gone:
        ports = [each.getsockname()[1] for each in (there, gone)]
        gone.close()
        bootstrap = [f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id}" for port in ports]
        home = stopped(tmp_path / "alice", bootstrap=bootstrap)
        found = found_in(home)["bootstrap"]
        assert found.level == "warning"
        assert f"tcp/{ports[1]}/p2p/{peer_id} (connection refused)" in found.seen
    assert levels(home)["bootstrap"] == "error"
    (tmp_path / "peers").write_text(
        f"{bootstrap[0]}\n/ip4/127.0.0.1/tcp/1/p2p/{load_identity(home.directory).peer_id}\n"
    )
    home = stopped(tmp_path / "bob", bootstrap_={"file": str(tmp_path / "peers")})
    assert "0 of 2 answer" in found_in(home)["bootstrap"].seen


@pytest.mark.parametrize(
    ("problem", "remedy"),
    [
        ("network is unreachable", "This machine has no network"),
        ("temporary failure in name resolution", "getent hosts peers.example"),
        ("connection refused", "Start these peers"),
    ],
)
def test_what_to_do_about_first_peers_depends_on_why_they_do_not_answer(monkeypatch, problem, remedy):
    monkeypatch.setattr(addresses, "_dial", lambda _: problem)
    peer_id = "12D3KooWAxA4SRgJ63TF5MV74oqUQYg4fNHdyiZSu2bYCC9G5BJ3"
    found = addresses.check_bootstrap([f"/dns4/peers.example/tcp/4001/p2p/{peer_id}"], connected=0)
    assert found.level == "error"
    assert remedy in found.remedy
    assert found.remedy.count("This machine") == (problem == "network is unreachable")


def test_a_certificate_that_ends_is_found(tmp_path, monkeypatch):
    home = stopped(tmp_path / "alice")
    found(MembershipStore(home.membership), load_or_create_identity(home.directory), name="lab", charter={})
    assert found_in(home)["membership"].seen.startswith("issuer of network 'lab' until")
    expires = described.network_of(MembershipStore(home.membership))["certificate"]["expires"]
    for days, level in ((-5, "warning"), (1, "error")):
        monkeypatch.setattr(files.time, "time", lambda days=days: expires + 86_400 * days)
        assert files.check_membership(home, quick_settings()).level == level


def test_a_clock_behind_the_last_start_is_found(tmp_path):
    home = stopped(tmp_path / "alice")
    home.next_incarnation(now=time.time() + 3600)
    assert levels(home)["clock"] == "error"


@in_trio
async def test_a_peer_alone_is_found(tmp_path):
    async with network_of(tmp_path, 1) as [alice]:
        await until(alice.home.status.exists)
        findings = await doctor(alice)
        assert findings["neighbours"].level == "error"
        assert findings["reachability"].level == findings["clock"].level == "warning"


@in_trio
async def test_what_the_peer_reports_is_repeated(tmp_path):
    async with two_peers(tmp_path) as [alice, _]:
        alice.conditions.note("copy", "there are two")
        alice.conditions.note("restored", "this start is the first after a restore")
        since = time.time()
        await until(lambda: json.loads(alice.home.status.read_text())["updated"] > since)
        found = await doctor(alice)
        assert found["condition copy"].level == "error"
        assert found["condition restored"].level == "warning"


def test_memory_is_compared_with_the_model():
    assert check_memory(1_000_000, process=None).level == "ok"
    assert check_memory(available_memory(), process=None).level == "error"


def test_other_versions_are_named():
    same = check_versions(None, {"a": None})
    assert same.level == "ok"
    assert "Restart" in check_versions("0.0.1", {}).remedy
    others = check_versions(None, {"a": "gossipfl/0.0.1", "b": None})
    assert "1 of 2 peers say that they run gossipfl/0.0.1" in others.seen


def test_a_page_that_does_not_answer_is_found():
    settings = quick_settings(page={"enabled": True})
    assert check_page(settings, None, running=True).level == "warning"
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"http://127.0.0.1:{gone.getsockname()[1]}/"
    assert check_page(settings, address, running=True).level == "error"


def seen(*neighbours, **changes):
    """An examination of a peer at 192.168.1.2."""
    values = {
        "announced": ["/ip4/192.168.1.2/tcp/4001"],
        "is_announced": False,
        "interfaces": ["127.0.0.1", "192.168.1.2"],
        "relayed": False,
    }
    return {**values, **changes, "neighbours": list(neighbours)}


def by(name, host, how="reached", offset=0.0, *, at="203.0.113.7"):
    """What a neighbour at `at` says, which sees this peer at `host`."""
    return {
        "reached_at": at,
        "peer_id": name,
        "host": host,
        "ports": {"4001": how},
        "clock_offset": offset,
        "round_trip": 0.1,
    }


@pytest.mark.parametrize(
    ("examination", "reachability", "nat"),
    [
        (seen(by("a", "192.168.1.2")), "ok", "ok"),
        (seen(by("a", "9.9.9.9", "unreached")), "error", "ok"),
        (seen(by("a", "9.9.9.9", "unreached"), relayed=True), "warning", "ok"),
        (seen(by("a", "9.9.9.9", "unreached"), by("b", "9.9.9.9")), "ok", "ok"),
        (seen(by("a", "9.9.9.9", "not tried")), "warning", "ok"),
        (seen(by("a", "9.9.9.9"), by("b", "9.9.9.8")), "ok", "warning"),
        (seen(by("a", "9.9.9.9"), announced=["/ip4/9.9.9.8/tcp/4001"], is_announced=True), "ok", "warning"),
        (seen(by("a", "9.9.9.9"), announced=["/ip4/9.9.9.9/tcp/4001"], is_announced=True), "ok", "ok"),
        (seen(by("a", "9.9.9.9"), announced=["/dns4/a.example/tcp/4001"], is_announced=True), "ok", "ok"),
        (seen(by("a", "192.168.1.2", "unreached"), by("b", "127.0.0.1", at="127.0.0.1")), "error", "ok"),
        (seen(by("a", "192.168.1.2", at="192.168.1.2")), "ok", "ok"),
        (seen({"peer_id": "a", "failure": "of an older version"}), "warning", "ok"),
    ],
)
def test_what_neighbours_say_of_addresses(examination, reachability, nat):
    assert check_reachability(examination).level == reachability
    assert check_translation(examination).level == nat


def test_only_neighbours_elsewhere_show_that_a_peer_can_be_reached():
    here = check_reachability(seen(by("a", "192.168.1.2", at="192.168.1.2")))
    assert "none elsewhere" in here.seen
    there = check_reachability(seen(by("a", "192.168.1.2", at="192.168.1.3")))
    assert there.seen == "1 of 1 neighbours reached 192.168.1.2 port 4001"


@pytest.mark.parametrize(
    ("offsets", "level", "said"),
    [
        ([0.1, -0.3, 0.0], "ok", "within 0.30 s of 3"),
        ([0.0, 0.1, 900.0], "warning", "right, as most say"),
        ([5.0, 5.1, 0.0], "warning", "5.0 s behind that of 2 of 3"),
        ([-900.0, -900.1, -899.0], "error", "900.0 s ahead of that of 3 of 3"),
        ([], "warning", "no neighbour told"),
    ],
)
def test_what_neighbours_say_of_the_clock(offsets, level, said):
    found = check_clock(seen(*(by(str(each), "9.9.9.9", offset=each) for each in offsets)))
    assert found.level == level
    assert said in found.seen


def test_links_are_described():
    link = {"peer_id": "1" * 52, "connected": True, "round_trip": 0.02, "failures": 0, "upload": 125_000.0}
    good, slow, failing = check_links(
        [link, {**link, "round_trip": 2.0}, {**link, "failures": 2}, {**link, "connected": False}], {}
    )
    assert (good.level, slow.level, failing.level) == ("ok", "warning", "warning")
    assert good.seen == "round trip 20.0 ms, upload 1 Mbit/s"


def test_links_that_no_row_has_measured_are_measured():
    link = {"peer_id": "1" * 52, "connected": True, "round_trip": 0.02, "failures": 0, "upload": 125_000.0}
    own = {"bytes_per_second": 250_000.0, "is_least": False}
    measured = {link["peer_id"]: {"upload": own, "download": own}}
    said = "round trip 20.0 ms, upload 1 Mbit/s, download about 2 Mbit/s"  # rows know better
    assert check_links([link], measured)[0].seen == said
    measured = {link["peer_id"]: {"upload": own, "download": {**own, "is_least": True}}}
    unmeasured = {**link, "upload": None}
    said = "round trip 20.0 ms, upload about 2 Mbit/s, download more than 2 Mbit/s"
    assert check_links([unmeasured], measured)[0].seen == said
    measured = {link["peer_id"]: {"failure": "the neighbour is busy"}}
    said = "round trip 20.0 ms, bandwidth not measured: the neighbour is busy"
    assert check_links([unmeasured], measured)[0].seen == said


@in_trio
async def test_the_link_of_a_small_model_is_measured_unless_the_operator_paused(tmp_path):
    async with two_peers(tmp_path) as [alice, bob]:
        name = f"link {bob.status().peer_id[:16]}…"
        alice._incarnation.policy.permissions.pause()
        assert "policy, pause, cap" in (await doctor(alice))[name].seen
        alice._incarnation.policy.permissions.resume()
        bob._incarnation.policy.permissions.pause()
        assert "measures no link now" in (await doctor(alice))[name].seen
        bob._incarnation.policy.permissions.resume()
        assert re.search(
            r"upload (about|more than) \S+ Mbit/s, download (about|more than) ",
            (await doctor(alice))[name].seen,
        )
        assert "twice within a minute" in (await doctor(alice))[name].seen


def test_a_peer_object_is_found_running_by_its_lock(tmp_path):
    peer = Peer(tmp_path / "alice", settings=quick_settings())
    with peer.home.locked():
        assert levels(peer.home)["peer"] == "warning"  # it starts

"""Discovery: peers in a file that changes, and on the local network."""

import importlib.util
import socket

import pytest
import trio

from gossipfl.errors import SettingError
from gossipfl.peer import Peer
from gossipfl.peer.gossip import lan
from gossipfl.peer.gossip.discovery import Discovery, peers_in
from gossipfl.settings import parse_settings
from gossipfl.wire import PeerDescriptor
from tests.gossipfl.network.helpers import identity_of, in_trio, until
from tests.integration.peers import quick_settings, running

A, B = (identity_of(name).peer_id for name in "AB")


def test_a_file_has_an_address_a_line_and_comments(caplog):
    text = f"""# our peers
/ip4/10.0.0.1/tcp/4001/p2p/{A}   # the hub

/dns4/b.example/tcp/1/p2p/{B}
/ip4/10.0.0.2/tcp/4001/p2p/{A}
/ip4/10.0.0.3/tcp/4001
/ip4/10.0.0/tcp/4001/p2p/{A}
nonsense
"""
    assert peers_in(text, source="peers.txt") == {
        A: (f"/ip4/10.0.0.1/tcp/4001/p2p/{A}", f"/ip4/10.0.0.2/tcp/4001/p2p/{A}"),
        B: (f"/dns4/b.example/tcp/1/p2p/{B}",),
    }
    for number in (6, 7, 8):
        assert f"peers.txt, line {number} was skipped" in caplog.text
    assert "/p2p/PEER_ID" in caplog.text


def test_what_sources_name_is_put_together_and_given_on_when_it_changes():
    given = []
    settings = [PeerDescriptor(peer_id=A, addresses=("/ip4/10.0.0.1/tcp/1",))]
    discovery = Discovery(settings, given.append)
    discovery.found("file", {A: ("/ip4/10.0.0.2/tcp/1", "/ip4/10.0.0.1/tcp/1"), B: ("/ip4/10.0.0.3/tcp/1",)})
    discovery.found("file", {A: ("/ip4/10.0.0.2/tcp/1", "/ip4/10.0.0.1/tcp/1"), B: ("/ip4/10.0.0.3/tcp/1",)})
    discovery.found("file", {})
    assert given == [
        {A: ("/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1"), B: ("/ip4/10.0.0.3/tcp/1",)},
        {A: ("/ip4/10.0.0.1/tcp/1",)},
    ]


def test_rounds_need_no_discovery():
    with pytest.raises(SettingError, match="roster"):
        parse_settings({"rounds": {"algorithm": "d-psgd"}, "bootstrap": {"mdns": True}}, source="a test")


@in_trio
async def test_a_running_peer_meets_who_is_written_into_its_file(tmp_path):
    hub, peer = (
        Peer(tmp_path / name, settings=quick_settings(number, bootstrap_={"file": "peers.txt"}))
        for number, name in enumerate(("hub", "peer"))
    )
    async with running(hub, peer):
        await trio.sleep(0)
        assert not len(peer._incarnation.view)
        (peer.home.directory / "peers.txt").write_text("# nobody yet\n")
        (peer.home.directory / "peers.txt").write_text(f"{hub.status().addresses[0]}\n")
        await until(lambda: hub.status().peer_id in peer._incarnation.view.neighbours)
        await until(lambda: peer.status().peer_id in hub._incarnation.view.neighbours)


def multicasts_on_loopback() -> bool:
    """Whether what is sent to a group on this machine's loopback arrives there."""
    group, own = socket.inet_aton("224.0.0.251"), socket.inet_aton("127.0.0.1")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(type=receiver.type) as sender,
    ):
        try:
            receiver.bind(("", 0))
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + own)
            receiver.settimeout(1.0)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
            sender.sendto(b"?", ("224.0.0.251", receiver.getsockname()[1]))
            return receiver.recv(1) == b"?"
        except OSError:
            return False


@in_trio
async def test_peers_of_one_task_find_each_other_on_the_local_network(tmp_path):
    if importlib.util.find_spec("zeroconf") is None:
        pytest.skip("needs gossipfl[mdns]")
    if not multicasts_on_loopback():
        pytest.skip("this machine's loopback carries no multicast")
    first, second = (
        Peer(tmp_path / f"peer-{number}", settings=quick_settings(number, bootstrap_={"mdns": True}))
        for number in range(2)
    )
    stranger = Peer(
        tmp_path / "stranger",
        settings=quick_settings(2, options={"name": "plants"}, bootstrap_={"mdns": True}),
    )
    async with running(first, second, stranger):
        await until(lambda: second.status().peer_id in first._incarnation.view.neighbours, seconds=30)
        await until(lambda: first.status().peer_id in second._incarnation.view.neighbours)
        assert not len(stranger._incarnation.view)


def test_what_the_local_network_says_is_bounded_and_only_names_addresses():
    given = []
    discovery = Discovery([], given.append)
    network = lan.LocalNetwork(peer_id=A, addresses=lambda: (), task=b"t", discovery=discovery)
    task = {b"task": network._task.encode()}
    for number in range(100):
        name = f"{identity_of(str(number)).peer_id}._gossipfl._tcp.local."
        network._heard(name, task, ["10.0.0.1", "fe80::1", "10.0.0.2", "10.0.0.3", "10.0.0.4"], 4001)
    assert len(given[-1]) == 32
    assert all(len(each) <= 4 for each in given[-1].values())
    count = len(given)
    network._heard(f"{A}._gossipfl._tcp.local.", task, ["10.0.0.1"], 4001)  # oneself
    network._heard(f"{B}._gossipfl._tcp.local.", {b"task": b"other"}, ["10.0.0.1"], 4001)
    network._heard("a/b._gossipfl._tcp.local.", task, ["10.0.0.1"], 4001)
    network._heard(f"{B}._gossipfl._tcp.local.", task, ["no address"], 4001)
    assert len(given) == count
    network._heard(f"{identity_of('0').peer_id}._gossipfl._tcp.local.", {}, [], 0)
    assert len(given[-1]) == 31


def test_a_missing_library_is_named(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(lan.importlib, "import_module", missing)
    with pytest.raises(SettingError, match=r"gossipfl\[mdns\]"):
        lan.require_zeroconf()

"""Whole peers in network namespaces: parted halves, several interfaces, new addresses, firewalls and routers."""

import json
import time
from contextlib import ExitStack

import pytest

from gossipfl.peer import Home

from .namespaces import ONE_WAY, PUBLIC, connected_to, lab, needs_namespaces, two_behind_routers, within
from .peers import PeerProcess, quick_settings, record_lines

pytestmark = [needs_namespaces, pytest.mark.slow]

PORT = 4001


class Peers:
    """Peers of a test, each in a namespace; killed at its end. Whoever asks one for its address waits for it."""

    def __init__(self, directory, stack: ExitStack) -> None:
        self._directory, self._stack = directory, stack
        self._count = 0

    def start(self, namespace, *, listen="/ip4/0.0.0.0/tcp/4001", bootstrap=(), **tables) -> PeerProcess:
        """Start a peer that is open to all."""
        tables["network"] = {"listen": [listen], **tables.get("network", {})}
        tables["membership"] = {"door": "open"}
        settings = quick_settings(self._count, bootstrap=bootstrap, **tables)
        peer = PeerProcess(self._directory / f"peer-{self._count}", settings, namespace=namespace)
        self._count += 1
        return self._stack.enter_context(peer).start()


@pytest.fixture
def network():
    with lab() as spaces:
        yield spaces


@pytest.fixture
def peers(network, tmp_path):  # killed before their namespaces go
    with ExitStack() as stack:
        yield Peers(tmp_path, stack)


def until(condition, *, seconds=60.0, pause=0.1):
    """Wait for a condition, and give the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "the condition has not come true"
        time.sleep(pause)
    return time.monotonic() - began


def peer_id(peer) -> str:
    return peer.until_at(seconds=120)["peer_id"]


def addresses(peer) -> tuple[str, ...]:
    return tuple(peer.until_at(seconds=120)["addresses"])


def connections(peer) -> tuple[int, int]:
    """How many connections a peer has accepted and dialled."""
    counted = peer.status()["network"]
    return counted["connections_accepted"], counted["connections_dialled"]


def exchanged(peer, *, since=0.0) -> set[str]:
    """Those with whom a peer began an exchange that succeeded."""
    return {
        each["neighbour"]
        for each in record_lines(peer.home)
        if each["kind"] == "exchange" and each["time"] >= since and each["outcome"] == "ok"
    }


def merged(peer, *, since=0.0) -> set[str]:
    """Those whose models a peer took in."""
    return {
        each["sender"]
        for each in record_lines(peer.home)
        if each["kind"] == "merge" and each["time"] >= since
    }


def known_addresses(home: Home) -> dict[str, list[str]]:
    """Where a peer finds those that it has met, as it keeps them on the disk."""
    try:
        known = json.loads(home.acquaintances.read_text())["peers"]
    except FileNotFoundError:
        return {}
    return {each["peer_id"]: each["addresses"] for each in known}


def at(host, peer, *, port=PORT) -> str:
    family = "ip6" if ":" in host else "ip4"
    return f"/{family}/{host}/tcp/{port}/p2p/{peer_id(peer)}"


#: Periods of peers whose link is cut for a short while, and those of an operator's peers.
OFTEN = {"exchange": {"period": 0.2}, "view": {"period": 0.2}, "network": {"silence_seconds": 6.0}}
OPERATORS = {
    "exchange": {"period": 1.0, "deadline": 20.0, "patience": 10.0},
    "view": {"period": 10.0},
    "network": {"silence_seconds": 15.0},
    "checkpoint": {"period": 5.0},
    "evaluation": {"period": 10.0},
}


@pytest.mark.parametrize(
    ("seconds", "periods", "most"),
    [
        pytest.param(40.0, OFTEN, 60.0, id="40s"),
        pytest.param(600.0, OPERATORS, 900.0, id="600s", marks=pytest.mark.timeout(2400)),
    ],
)
def test_halves_part_and_heal_without_a_bootstrap_across(network, peers, seconds, periods, most):
    """Four peers each; whoever brought the halves together is gone when the link between them breaks."""
    left, right = network.switch("left"), network.switch("right")
    link = network.connect(left, right)
    hosts = {}
    for switch, number in ((left, 1), (right, 2)):
        hosts[switch] = [network.host(f"h{number}{each}") for each in range(4)]
        for each, host in enumerate(hosts[switch], start=1):
            network.connect(switch, host, f"10.0.{number}.{each}/16")
    hubs = [peers.start(hosts[switch][0], **periods) for switch in (left, right)]
    halves = [
        [hub, *(peers.start(host, bootstrap=addresses(hub), **periods) for host in hosts[switch][1:])]
        for hub, switch in zip(hubs, (left, right), strict=True)
    ]
    everyone = [peer for half in halves for peer in half]
    joiner_host = network.host("joiner")
    network.connect(left, joiner_host, "10.0.1.9/16")
    joiner = peers.start(
        joiner_host, bootstrap=[address for hub in hubs for address in addresses(hub)], **periods
    )
    ids = [{peer_id(peer) for peer in half} for half in halves]
    until(lambda: all(peer.status()["neighbours"] >= 7 for peer in everyone), seconds=120)
    joiner.process.terminate()
    joiner.process.wait(30)
    others = {id(peer): ids[1 - number] for number, half in enumerate(halves) for peer in half}
    until(lambda: all(exchanged(peer) & others[id(peer)] for peer in everyone), seconds=120)

    within(right, "ip", "link", "set", link, "down")
    cut, before = time.time(), [peer.status()["age"] for peer in everyone]
    forgotten = until(lambda: all(peer.status()["neighbours"] == 3 for peer in everyone), seconds=120)
    time.sleep(max(0.0, cut + seconds - time.time()))
    learned = [peer.status()["age"] - age for peer, age in zip(everyone, before, strict=True)]
    assert min(learned) > 0.5 * seconds / periods["exchange"]["period"]
    quiet = cut + 30.0  # what was under way may have failed late
    assert not any(exchanged(peer, since=quiet) & others[id(peer)] for peer in everyone)

    within(right, "ip", "link", "set", link, "up")
    back = time.time()

    def waited():
        return time.time() - back

    def across(peer):
        return merged(peer, since=back) & others[id(peer)]

    until(lambda: any(across(peer) for peer in everyone), seconds=most)
    first = waited()
    until(lambda: all(across(peer) for peer in everyone), seconds=most)
    each = waited()
    until(lambda: all(peer.status()["neighbours"] == 7 for peer in everyone), seconds=most)
    print(
        f"\nlink down for {seconds:g} s: forgotten after {forgotten:.0f} s, ages grew by {min(learned)} … "
        f"{max(learned)} meanwhile. After the link was back: first model across after {first:.1f} s, one at each "
        f"peer after {each:.1f} s, everybody a neighbour again after {waited():.1f} s"
    )


@pytest.mark.parametrize(
    ("listen", "lans"),
    [("/ip4/0.0.0.0/tcp/4001", ("10.1.0", "10.2.0")), ("/ip6/::/tcp/4001", ("fd01::1", "fd02::1"))],
    ids=["ip4", "ip6"],
)
def test_a_peer_on_two_networks_announces_both_without_a_default_route(network, peers, listen, lans):
    """It used to announce its loopback address to everybody, and no network meshed."""

    def host_at(lan, number):
        return f"{lan}:{number}" if ":" in lan else f"{lan}.{number}"

    switches = [network.switch(f"lan{each}") for each in range(2)]
    both = network.host("both")
    length = 64 if ":" in listen else 24
    for switch, lan in zip(switches, lans, strict=True):
        network.connect(switch, both, f"{host_at(lan, 1)}/{length}")
    middle = peers.start(both, listen=listen)
    assert set(addresses(middle)) == {at(host_at(lan, 1), middle) for lan in lans}

    members = []
    for switch, lan in zip(switches, lans, strict=True):
        for number in (2, 3):
            host = network.host(f"{len(members)}")
            network.connect(switch, host, f"{host_at(lan, number)}/{length}")
            bootstrap = [at(host_at(lan, 1), middle)]
            members.append((host_at(lan, number), peers.start(host, listen=listen, bootstrap=bootstrap)))
    for host, peer in members:
        assert addresses(peer) == (at(host, peer),)
    ids = [peer_id(peer) for _, peer in members]
    for number, (_, peer) in enumerate(members):
        near = ids[number ^ 1]  # whom only the peer in the middle can have named
        until(lambda peer=peer, near=near: exchanged(peer) >= {near, peer_id(middle)})
    until(lambda: exchanged(middle) >= set(ids))


def test_a_peer_that_nobody_can_reach_says_so_until_it_has_an_address(network, peers):
    host, switch = network.host("alone"), network.switch("lan")
    peer = peers.start(host)
    assert addresses(peer) == (at("127.0.0.1", peer),)
    until(lambda: "no interface of this machine has an address that others can reach" in peer.err)
    network.connect(switch, host, "10.1.0.1/24")
    until(lambda: addresses(peer) == (at("10.1.0.1", peer),))


def test_peers_behind_a_router_are_dialled_where_others_observe_them(network, peers):
    """The router forwards one port; nobody but those who observe its address can know it."""
    public = network.switch("public")
    hosts = [network.host(name) for name in ("one", "other", "late")]
    for number, host in enumerate(hosts):
        network.connect(public, host, PUBLIC.format(number, 1))
    one = peers.start(hosts[0])
    other = peers.start(hosts[1], bootstrap=addresses(one))
    behind = peers.start(
        network.behind_router("behind", public, number=1, forwarded=True), bootstrap=addresses(one)
    )
    assert addresses(behind) == (at("192.168.1.2", behind),)
    until(lambda: at("9.9.9.11", behind) in addresses(behind))  # two networks have said it

    within(hosts[2], "nft", ONE_WAY)  # so nobody dials the late peer
    late = peers.start(hosts[2], bootstrap=addresses(other))
    until(lambda: peer_id(behind) in exchanged(late) and peer_id(late) in exchanged(behind))
    until(lambda: connections(late) == (0, 3))


def test_a_peer_whose_address_changes_is_reached_at_the_new_one_alone(network, peers):
    switch = network.switch("lan")
    hosts = [network.host(f"{each}") for each in range(4)]
    devices = [
        network.connect(switch, host, f"10.1.0.{number}/24") for number, host in enumerate(hosts, start=1)
    ]
    hub = peers.start(hosts[0])
    mover, *rest = [peers.start(host, bootstrap=addresses(hub)) for host in hosts[1:]]
    others = [hub, *rest]
    mover_id, ids = peer_id(mover), {peer_id(peer) for peer in others}
    old, new = at("10.1.0.2", mover), at("10.1.0.22", mover)
    until(lambda: all(known_addresses(peer.home).get(mover_id) == [old] for peer in others))

    within(hosts[1], "ip", "address", "delete", "10.1.0.2/24", "dev", devices[1])
    within(hosts[1], "ip", "address", "add", "10.1.0.22/24", "dev", devices[1])
    until(lambda: addresses(mover) == (new,))
    moved = time.time()
    until(lambda: all(known_addresses(peer.home).get(mover_id) == [new] for peer in others))
    until(lambda: all(mover_id in exchanged(peer, since=moved) for peer in others))
    until(lambda: exchanged(mover, since=moved) == ids)

    late_host = network.host("late")
    network.connect(switch, late_host, "10.1.0.9/24")
    within(late_host, "nft", ONE_WAY)  # so the late peer dials all others
    late = peers.start(late_host, bootstrap=addresses(hub))
    until(lambda: mover_id in exchanged(late))
    until(lambda: known_addresses(late.home).get(mover_id) == [new])
    assert not any(old in known for peer in (*others, late) for known in known_addresses(peer.home).values())
    until(lambda: late.status()["neighbours"] == 4 and connections(late) == (0, 4))


def test_a_peer_behind_a_one_way_firewall_takes_part_by_the_connections_it_opens(network, peers):
    switch = network.switch("lan")
    hosts = [network.host(f"{each}") for each in range(3)]
    for number, host in enumerate(hosts, start=1):
        network.connect(switch, host, f"10.1.0.{number}/24")
    within(hosts[2], "nft", ONE_WAY)
    hub = peers.start(hosts[0])
    other, hidden = [peers.start(host, bootstrap=addresses(hub)) for host in hosts[1:]]
    hidden_id, ids = peer_id(hidden), {peer_id(hub), peer_id(other)}
    began = time.time()
    for peer in (hub, other):  # both as those who begin exchanges and as those who answer
        until(lambda peer=peer: hidden_id in exchanged(peer, since=began) and hidden_id in merged(peer))
    until(lambda: exchanged(hidden, since=began) == ids and merged(hidden) == ids)
    until(lambda: connections(hidden) == (0, 2))


@pytest.mark.parametrize("ports", ["", "random"], ids=["routers that keep ports", "routers that do not"])
def test_two_peers_behind_routers_exchange_through_a_relay_and_then_directly(network, peers, ports):
    """A hole is punched where the routers keep ports; elsewhere the relay goes on."""
    relay_host, *hosts = two_behind_routers(network, ports=ports)
    relay = peers.start(relay_host, network={"offer_relay": True})
    there = [at("9.9.9.1", relay)]
    one, other = [peers.start(host, bootstrap=there, network={"relay": there}) for host in hosts]
    for this, that in ((one, other), (other, one)):
        circuit = f"{there[0]}/p2p-circuit/p2p/{peer_id(this)}"
        until(lambda this=this, circuit=circuit: circuit in addresses(this))
        until(lambda this=this, that=that: peer_id(that) in exchanged(this) and peer_id(that) in merged(this))
    if not ports:
        took = until(
            lambda: connected_to(hosts[0], "9.9.9.12:4001") and connected_to(hosts[1], "9.9.9.11:4001")
        )
        print(f"\ndirect {took:.1f} s after the first models")
        relay.process.kill()
        relay.process.wait()
        killed = time.time() + 1.0
        for this, that in ((one, other), (other, one)):
            until(lambda this=this, that=that: peer_id(that) in exchanged(this, since=killed))
            until(lambda this=this, that=that: peer_id(that) in merged(this, since=killed))

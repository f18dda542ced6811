"""Real peers among members that fill views with tarpits, and halves of a network that part and heal."""

import random
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio

from gossipfl.errors import GossipflError
from gossipfl.network import Identity, open_host
from gossipfl.peer import Peer
from gossipfl.peer.assembly import expectation_of
from gossipfl.wire import Acknowledgement, ModelMessage, View, encode
from tests.gossipfl.network.helpers import announced, in_trio, until

from .peers import network_of, quick_settings, records_of, running


class Poisoner:
    """A member that names peers that accept connections and fall silent, whenever asked and when not."""

    def __init__(self, task) -> None:
        self.task, self.identity = task, Identity.generate()
        self.ports: list[int] = []
        self.others: list[Poisoner] = []
        self.accepted = self.told = 0

    def view(self) -> View:
        fakes = tuple(
            announced(Identity.generate(), f"/ip4/127.0.0.1/tcp/{port}", sequence=self.told + 1)
            for port in self.ports
        )
        self.told += len(fakes)
        accomplices = random.sample(self.others, min(len(self.others), 7))
        friends = tuple(each.host.announcement() for each in accomplices)
        return View(task=self.task.fingerprint, peers=(self.host.announcement(), *fakes, *friends))

    async def answer(self, peer_id, message):
        if isinstance(message, ModelMessage):
            header = message.header
            return encode(Acknowledgement(incarnation=header.incarnation, sequence=header.sequence))
        return encode(self.view())

    async def swallow(self, stream) -> None:
        self.accepted += 1
        await trio.sleep_forever()

    async def push(self, peer_id, addresses, pause) -> None:
        while True:
            with trio.move_on_after(5):
                with suppress(GossipflError):
                    await self.host.exchange(peer_id, addresses, encode(self.view()), seconds=5)
            await trio.sleep(pause)

    @asynccontextmanager
    async def among(self, *victims: Peer, pause=0.1, tarpits=7):
        opened = open_host(self.identity, expectation=expectation_of(self.task))
        async with opened as self.host, trio.open_nursery() as nursery:
            for _ in range(tarpits):
                listeners = await nursery.start(trio.serve_tcp, self.swallow, 0)
                self.ports.append(listeners[0].socket.getsockname()[1])
            self.host.serve(self.answer)
            for victim in victims:
                status = victim.status()
                nursery.start_soon(self.push, status.peer_id, status.addresses, pause)
            yield self
            nursery.cancel_scope.cancel()


def exchanges(peer: Peer) -> list[dict]:
    return records_of(peer.home, "exchange")


def honest_neighbours(peer: Peer, honest) -> int:
    return len(peer._incarnation.view.neighbours & {each.status().peer_id for each in honest})


@pytest.mark.slow
@in_trio
async def test_names_that_only_accept_take_no_exchange_from_anybody_and_keep_no_newcomer_out(tmp_path):
    """They used to be chosen like neighbours: 34 exchanges a minute were left of 255."""
    async with network_of(tmp_path, 3) as peers:
        await until(lambda: all(honest_neighbours(each, peers) == 2 for each in peers))
        async with Poisoner(peers[0].task).among(*peers) as poisoner:
            await until(lambda: poisoner.accepted >= 4)
            before = [len(exchanges(each)) for each in peers]
            hub = peers[0].status().addresses
            newcomer = Peer(tmp_path / "newcomer", settings=quick_settings(9, bootstrap=hub))
            async with running(newcomer):
                await until(lambda: honest_neighbours(newcomer, peers) == 3)
                await until(
                    lambda: all(
                        len(exchanges(each)) >= count + 25 for each, count in zip(peers, before, strict=True)
                    )
                )
                await until(lambda: len(exchanges(newcomer)) >= 25)
        met = {each.status().peer_id for each in (*peers, newcomer)} | {poisoner.identity.peer_id}
        for peer, count in zip((*peers, newcomer), (*before, 0), strict=True):
            done = exchanges(peer)[count:]
            assert {each["neighbour"] for each in done} <= met
            assert sum(each["outcome"] in ("ok", "mailbox_full") for each in done) >= 0.9 * len(done)


def part(*halves: list[Peer]) -> None:
    """End all connections between halves, and let no dial across succeed."""
    for half, other in (halves, halves[::-1]):
        strangers = {each.status().peer_id for each in other}
        for peer in half:
            peer._incarnation.host._may_connect = lambda peer_id, strangers=strangers: (
                peer_id not in strangers
            )
            for peer_id in strangers:
                peer._incarnation.host.abort(peer_id)


def heal(*peers: Peer) -> None:
    for peer in peers:
        del peer._incarnation.host._may_connect


@pytest.mark.slow
@in_trio
async def test_halves_that_forgot_each_other_find_together_without_a_bootstrap_across(tmp_path):
    async with network_of(tmp_path, 4, view={"failures": 1, "period": 0.1}) as peers:
        await until(lambda: all(honest_neighbours(each, peers) == 3 for each in peers))
        for peer in peers:
            peer._incarnation.view.configure({})  # nobody is named in settings any more
        halves = peers[:2], peers[2:]
        part(*halves)
        await until(
            lambda: all(
                honest_neighbours(peer, other) == 0 for half, other in (halves, halves[::-1]) for peer in half
            ),
            seconds=40,
        )
        assert all(honest_neighbours(peer, half) == 1 for half in halves for peer in half)
        heal(*peers)
        await until(lambda: all(honest_neighbours(each, peers) == 3 for each in peers), seconds=40)


@in_trio
async def test_a_peer_that_was_away_finds_its_network_although_its_bootstrap_is_gone(tmp_path):
    async with network_of(tmp_path, 3) as peers:
        away = Peer(tmp_path / "away", settings=quick_settings(9, bootstrap=peers[1].status().addresses))
        async with running(away):
            await until(lambda: honest_neighbours(away, peers) == 3)
        assert away.home.acquaintances.exists()
        away.home.checkpoint.unlink()  # what is in it would do as well
        back = Peer(tmp_path / "away", settings=quick_settings(9))
        async with running(back):
            await until(lambda: honest_neighbours(back, peers) == 3)


@pytest.mark.slow
@in_trio
async def test_a_view_of_eight_tarpits_each_five_seconds_leaves_the_rate_of_exchanges(tmp_path):
    """Rates of a peer in the same minute: before, under the attack, and after."""
    async with network_of(tmp_path, 4, exchange={"period": 0.2}) as peers:
        await until(lambda: all(honest_neighbours(each, peers) == 3 for each in peers))
        rates = [await rate(peers[1], 12.0)]
        async with Poisoner(peers[0].task).among(*peers, pause=5.0, tarpits=7):
            rates.append(await rate(peers[1], 15.0))
        rates.append(await rate(peers[1], 12.0))
    print("exchanges a minute before, under and after the attack:", [round(60 * each) for each in rates])
    assert min(rates[1:]) >= 0.9 * rates[0]


async def rate(peer: Peer, seconds: float) -> float:
    def good():
        return sum(each["outcome"] in ("ok", "mailbox_full") for each in exchanges(peer))

    before, started = good(), trio.current_time()
    await trio.sleep(seconds)
    return (good() - before) / (trio.current_time() - started)


def announcement_at(peer: Peer, peer_id: str):
    [known] = [each.descriptor for each in peer._incarnation.view.known if each.peer_id == peer_id]
    return known


@in_trio
async def test_a_running_peer_whose_address_changes_is_known_at_the_new_one_alone(tmp_path):
    anywhere = {"listen": ["/ip4/0.0.0.0/tcp/0"]}
    async with network_of(tmp_path, 2) as peers:
        settings = quick_settings(
            9, bootstrap=peers[0].status().addresses, network=anywhere, membership={"door": "open"}
        )
        mover = Peer(tmp_path / "mover", settings=settings)
        async with running(mover):
            reachability = mover._incarnation.host.reachability
            reachability.interfaces = lambda: ("127.0.0.2",)
            reachability.refresh()
            await until(lambda: all(honest_neighbours(each, [mover]) for each in peers))
            peer_id = mover.status().peer_id

            def known_at(host):  # 127.0.0.1 is where both observe that it dials from
                known = [announcement_at(each, peer_id) for each in peers]
                return all(
                    {a.split("/")[2] for a in each.addresses} - {"127.0.0.1"} == {host} for each in known
                )

            await until(lambda: known_at("127.0.0.2"))
            before = max(announcement_at(each, peer_id).sequence for each in peers)
            reachability.interfaces = lambda: ("127.0.0.3",)
            reachability.refresh()
            await until(lambda: known_at("127.0.0.3"))
            assert all(announcement_at(each, peer_id).sequence > before for each in peers)


@pytest.mark.slow
def test_fifteen_peers_a_fifth_of_them_hostile(tmp_path):
    """Twelve honest peers in this process; three members push themselves to all, and tell of each other alone."""
    slower = {
        "exchange": {"period": 1.0, "patience": 5.0, "deadline": 10.0},
        "view": {"period": 1.0, "size": 12},
    }

    async def body():
        async with AsyncExitStack() as stack:
            peers = await stack.enter_async_context(network_of(tmp_path, 12, **slower))
            hostile = [Poisoner(peers[0].task) for _ in range(3)]
            for each in hostile:
                await stack.enter_async_context(each.among(*peers, pause=0.5, tarpits=0))
            for each in hostile:
                each.others = [other for other in hostile if other is not each]
            liars = {each.identity.peer_id for each in hostile}

            def hostile_share():
                samples = [held for peer in peers for held in peer._incarnation.view._state.samples if held]
                return sum(held in liars for held in samples) / len(samples)

            def in_degrees():
                known = Counter(held for peer in peers for held in peer._incarnation.view.neighbours)
                return [known[peer.status().peer_id] for peer in peers]

            await until(lambda: min(in_degrees()) >= 3, seconds=60)
            await until(lambda: hostile_share() <= 0.3, seconds=150)
            before = [len(exchanges(each)) for each in peers]
            began = trio.current_time()
            await trio.sleep(15.0)
            seconds = trio.current_time() - began
            done = [one for peer, count in zip(peers, before, strict=True) for one in exchanges(peer)[count:]]
            good = sum(each["outcome"] in ("ok", "mailbox_full") for each in done)
            print(
                f"hostile: {hostile_share():.0%} of samples; in-degrees of the honest {sorted(in_degrees())}; "
                f"{good} of {len(done)} exchanges good, {good / len(peers) / seconds:.2f} a second and peer"
            )
            assert good >= 0.9 * len(done)

    async def main():
        with trio.fail_after(280):
            await body()

    trio.run(main)

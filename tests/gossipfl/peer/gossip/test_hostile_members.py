"""Peers among members that answer as they like: what they are told stays bounded."""

from types import SimpleNamespace

import trio

from gossipfl.errors import MessageRefused, RefusedByNeighbour
from gossipfl.peer import Peer
from gossipfl.wire import Acknowledgement, ModelMessage, Pull, View, encode
from tests.gossipfl.network.helpers import Outlaw, in_trio, until
from tests.integration.gate_networks import open_threshold
from tests.integration.liar import Liar
from tests.integration.peers import quick_settings, records_of, running


class Inventor(Liar):
    """Refuses every other model for a reason of which nobody has heard."""

    asked = refused = 0

    async def _answer(self, host, peer_id, message):
        if isinstance(message, View):
            return await super()._answer(host, peer_id, message)
        self.asked += 1
        if self.asked % 2 and isinstance(message, ModelMessage):  # or it would soon be left alone
            said = message.header
            return encode(Acknowledgement(incarnation=said.incarnation, sequence=said.sequence))
        self.refused += 1
        name = f"reason_{self.refused}"
        raise type("Invented", (MessageRefused,), {"counter": classmethod(lambda _: name)})("no")

    async def _push(self, host, peer_id, addresses):
        await host.exchange(peer_id, addresses, encode(self._view(host)))
        await trio.sleep_forever()


@in_trio
async def test_reasons_that_a_neighbour_invents_are_counted_as_one(tmp_path):
    alice = Peer(tmp_path / "alice", settings=quick_settings())
    async with running(alice), trio.open_nursery() as nursery:
        inventor = Inventor("zeros", alice.task, alice.settings, threshold=open_threshold(alice.home))
        nursery.start_soon(inventor.run, [(alice.status().peer_id, alice.status().addresses)])
        await until(lambda: inventor.refused > 2)
        nursery.cancel_scope.cancel()
    outcomes = {each["outcome"] for each in records_of(alice.home, "exchange")}
    assert RefusedByNeighbour.counter() in outcomes
    assert not {each for each in outcomes if each.startswith("reason_")}


@in_trio
async def test_a_member_that_does_not_read_its_answer_keeps_nobody_else_waiting(tmp_path):
    large = {
        "options": {"hidden": 20_000},
        "exchange": {"incoming_bytes": 1, "deadline": 1.0, "patience": 0.05},
        "network": {"silence_seconds": 60.0},
    }
    alice = Peer(tmp_path / "alice", settings=quick_settings(**large))
    async with running(alice):
        status = alice.status()
        bob = Peer(tmp_path / "bob", settings=quick_settings(1, bootstrap=status.addresses, **large))
        target = SimpleNamespace(addresses=status.addresses, peer_id=status.peer_id)
        threshold = open_threshold(alice.home)
        async with running(bob), Outlaw.connected_to(target, threshold=threshold) as outlaw:

            def heard():
                """Numbers of the versions of Alice's model that Bob has merged."""
                return {each["sender_event"] for each in records_of(bob.home, "merge")}

            await until(heard)
            task = alice.task
            pull = Pull(task=task.fingerprint, layout=task.layout.digest, incarnation=1, part=0)
            await outlaw.open_stream()
            await outlaw.send_data(b"".join(map(bytes, encode(pull).buffers)))
            pulled_at = alice.status().event
            await trio.sleep(2.0)  # longer than a version may be sent again
            later = alice.status().event
            assert later > pulled_at
            await until(lambda: len([each for each in heard() if each > later]) > 2, seconds=20)

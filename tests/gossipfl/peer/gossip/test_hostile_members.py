"""Peers among members that answer as they like: what they are told stays bounded."""

import trio

from gossipfl.errors import MessageRefused, RefusedByNeighbour
from gossipfl.peer import Peer
from gossipfl.wire import Acknowledgement, ModelMessage, View, encode
from tests.gossipfl.network.helpers import in_trio, until
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

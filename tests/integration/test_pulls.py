"""Pulls of a stranger: answered as often as a peer like this one would pull, and no more."""

import pytest

from gossipfl.errors import RefusedByNeighbour
from gossipfl.network import Identity, open_host
from gossipfl.peer import Peer
from gossipfl.peer.assembly import expectation_of
from gossipfl.wire import ModelMessage, Pull, encode
from tests.gossipfl.network.helpers import in_trio

from .peers import quick_settings, running


@in_trio
async def test_whoever_pulls_without_pause_is_refused_and_honest_peers_are_answered(tmp_path):
    peer = Peer(tmp_path / "peer", settings=quick_settings(0, exchange={"period": 1.0}))
    async with running(peer):
        task, status = peer.task, peer.status()
        frame = encode(Pull(task=task.fingerprint, layout=task.layout.digest, incarnation=1))

        async def pull(host):
            return await host.exchange(status.peer_id, status.addresses, frame)

        expectation = expectation_of(task)
        async with (
            open_host(Identity.generate(), expectation=expectation) as greedy,
            open_host(Identity.generate(), expectation=expectation) as honest,
        ):
            answered = 0
            with pytest.raises(RefusedByNeighbour) as caught:
                for _ in range(100):
                    assert isinstance(await pull(greedy), ModelMessage)
                    answered += 1
            assert caught.value.code == "rate_limited"
            assert 1 <= answered < 50
            for _ in range(3):
                assert isinstance(await pull(honest), ModelMessage)

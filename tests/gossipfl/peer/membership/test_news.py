"""News of a network: members come to know the same, however much it is."""

import hashlib
import time

from gossipfl.network import Identity
from gossipfl.peer.membership.news import Membership
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.wire import News
from tests.gossipfl.membership.members import authority, certificate, network, revocation
from tests.gossipfl.network.helpers import identity_of, in_trio


class Told(Membership):
    """A member whose messages reach the other one without a network."""

    other: Membership

    def _frame(self, statements):
        return News(known=self.authority.digest(), statements=tuple(each.to_bytes() for each in statements))

    async def _exchange(self, peer_id, frame):
        return await self.other.answer(self._identity.peer_id, frame)


def member(directory, name, *statements):
    identity, own = identity_of(name), network()
    store = MembershipStore(directory / name)
    store.write_authority(authority(own, *statements, now=time.time()))
    store.write_certificate(certificate(own, identity))
    return Told(store, identity)


def gone(number):
    return Identity(hashlib.sha256(str(number).encode()).digest())


@in_trio
async def test_a_member_that_comes_late_hears_of_everybody_who_was_revoked(tmp_path):
    """Sixty fit into a message: one message in ten seconds took nine minutes for five hundred."""
    out = [revocation(network(), gone(number)) for number in range(500)]
    old, new = member(tmp_path, "old", *out), member(tmp_path, "new", revocation(network(), gone("other")))
    new.other, old.other = old, new
    compared = 0
    while new.authority.digest() != old.authority.digest():
        old._rates._buckets.clear()  # ten seconds pass
        await new._compare("old")
        compared += 1
    assert compared < 20
    assert len(old.authority.revoked) == len(new.authority.revoked) == 501
    assert all(new.door.is_stranger(gone(number).peer_id) for number in range(500))

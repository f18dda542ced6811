"""News of a network: members come to know the same, however much it is."""

import hashlib
import time

from gossipfl.network import Identity
from gossipfl.peer.membership.instalments import newest_that_fit
from gossipfl.peer.membership.news import Membership
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.wire import News, encode
from tests.gossipfl.membership.members import authority, certificate, network, revocation, rotations
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


async def compares_until_alike(new, old):
    """How often the newcomer compares what it knows, in eight exchanges each time, until both know the same."""
    new.other, old.other = old, new
    for count in range(100):
        if new.authority.digest() == old.authority.digest():
            return count
        old._rates._buckets.clear()  # ten seconds pass
        await new._compare("old")
    raise AssertionError("they never know the same")


@in_trio
async def test_a_member_that_comes_late_hears_of_everybody_who_was_revoked(tmp_path):
    """In as many messages of sixty statements as hold them all; chosen at random, they took five times as many."""
    out = [revocation(network(), gone(number)) for number in range(1500)]
    old, new = member(tmp_path, "old", *out), member(tmp_path, "new", revocation(network(), gone("other")))
    assert await compares_until_alike(new, old) == 4
    assert len(old.authority.revoked) == len(new.authority.revoked) == 1501
    assert all(new.door.is_stranger(gone(number).peer_id) for number in range(1500))


@in_trio
async def test_a_member_that_missed_many_rotations_hears_of_all_and_of_what_followed(tmp_path):
    """The oldest came first in every message, and nothing else, once there were as many as fit into one."""
    changes, last = rotations(network(), 150)
    out = [revocation(network(), gone(number), keys=last) for number in range(100)]
    old, new = member(tmp_path, "old", *changes, *out), member(tmp_path, "new")
    assert await compares_until_alike(new, old) == 1
    assert new.authority.epoch == 150 and len(new.authority.revoked) == 100


@in_trio
async def test_statements_that_come_meanwhile_are_told_too(tmp_path):
    out = [revocation(network(), gone(number)) for number in range(700)]
    old, new = member(tmp_path, "old", *out[:600]), member(tmp_path, "new")
    new.other, old.other = old, new
    await new._compare("old")
    for each in out[600:]:
        old.authority.learn(each, now=time.time())
    assert await compares_until_alike(new, old) <= 2


def test_statements_pushed_together_fit_into_a_frame():
    changes, _ = rotations(network(), 30, keys_each=8)
    many = [*changes, *changes, *changes]
    pushed = newest_that_fit(many)
    assert 40 < len(pushed) < 60 and pushed == many[-len(pushed) :]
    assert encode(News(known=bytes(32), statements=tuple(each.to_bytes() for each in pushed)))

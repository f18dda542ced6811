"""Members that lie about whom they know: what the honest make of it, over sockets."""

from examples.hostile_peer import Accomplices, HostilePeer, hostile_peers, sybils_of
from gossipfl.attacks import SignFlip
from gossipfl.errors import RateLimited
from gossipfl.peer import Peer
from tests.gossipfl.network.helpers import in_trio, until

from .peers import quick_settings, running

QUICK = {"view": {"period": 0.2}, "gate": {"enabled": False}}
SLOWER = {**QUICK, "view": {"period": 1.0}}


def honest_and_hostile(directory, *, bootstrap, count, **lies):
    """Hostile peers that are accomplices."""
    together = Accomplices(count)
    return [
        HostilePeer(
            directory / f"hostile-{index}",
            SignFlip(),
            settings=quick_settings(2 + index, bootstrap=bootstrap, **QUICK),
            number=2 + index,
            together=together,
            **lies,
        )
        for index in range(count)
    ]


def told_by(liar, asker):
    """Peer ids in its answer to a request of another peer."""
    incarnation = liar._incarnation
    scope = incarnation.host.scope_of(asker.status().peer_id)
    own = asker._incarnation.host.announcement()
    return {each.peer_id for each in incarnation.view.asked_by(own.peer_id, (own,), scope=scope)}


@in_trio
async def test_who_pushes_itself_and_its_accomplices_is_slowed_down_and_crowds_nobody_out(tmp_path):
    alice = Peer(tmp_path / "alice", settings=quick_settings(0, **SLOWER))
    async with running(alice):
        at = alice.status().addresses
        bob = Peer(tmp_path / "bob", settings=quick_settings(1, bootstrap=at, **SLOWER))
        liars = honest_and_hostile(tmp_path, bootstrap=at, count=3, views="poison")
        async with running(bob), running(*liars):
            await until(lambda: alice.counters.refused[RateLimited.counter()] > 5)
            ids = {each.peer_id for each in liars}
            assert told_by(liars[0], alice) <= ids
            honest = {each.status().peer_id for each in (alice, bob)}
            await until(lambda: len(honest & set(alice._incarnation.view.neighbours)) == 1)
            await until(lambda: len(honest & set(bob._incarnation.view.neighbours)) == 1)
            assert alice.counters.refused.keys() <= {RateLimited.counter(), "busy"}


@in_trio
async def test_members_that_do_not_exist_become_nobodys_neighbours(tmp_path):
    alice = Peer(tmp_path / "alice", settings=quick_settings(0, **QUICK))
    async with running(alice):
        at = alice.status().addresses
        bob = Peer(tmp_path / "bob", settings=quick_settings(1, bootstrap=at, **QUICK))
        liars = honest_and_hostile(tmp_path, bootstrap=at, count=1, views="invent")
        async with running(bob), running(*liars):
            await until(lambda: liars[0].peer_id in alice._incarnation.view.neighbours)
            real = {each.status().peer_id for each in (alice, bob, *liars)}
            assert told_by(liars[0], alice) - real
            view = alice._incarnation.view
            await until(lambda: len(view._silent) > 2)  # such names were asked, and forgotten
            assert view.neighbours <= real
            await until(lambda: bob.status().peer_id in view.neighbours)


@in_trio
async def test_sybils_are_accomplices_with_identities_of_their_own(tmp_path):
    alice = Peer(tmp_path / "alice", settings=quick_settings(0, **QUICK))
    async with running(alice):
        mallory = Peer(
            tmp_path / "mallory", settings=quick_settings(1, bootstrap=alice.status().addresses, **QUICK)
        )
        homes = [mallory.home.directory, *sybils_of(mallory.home.directory, 2)]
        assert sybils_of(mallory.home.directory, 2) == homes[1:]  # once made, they are kept
        liars = hostile_peers(homes, SignFlip(), views="poison")
        assert len({each.peer_id for each in liars}) == 3
        async with running(*liars):
            await until(lambda: {each.peer_id for each in liars} <= {*alice._incarnation.view.neighbours})
            assert told_by(liars[1], alice) == {each.peer_id for each in liars}

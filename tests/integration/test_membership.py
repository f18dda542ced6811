"""Networks of members: founded, joined, changed and left, by whole peers over sockets on 127.0.0.1."""

import logging
import time

import pytest
import trio

from gossipfl.errors import MembershipError, NotAdmitted, NotAMember, SettingError
from gossipfl.membership import Certificate, Invitation, Role, Signed
from gossipfl.network import Identity, ask_for_grant, load_or_create_identity
from gossipfl.peer import Home, Peer
from gossipfl.peer.gossip.isolation import warn_of_isolation
from gossipfl.peer.membership.at_home import HomeOfMember
from gossipfl.peer.membership.changing import revoke, write_charter
from gossipfl.peer.membership.founding import found, join, rotate
from gossipfl.peer.membership.issuing import body_of, invite, signers_at_hand
from gossipfl.peer.membership.ledger import ledger
from gossipfl.peer.membership.store import MembershipStore
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.rounds.networks_of_rounds import members, settings_of

from .peers import quick_settings, running

QUICK_NEWS = 0.2


@pytest.fixture(autouse=True)
def quick_news(monkeypatch):
    monkeypatch.setattr("gossipfl.peer.membership.news._NEWS_SECONDS", QUICK_NEWS)
    monkeypatch.setattr("gossipfl.peer.membership.news._LOOK_SECONDS", 0.05)


def made(directory, index=0, **tables):
    """The home of a new peer."""
    Home(directory).create(quick_settings(index, **tables))
    return HomeOfMember(directory)


def founded(directory, **changes):
    """The home of the first member of a new network."""
    own = made(directory)
    found(own.store, own.identity, name="lab", charter=own.charter(), **changes)
    return own


def invitation(own, *, role=Role.MEMBER, hours=1.0, days=1.0, address="/ip4/127.0.0.1/tcp/1"):
    return invite(
        own.store, own.store.authority(), own.identity, addresses=[address], role=role, hours=hours, days=days
    )


def invited(own, peer, **changes) -> Invitation:
    """An invitation to the network of a running peer."""
    return invitation(own, address=peer.status().addresses[0].partition("/p2p/")[0], **changes)


async def joined(directory, own, peer, index, **changes):
    """A new peer that has joined by an invitation, and is not started yet."""
    new = made(directory, index)
    await join(new.store, new.identity, invited(own, peer, **changes))
    return new, Peer(directory)


def hand_over(own, new, *, days=1.0, since=0.0):
    """Give a peer a certificate by hand, as `admit` did so many seconds ago."""
    authority = own.store.authority()
    signers = signers_at_hand(own.store, authority, own.identity)
    body = body_of(authority, new.identity.public_key, role=Role.MEMBER, days=days, now=time.time() - since)
    new.store.write_authority(authority)
    new.store.write_certificate(signers.sign(Signed(body=body)))


def are_connected(*peers):
    return all(peer._incarnation.host.connected() for peer in peers)


def ends_of(own):
    return {each["peer"]: each["expires"] for each in ledger(own.store)}


def shown_to(peer, other):
    """The end of the certificate by which a peer knows another; 0 without a connection."""
    member = peer._incarnation.host.members.member(other)
    return 0 if member is None else member.certificate.expires


def conditions_of(peer):
    return {each["name"]: each["text"] for each in peer.status().conditions}


@in_trio
async def test_members_join_by_an_invitation_and_learn_from_each_other(tmp_path):
    own = founded(tmp_path / "alice")
    alice = Peer(tmp_path / "alice")
    async with running(alice):
        new, bob = await joined(tmp_path / "bob", own, alice, 1)
        async with running(bob):
            await until(lambda: min(each.status().event for each in (alice, bob)) >= 3)
            status = bob.status().membership
            assert (status["door"], status["name"], status["role"]) == ("certificates", "lab", "member")
            assert status["network"] == own.store.authority().id.hex()
            assert not alice.counters.refused and not bob.counters.refused
    assert new.store.introducers()[0].endswith(f"/p2p/{own.identity.peer_id}")


@in_trio
async def test_of_two_that_race_for_one_invitation_one_joins(tmp_path):
    own = founded(tmp_path / "alice")
    alice = Peer(tmp_path / "alice")
    async with running(alice):
        one = invited(own, alice)
        racers, granted, refused = [Identity.generate() for _ in range(6)], [], []

        async def race(identity):
            try:
                granted.append((identity, await ask_for_grant(identity, one)))
            except NotAdmitted as error:
                refused.append(str(error))

        async with trio.open_nursery() as nursery:
            for each in racers:
                nursery.start_soon(race, each)
        assert len(granted) == 1 and len(refused) == 5
        assert all("the invitation was used" in each for each in refused)
        assert alice.counters.refused == {"invitation_used": 5}
        winner, grant = granted[0]
        assert await ask_for_grant(winner, one) == grant  # its answer may have been lost on the way
    async with running(Peer(tmp_path / "alice")) as (alice,):  # it was written down
        again = invited(own, alice)
        object.__setattr__(again, "number", one.number)
        object.__setattr__(again, "secret", one.secret)
        with pytest.raises(NotAdmitted, match="the invitation was used"):
            await ask_for_grant(racers[0] if racers[0] != winner else racers[1], again)


@in_trio
async def test_what_is_granted_is_on_the_disk_before_it_leaves(tmp_path, monkeypatch):
    own = founded(tmp_path / "alice")
    alice = Peer(tmp_path / "alice")
    async with running(alice):
        one = invited(own, alice)

        def refuse(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as full:
            full.setattr("gossipfl.peer.membership.ledger.write_atomically", refuse)
            with pytest.raises(NotAdmitted, match="not a member"):
                await ask_for_grant(Identity.generate(), one)
        assert await ask_for_grant(Identity.generate(), one)


@in_trio
async def test_who_is_revoked_while_connected_is_dropped_by_all_and_stays_out(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("gossipfl.peer.membership.news._NEWS_SECONDS", 1000.0)  # nobody waits for that
    caplog.set_level(logging.WARNING)
    own = founded(tmp_path / "alice")
    alice = Peer(tmp_path / "alice")
    async with running(alice):
        _, bob = await joined(tmp_path / "bob", own, alice, 1)
        _, carol = await joined(tmp_path / "carol", own, alice, 2)
        async with running(bob, carol):
            ids = {each: each.status().peer_id for each in (alice, bob, carol)}
            await until(
                lambda: ids[carol] in bob._incarnation.host.connected() | carol._incarnation.host.connected()
            )
            revoke(own.store, own.identity, ids[carol])  # as the command does, in another process
            await until(lambda: not carol._incarnation.host.connected())
            await until(lambda: bob.counters.refused["certificate_revoked"] > 0)  # it heard of it
            # Others do not tell her why; she knows only if the news reached her before they closed.
            await until(lambda: {"refused", "membership"} & conditions_of(carol).keys())
            conditions = conditions_of(carol)
            if "membership" in conditions:
                assert "was revoked" in conditions["membership"]
            else:
                assert "was revoked, or they belong to another network" in conditions["refused"]
            assert "network join" not in "".join(conditions.values())
            assert carol.status().membership["turned_away"] == []
            assert ids[bob] in alice._incarnation.host.connected() | bob._incarnation.host.connected()
    assert "was revoked" in caplog.text
    assert MembershipStore(tmp_path / "bob" / "membership").authority().revoked  # for good


@in_trio
async def test_a_certificate_that_ends_ends_the_connection(tmp_path):
    own = founded(tmp_path / "alice")
    alice = Peer(tmp_path / "alice")
    async with running(alice):
        _, bob = await joined(tmp_path / "bob", own, alice, 1)
        async with running(bob):
            await until(lambda: are_connected(alice, bob))
            clock = time.time
            future = clock() + 2 * 86_400
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("gossipfl.network.members.time.time", lambda: future)
                await until(lambda: alice.counters.refused["certificate_expired"] > 0)


@in_trio
async def test_an_issuer_renews_what_ends_soon_and_nothing_else(tmp_path):
    own = founded(tmp_path / "alice")
    alice = Peer(tmp_path / "alice")
    async with running(alice):
        new, bob = await joined(tmp_path / "bob", own, alice, 1, days=1)
        hand_over(own, new, days=1, since=0.7 * 86_400)
        other, carol = await joined(tmp_path / "carol", own, alice, 2, days=300)
        before = [each.store.certificate() for each in (new, other)]
        async with running(bob, carol):
            await until(lambda: new.store.certificate() != before[0])
            bob_id, end = new.identity.peer_id, before[0].body.expires
            # The connections that stand show the new one, and outlast the old one.
            await until(lambda: shown_to(alice, bob_id) > end)
            standing = alice._incarnation.host._table.best(bob_id)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("gossipfl.network.members.time.time", lambda: float(end + 60))
                alice._incarnation.host.members.require()
            assert alice._incarnation.host._table.best(bob_id) is standing and standing.alive
            await until(lambda: ends_of(own)[bob_id] > before[0].body.expires)  # listed with the new end
        assert other.store.certificate() == before[1]
    renewed = new.store.certificate().body
    assert isinstance(renewed, Certificate) and renewed.expires > before[0].body.expires


@in_trio
async def test_new_keys_reach_running_peers_which_get_new_certificates(tmp_path):
    own = founded(tmp_path / "alice", keys=3, threshold=2)
    alice = Peer(tmp_path / "alice")
    async with running(alice):
        new, bob = await joined(tmp_path / "bob", own, alice, 1)
        async with running(bob):
            await until(lambda: are_connected(alice, bob))
            rotate(own.store, own.identity, keys=1, threshold=1, grace_days=30)
            await until(lambda: new.store.authority().epoch == 1)
            authority = new.store.authority()
            key = new.identity.public_key

            def is_renewed():
                try:
                    member = authority.member(new.store.certificate(), subject=key, now=time.time())
                except NotAMember:
                    return False
                return member.epoch == 1

            # Its connection shows the old certificate; the issuer renews what old keys have signed.
            await until(is_renewed)


@in_trio
async def test_a_charter_reaches_running_peers_and_who_does_not_follow_does_not_start(tmp_path):
    own = founded(tmp_path / "alice")
    alice = Peer(tmp_path / "alice")
    async with running(alice):
        new, bob = await joined(tmp_path / "bob", own, alice, 1)
        async with running(bob):
            await until(lambda: are_connected(alice, bob))
            write_charter(own.store, own.identity, {**own.charter(), "training.local_steps": "200"})
            await until(lambda: new.store.authority().charter.number == 2)
            await until(lambda: "charter" in conditions_of(bob))
            assert (
                "charter 2 of network 'lab' asks for training.local_steps = 200 (here 1)"
                in (conditions_of(bob)["charter"])
            )
    with pytest.raises(SettingError, match=r"training.local_steps is 200 there and 1 here"):
        await Peer(tmp_path / "bob").run()


@in_trio
async def test_who_was_away_hears_of_a_new_charter_at_the_door(tmp_path, monkeypatch):
    monkeypatch.setitem(warn_of_isolation.__kwdefaults__, "seconds", 0.3)
    own = founded(tmp_path / "alice")
    async with running(Peer(tmp_path / "alice")) as (alice,):
        new, _ = await joined(tmp_path / "bob", own, alice, 1)
    settings = tmp_path / "alice" / "peer.toml"
    settings.write_text(settings.read_text().replace("local_steps = 1 ", "local_steps = 3 "))
    write_charter(own.store, own.identity, own.charter())
    async with running(Peer(tmp_path / "alice"), Peer(tmp_path / "bob")) as (alice, bob):
        await until(lambda: new.store.authority().charter.number == 2)
        await until(lambda: "alone" in conditions_of(bob))
        assert "training.local_steps = 3 (here 1): correct peer.toml" in conditions_of(bob)["alone"]
        await until(lambda: alice.counters.refused["incompatible_charter"] > 0)
    settings = tmp_path / "bob" / "peer.toml"
    settings.write_text(settings.read_text().replace("local_steps = 1 ", "local_steps = 3 "))
    async with running(Peer(tmp_path / "alice"), Peer(tmp_path / "bob")) as (alice, bob):
        await until(lambda: are_connected(alice, bob))
        assert "charter" not in conditions_of(bob)


@in_trio
async def test_what_helps_depends_on_what_a_peer_shows(tmp_path, monkeypatch):
    monkeypatch.setitem(warn_of_isolation.__kwdefaults__, "seconds", 0.3)
    secret = {"membership": {"door": "secret"}}
    for number, name in enumerate(("alice", "bob")):
        made(tmp_path / name, number, **secret).store.write_secret(bytes([number]) * 32)
    async with running(Peer(tmp_path / "alice")) as (alice,):
        own, addresses = alice.status().peer_id, alice.status().addresses
        bob = Peer(tmp_path / "bob", settings=quick_settings(1, bootstrap=addresses, **secret))
        other = {"allow": [Identity.generate().peer_id]}
        carol = Peer(tmp_path / "carol", settings=quick_settings(2, bootstrap=addresses, network=other))
        dave = Peer(
            tmp_path / "dave", settings=quick_settings(3, bootstrap=addresses, network={"allow": [own]})
        )
        async with running(bob, carol, dave):
            await until(lambda: all("alone" in conditions_of(each) for each in (bob, carol, dave)))
            await until(lambda: "refused" in conditions_of(bob))
            assert "bob/membership/secret" in conditions_of(bob)["refused"]
            assert f"own network.allow lacks its bootstrap peers: add {own}" in conditions_of(carol)["alone"]
            await until(lambda: "refused" in conditions_of(dave))
            assert f"{dave.status().peer_id} added to network.allow" in conditions_of(dave)["refused"]


@in_trio
async def test_members_learn_in_rounds(tmp_path):
    listen, roster = members(tmp_path, 2)
    homes = []
    for number in range(2):
        directory = tmp_path / f"peer-{number}"
        Home(directory).create(settings_of(number, listen, roster, rounds={"topology": "complete:2"}))
        homes.append(HomeOfMember(directory))
    first, second = homes
    found(first.store, first.identity, name="lab", charter=first.charter())
    hand_over(first, second)
    async with running(*(Peer(each.home.directory) for each in homes)) as peers:
        await until(lambda: min(each.status().rounds["round"] for each in peers) >= 2)
        assert [each.status().membership["role"] for each in peers] == ["issuer", "member"]
        refused = {name for each in peers for name in each.counters.refused}
        assert refused <= {"exchange_timed_out"}  # on a busy machine


@in_trio
async def test_who_was_revoked_or_whose_time_is_up_does_not_start(tmp_path):
    own = founded(tmp_path / "alice")
    late, out = made(tmp_path / "late", 1), made(tmp_path / "out", 2)
    hand_over(own, late, days=-0.001)
    hand_over(own, out)
    out.store.merge(_with_revocation(own, out))
    for each, why in ((late, "has expired"), (out, "was revoked")):
        with pytest.raises(MembershipError, match=f"own certificate is not valid.*{why}"):
            await Peer(each.home.directory).run()


def _with_revocation(own, other):
    revoke(own.store, own.identity, other.identity.peer_id)
    return own.store.authority()


@in_trio
async def test_a_stranger_and_a_member_of_another_network_are_kept_apart(tmp_path):
    own, other = founded(tmp_path / "alice"), founded(tmp_path / "mallory")
    alice = Peer(tmp_path / "alice")
    async with running(alice):
        address = alice.status().addresses
        other.store.write_introducers(address)
        stranger = Peer(tmp_path / "eve", settings=quick_settings(2, bootstrap=address))
        async with running(Peer(tmp_path / "mallory"), stranger):
            await until(lambda: alice.counters.refused["certificate_of_another_network"])
            await until(lambda: alice.counters.refused["certificate_missing"])
            await until(lambda: stranger.status().membership["turned_away_by"])  # told after it was counted
            assert stranger.status().membership["turned_away_by"][0]["peer"] == own.identity.peer_id
            assert stranger.status().event == 0 and not alice._incarnation.host.connected()


def test_too_few_keys_cannot_do_what_network_keys_must(tmp_path):
    own = founded(tmp_path / "alice", keys=3, threshold=2, keys_directory=tmp_path / "keys")
    with pytest.raises(MembershipError, match="2 of its 3 network keys"):
        invitation(own, role=Role.ISSUER)
    with pytest.raises(MembershipError, match="2 of its 3 network keys"):
        write_charter(own.store, own.identity, own.charter())
    keys = sorted((tmp_path / "keys").iterdir())
    assert len(keys) == 3 and all(each.stat().st_mode & 0o077 == 0 for each in keys)
    assert invitation(own).network == own.store.authority().id  # an issuer needs none of them
    own.store.keys_directory.mkdir()
    for each in keys[:2]:
        each.rename(own.store.keys_directory / each.name)
    assert invitation(own, role=Role.ISSUER)
    write_charter(own.store, own.identity, own.charter())


def test_damaged_files_are_named(tmp_path):
    own = founded(tmp_path / "alice")
    for path in (own.store.network_file, own.store.certificate_file):
        content = path.read_bytes()
        for wrong in (
            b"",
            content[:-1],
            content[:40] + bytes([content[40] ^ 1]) + content[41:],
            content + b"\0",
        ):
            path.write_bytes(wrong)
            with pytest.raises((MembershipError, NotAMember)):
                Peer(tmp_path / "alice")
                authority = own.store.authority()
                authority.member(
                    own.store.certificate(),
                    subject=load_or_create_identity(tmp_path / "alice").public_key,
                    now=time.time(),
                )
        path.write_bytes(content)

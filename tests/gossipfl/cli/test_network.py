"""``gossipfl network``: a network founded, joined, shown and changed by the commands an operator uses."""

import json
import time
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from gossipfl.cli.network import app
from gossipfl.moments import moment
from gossipfl.network import Identity, Scope, load_or_create_identity, scope_of
from gossipfl.network.reachability import interface_addresses
from gossipfl.peer import Home
from gossipfl.peer.membership.store import MembershipStore
from tests.integration.peers import PeerProcess, quick_settings

from .test_main import cli

__all__ = ["cli"]

BEN, CEM = (Identity.generate().peer_id for _ in range(2))
MALLORY = "12D3KooWMh8rnjcSXApn8nm2tNyeB5gFkJMG9dBRxJB8wx3j6fLJ"


@pytest.fixture
def done(cli):
    """Run a command that must succeed, and return what it prints."""

    def run(*arguments, home=None):
        code, out, err = cli("network", *arguments, *(["--home", home] if home else []))
        assert code == 0, err
        return out

    return run


def refused(cli, *arguments, home):
    code, out, err = cli("network", *arguments, "--home", home)
    assert (code, out) == (2, ""), (out, err)
    assert "Traceback" not in err
    return err


def made(directory, index=0, **tables):
    Home(directory).create(quick_settings(index, **tables))
    return directory, load_or_create_identity(directory).peer_id


def test_a_network_is_founded_and_shown(done, tmp_path):
    home, peer_id = made(tmp_path / "alice")
    founded = json.loads(done("create", "--name", "lab", "--json", home=home))
    assert founded["issuer"] == peer_id
    shown = json.loads(done("show", "--json", home=home))
    assert (shown["network"], shown["name"], shown["threshold"]) == (founded["network"], "lab", 1)
    assert shown["certificate"]["role"] == "issuer"
    assert shown["charter"]["fields"]["training.local_steps"] == "1"
    text = done("show", home=home)
    assert founded["network"] in text and "training.local_steps = 1" in text
    for path in (home / "membership").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_an_invitation_names_where_the_peer_can_be_dialled(cli, done, tmp_path):
    home, _ = made(tmp_path / "alice", network={"listen": ["/ip4/0.0.0.0/tcp/4001"]})
    done("create", "--name", "lab", home=home)
    named = json.loads(done("invite", "--json", home=home))["addresses"]
    assert named == [f"/ip4/{host}/tcp/4001" for host in hosts_that_others_reach()]
    assert "cannot be dialled" in refused(cli, "invite", "--address", "/ip4/0.0.0.0/tcp/4001", home=home)


def hosts_that_others_reach():
    """As the operating system tells; loopback on a machine that has nothing else."""
    hosts = [host for host in interface_addresses() if ":" not in host]
    wide = [host for host in hosts if scope_of(host) > Scope.LOOPBACK]
    return sorted(wide or hosts, key=lambda host: -scope_of(host))[:8]


def test_who_is_invited_joins_runs_and_is_revoked(cli, done, tmp_path):
    alice, _ = made(tmp_path / "alice")
    done("create", "--name", "lab", home=alice)
    assert "no known address" in refused(cli, "invite", home=alice)
    process = PeerProcess.__new__(PeerProcess)
    process.home, process.forked, process.process = Home(alice), True, None
    with process.start("--plain"):
        process.until_at(event=0)
        line = done("invite", home=alice).strip()
        bob, bob_id = made(tmp_path / "bob", 1)
        assert "is a member of lab" in done("join", line, home=bob)
        assert "is a member of lab" in done(
            "join", line, home=bob
        )  # the same again, and the same certificate
        eve, _ = made(tmp_path / "eve", 2)
        assert "the invitation was used" in refused(cli, "join", line, home=eve)
        members = json.loads(done("members", "--json", home=alice))
        assert [each["peer"] for each in members["invitations"]] == [bob_id]
        assert f"{bob_id} member until" in done("members", home=alice)
        assert f"Revoked {bob_id}" in done("revoke", bob_id, home=alice)
        assert done("members", home=alice).strip().endswith("UTC, revoked")  # and is listed once
        deadline = process.until_at(event=0)
        assert deadline["membership"]["door"] == "certificates"


def test_keys_in_different_hands_sign_one_after_the_other(cli, done, tmp_path):
    alice, peer_id = made(tmp_path / "alice")
    keys = tmp_path / "keys"
    done("create", "--keys", 3, "--threshold", 2, "--keys-to", keys, home=alice)
    hands = []
    for number, path in enumerate(sorted(keys.iterdir())):
        hands.append(tmp_path / f"hand-{number}")
        hands[-1].mkdir()
        path.rename(hands[-1] / path.name)
    assert "2 of its 3 network keys" in refused(cli, "charter", home=alice)
    line = done("charter", "--draft", home=alice).strip()
    once = done("sign", line, "--keys", hands[0], "--yes").strip()
    assert "signatures are missing" in refused(cli, "apply", once, home=alice)
    assert "signatures are missing" in refused(
        cli, "apply", done("sign", once, "--keys", hands[0], "--yes").strip(), home=alice
    )
    done("apply", done("sign", once, "--keys", hands[2], "--yes").strip(), home=alice)
    assert json.loads(done("show", "--json", home=alice))["charter"]["number"] == 2
    line = done("revoke", MALLORY, "--draft", home=alice).strip()
    for hand in hands[1:]:
        line = done("sign", line, "--keys", hand, "--yes").strip()
    done("apply", line, home=alice)
    assert json.loads(done("show", "--json", home=alice))["revoked"] == [MALLORY]
    line = done("admit", peer_id, "--role", "issuer", "--days", 10, "--draft", home=alice).strip()
    for hand in hands[:2]:
        line = done("sign", line, "--keys", hand, "--yes").strip()
    assert peer_id in done("apply", line, home=alice)


def test_a_revocation_says_what_it_changes(cli, done, tmp_path):
    alice, _ = made(tmp_path / "alice")
    done("create", "--keys-to", tmp_path / "keys", home=alice)
    assert "would have no effect" in refused(cli, "revoke", MALLORY, home=alice)
    assert json.loads(done("show", "--json", home=alice))["revoked"] == []
    (tmp_path / "keys").rename(alice / "membership" / "keys")
    code, out, err = cli("network", "revoke", MALLORY, "--home", alice)
    assert code == 0 and f"Revoked {MALLORY}, by network keys" in out and "has never met" in err
    assert f"{MALLORY} was revoked before: nothing changed" in done("revoke", MALLORY, home=alice)


def test_keys_are_rotated(cli, done, tmp_path):
    alice, _ = made(tmp_path / "alice")
    done("create", home=alice)
    before = json.loads(done("show", "--json", home=alice))
    done("rotate", "--keys", 2, "--threshold", 2, home=alice)
    after = json.loads(done("show", "--json", home=alice))
    assert after["network"] == before["network"]
    assert (
        after["rotations"] == 1 and after["threshold"] == 2 and not set(after["keys"]) & set(before["keys"])
    )
    assert after["certificate"]["serial"] != before["certificate"]["serial"]


def test_keys_in_different_hands_are_rotated_to_keys_in_other_hands(cli, done, tmp_path):
    alice, _ = made(tmp_path / "alice")
    done("create", "--keys", 2, "--threshold", 2, "--keys-to", tmp_path / "old", home=alice)
    done("revoke", MALLORY, "--draft", home=alice)
    hands = [tmp_path / f"hand-{number}" for number in range(3)]
    public = [done("key", "--to", hand).strip() for hand in hands]
    for hand in hands:
        [path] = hand.iterdir()
        assert path.stat().st_mode & 0o077 == 0
    new = [part for each in public for part in ("--key", each)]
    assert "needs --draft" in refused(cli, "rotate", *new, home=alice)
    assert "not the public half" in refused(cli, "rotate", "--key", "abc", "--draft", home=alice)
    assert "of which one or more must sign" in refused(
        cli, "rotate", *new, "--threshold", 4, "--draft", home=alice
    )
    line = done("rotate", *new, "--threshold", 2, "--draft", home=alice).strip()
    assert "signatures are missing" in refused(cli, "apply", line, home=alice)
    signed = done("sign", line, "--keys", tmp_path / "old", "--yes").strip()
    assert "signatures are missing" in refused(cli, "apply", signed, home=alice)  # those of the new keys
    for hand in hands[1:]:
        signed = done("sign", signed, "--keys", hand, "--yes").strip()
    done("apply", signed, home=alice)
    after = json.loads(done("show", "--json", home=alice))
    assert (after["rotations"], after["threshold"], after["keys"]) == (1, 2, sorted(public))
    assert (after["charter"]["number"], after["revoked"]) == (2, [])


def test_two_of_three_sign_a_rotation_and_all_that_follows_from_it_at_once(cli, done, tmp_path):
    """As docs/operations.md has it."""
    alice, alice_id = made(tmp_path / "alice")
    hands = [tmp_path / name for name in ("ada", "ben", "cem")]
    done("create", "--keys", 3, "--threshold", 2, "--keys-to", tmp_path / "keys", home=alice)
    for path, hand in zip(sorted((tmp_path / "keys").iterdir()), hands, strict=True):
        hand.mkdir()
        path.rename(hand / path.name)
    done("admit", BEN, home=alice)
    done("revoke", BEN, home=alice)  # by the issuer
    line = done("revoke", MALLORY, "--draft", home=alice).strip()
    for hand in hands[:2]:
        line = done("sign", line, "--keys", hand, "--yes").strip()
    done("apply", line, home=alice)

    public = [done("key", "--to", hand).strip() for hand in hands]
    new = [part for each in public for part in ("--key", each)]
    drafts = [tmp_path / f"rotation-{number}.txt" for number in range(3)]
    code, out, err = cli("network", "rotate", *new, "--issuer", CEM, "--draft", "--home", alice)
    assert code == 0 and "0 of 2 signatures by the present keys" in err and "0 of 2 by the new ones" in err
    drafts[0].write_text(out)
    for hand, before, after in zip(hands[:2], drafts, drafts[1:], strict=False):
        after.write_text(done("sign", before, "--keys", hand, "--home", alice, "--yes"))
    assert "signatures are missing" in refused(cli, "apply", drafts[1], home=alice)
    assert json.loads(done("show", "--json", home=alice))["rotations"] == 0
    applied = done("apply", drafts[2], home=alice)
    assert "makes rotation 1" in applied and f"makes {alice_id} an issuer" in applied
    assert "other issuers get their certificates from this peer" in applied
    after = json.loads(done("show", "--json", home=alice))
    assert (after["rotations"], after["keys"]) == (1, sorted(public))
    assert (after["charter"]["number"], after["revoked"]) == (2, sorted([MALLORY, BEN]))
    known = MembershipStore(alice / "membership").authority()
    later = time.time() + 60 * 86_400  # when the old keys are worth nothing
    assert len(known.revocations) == 2 and all(
        known.is_verifiable(each, now=later) for each in known.revocations
    )
    assert done("apply", drafts[2], home=alice)  # the same again changes nothing
    assert f"{CEM} issuer until" in done("members", home=alice)


def test_a_rotation_that_does_not_follow_is_refused(cli, done, tmp_path):
    alice, _ = made(tmp_path / "alice")
    done("create", home=alice)
    keys = alice / "membership" / "keys"
    drafts = []
    for hand in (tmp_path / "one", tmp_path / "other"):
        key = done("key", "--to", hand).strip()
        line = done("rotate", "--key", key, "--draft", home=alice).strip()
        drafts.append(done("sign", done("sign", line, "--keys", keys, "--yes"), "--keys", hand, "--yes"))
    done("apply", drafts[0], home=alice)
    assert "which there was already, to other keys" in refused(cli, "apply", drafts[1], home=alice)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["show"], ["belongs to no network", "network create"]),
        (["invite"], ["belongs to no network"]),
        (["members"], ["belongs to no network"]),
        (["revoke", MALLORY], ["belongs to no network"]),
        (["join", "gossipfl1nonsense"], ["not an invitation", "whole line"]),
        (["join", "x" * 5000], ["not an invitation"]),
        (["create", "--keys", "9"], ["number of network keys is out of range"]),
        (["create", "--keys", "2", "--threshold", "3"], ["number of network keys is out of range", "3 of 2"]),
        (["create", "--name", "Zürich"], ["name of the network is invalid"]),
        (["create", "--days", "nan"], ["number of days is out of range"]),
        (["apply", "gossipfl-statement-aaaa"], ["not a statement"]),
        (["apply", "no-such-file.txt"], ["not a statement", "or a file"]),
    ],
)
def test_what_cannot_be_done_is_said_by_name(cli, tmp_path, arguments, parts):
    home, _ = made(tmp_path / "alice")
    said = refused(cli, *arguments, home=home)
    assert all(part in said for part in parts), said


def test_a_member_of_one_network_does_not_become_one_of_another_unasked(cli, done, tmp_path, monkeypatch):
    alice, peer_id = made(tmp_path / "alice")
    done("create", home=alice)
    assert "already belongs to a network" in refused(cli, "create", home=alice)
    assert "cannot revoke itself" in refused(cli, "revoke", peer_id, home=alice)
    assert "no such role" in refused(
        cli, "invite", "--role", "king", "--address", "/ip4/192.0.2.7/tcp/1", home=alice
    )
    other, _ = made(tmp_path / "other")
    done("create", home=other)
    line = done("invite", "--address", "/ip4/127.0.0.1/tcp/1", home=other).strip()
    assert "belongs to another network" in refused(cli, "join", line, home=alice)
    new, _ = made(tmp_path / "new")
    assert "cannot be reached" in refused(cli, "join", line, home=new)
    next_week = SimpleNamespace(time=lambda: time.time() + 7 * 86_400)
    monkeypatch.setattr("gossipfl.peer.membership.founding.time", next_week)
    assert "has expired" in refused(cli, "join", line, home=new)


def test_open_invitations_are_listed_and_withdrawn(cli, done, tmp_path):
    alice, _ = made(tmp_path / "alice")
    done("create", home=alice)
    assert "has issued no invitations" in done("members", home=alice)
    invited = json.loads(done("invite", "--json", "--address", "/ip4/127.0.0.1/tcp/1", home=alice))
    assert invited["number"] in done("members", home=alice)
    assert "no invitation with this number" in refused(cli, "withdraw", "../certificate", home=alice)
    assert invited["number"] in done("withdraw", invited["number"], home=alice)
    assert json.loads(done("members", "--json", home=alice))["invitations"] == []
    assert "no invitation with this number" in refused(cli, "withdraw", invited["number"], home=alice)


def test_who_signs_is_told_which_network_and_how_many_must_sign(cli, done, tmp_path):
    alice, _ = made(tmp_path / "alice")
    other, _ = made(tmp_path / "other")
    keys, theirs = tmp_path / "keys", tmp_path / "theirs"
    done("create", "--name", "lab", "--keys", 2, "--threshold", 2, "--keys-to", keys, home=alice)
    done("create", "--name", "rival", "--keys-to", theirs, home=other)
    settings = alice / "peer.toml"
    settings.write_text(settings.read_text().replace("local_steps = 1 ", "local_steps = 3 "))
    line = done("charter", "--draft", home=alice).strip()
    one = sorted(keys.iterdir())[0]
    code, once, err = cli("network", "sign", line, "--keys", one, "--home", alice, "--yes")
    assert code == 0 and "1 of 2 signatures that network 'lab'" in err
    assert "makes charter 2, with training.local_steps = 3 (now 1), in network 'lab'" in err
    assert "gate.pace" not in err
    code, _, err = cli("network", "sign", line, "--keys", one, "--yes")
    network = json.loads(done("show", "--json", home=alice))["network"]
    assert code == 0 and f"in network {network[:16]}" in err and "--home" in err
    code, out, err = cli("network", "sign", line, "--keys", theirs, "--home", alice, "--yes")
    assert (code, out) == (2, "") and "do not sign for network 'lab'" in err
    assert "belongs to another network" in refused(cli, "apply", once.strip(), home=other)
    code, out, err = cli("network", "sign", line, "--keys", theirs, "--home", other, "--yes")
    assert (code, out) == (2, "") and "belongs to another network" in err


WRONG_KEYS = {
    "nothing": (None, "does not exist"),
    "an empty directory": ("", "there is no network key in"),
    "an identity": (bytes(32), "is not a network key"),
    "half a key": (b"gossipfl network key 1\n" + bytes(16), "is damaged; expected 55 bytes"),
    "a key and more": (b"gossipfl network key 1\n" + bytes(33), "is damaged; expected 55 bytes"),
}


@pytest.mark.parametrize(("content", "what"), WRONG_KEYS.values(), ids=WRONG_KEYS)
def test_what_is_no_network_key_is_named(cli, done, tmp_path, content, what):
    alice, _ = made(tmp_path / "alice")
    done("create", home=alice)
    line, keys = done("charter", "--draft", home=alice).strip(), tmp_path / "keys"
    if content == "":
        keys.mkdir()
    elif content is not None:
        keys.write_bytes(content)  # readable by all: which it is matters first
    code, out, err = cli("network", "sign", line, "--keys", keys, "--home", alice, "--yes")
    assert (code, out) == (2, "") and f"{keys}" in err and what in err, err
    assert "chmod" not in err and "b'" not in err


def test_who_declines_to_sign_gets_no_line(done, tmp_path):
    alice, _ = made(tmp_path / "alice")
    done("create", home=alice)
    arguments = ["sign", done("charter", "--draft", home=alice).strip(), "--keys"]
    declined = CliRunner().invoke(app, [*arguments, str(alice / "membership" / "keys")], input="n\n")
    assert declined.exit_code == 1 and "Not signed." in declined.stderr
    assert "gossipfl-statement" not in declined.stdout


@pytest.mark.parametrize("number", ["-5", "0", "1e9", "nan", "inf"])
@pytest.mark.parametrize("unit", ["hours", "days"])
def test_an_invitation_has_a_sensible_end(cli, done, tmp_path, unit, number):
    alice, _ = made(tmp_path / "alice")
    done("create", home=alice)
    said = refused(cli, "invite", f"--{unit}", number, "--address", "/ip4/192.0.2.7/tcp/1", home=alice)
    assert f"number of {unit} is out of range" in said
    assert json.loads(done("members", "--json", home=alice))["invitations"] == []


def test_times_are_shown_in_utc_whatever_they_are():
    assert moment(1_795_611_320.7) == "2026-11-25 12:55 UTC"
    assert moment(2.0**40) == moment(1e300) == "9999-12-31 23:59 UTC"
    assert moment(-1.0) == "1970-01-01 00:00 UTC"


def test_a_secret_is_made_once_and_has_to_be_private(cli, done, tmp_path):
    home, _ = made(tmp_path / "alice", membership={"door": "secret"})
    code, _, err = cli("peer", "run", "--home", home)
    assert code == 2 and "network secret" in err
    line = done("secret", home=home).strip()
    assert (home / "membership" / "secret").read_text().strip() == line
    assert "already has a secret" in refused(cli, "secret", home=home)
    (home / "membership" / "secret").chmod(0o644)
    code, _, err = cli("peer", "run", "--home", home)
    assert code == 2 and "accessible to other users" in err and "chmod" in err
    (home / "membership" / "secret").chmod(0o600)
    (home / "membership" / "secret").write_text("hunter2\n")
    code, _, err = cli("peer", "run", "--home", home)
    assert code == 2 and "holds no valid secret" in err

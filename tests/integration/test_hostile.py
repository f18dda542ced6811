"""Every line of the table of hostile inputs, carried out against a whole running peer."""

import psutil
import pytest
import torch

from gossipfl.network import Identity, load_or_create_identity
from gossipfl.peer import Peer, read_status
from gossipfl.settings import RoundsSettings
from tests.gossipfl.network.helpers import in_trio, until

from . import door_inputs, service_inputs  # noqa: F401  (add their lines)
from .doors import DoorTarget, settle
from .hostile import PartsTarget, RoundsTarget, Target
from .hostile_inputs import CASES
from .peers import REPOSITORY, quick_settings, records_of, running
from .security_table import render

IN_PARTS = {"sharing": {"kind": "partitioned", "parts": PartsTarget.parts}}
MOST_GROWTH = 32_000_000  # bytes; the largest claims above are of 2**63


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
@in_trio
async def test_it_is_refused_by_name_and_changes_nothing(case, tmp_path):
    attacker = Identity.generate()
    peer = victim_of(case, tmp_path / "victim", attacker)
    async with running(peer):
        target = target_of(case, peer, attacker)
        await until(lambda: peer.status().metrics)  # evaluated once: what that takes is not the attack's
        resident = psutil.Process().memory_info().rss
        await case.attack(target)
        if case.error:
            await until(lambda: peer.counters.refused[case.counter])
            others = {"identity_mismatch"} if case.counter == "connection_refused_by_policy" else set()
            assert set(peer.counters.refused) - others == {case.counter}
        else:
            assert not +peer.counters.refused
        assert psutil.Process().memory_info().rss - resident < MOST_GROWTH
        state = peer._incarnation.learner.state
        assert state.event == target.before.event
        assert torch.equal(state.nodes.rows, target.before.nodes.rows)
        await target.accept()  # the peer lives on, for others and, unless banned, for this address
        assert peer.status().network["refused"] == dict(peer.counters.refused)
    assert read_status(peer.home.status)["network"]["refused"] == dict(peer.counters.refused)
    # Nothing of it was recorded as having become part of the model.
    assert {each["event"] for each in records_of(peer.home, "merge")} <= set(
        range(1, target.before.event + 1)
    )


def victim_of(case, home, attacker):
    """A new peer for a case, not running yet."""
    settings = quick_settings(
        0,
        exchange={"patience": 1000.0, "deadline": 2.0, "merges_per_training": 1000},
        network={"dial_seconds": 1.5},
        gate={"enabled": False},  # what is asked is whether frames come in, not whether rows are merged
        gossip=IN_PARTS if case.in_parts else {},
    )
    if case.in_rounds:
        settings = with_rounds(settings, home, attacker)
    if case.door != "open":
        settle(home, case.door)
    return Peer(home, settings=settings)


def target_of(case, peer, attacker):
    if case.in_rounds:
        return RoundsTarget(peer, attacker)
    if case.in_parts:
        return PartsTarget(peer)
    return Target(peer) if case.door == "open" else DoorTarget(peer, case.door)


def with_rounds(settings, home, attacker):
    """The same peer in rounds of two, waiting for the attacker's row."""
    home.mkdir(mode=0o700)
    roster = [load_or_create_identity(home).peer_id, attacker.peer_id]
    rounds = {"algorithm": "d_psgd", "topology": "complete:2", "roster": roster}
    waiting = RoundsSettings(**rounds, gathering=0.0, deadline=1000.0)
    return settings.model_copy(update={"rounds": waiting})


def test_the_document_is_this_table():
    assert (REPOSITORY / "docs" / "security-table.md").read_text(encoding="utf-8") == render(), (
        "run: python -m tests.integration.security_table > docs/security-table.md"
    )


def test_every_error_of_a_refused_message_is_in_the_table():
    """A new kind of refusal needs a hostile input that provokes it."""
    from gossipfl.errors import MessageRefused

    def leaves(kind):
        return {leaf for child in kind.__subclasses__() for leaf in leaves(child)} or {kind}

    elsewhere = {kind for kind in leaves(MessageRefused) if _is_tried_by_members(kind.__name__)}
    assert leaves(MessageRefused) <= {case.error for case in CASES} | elsewhere


def _is_tried_by_members(name):
    """Whether a test of masked sums provokes it, whose conversations take four members and not one attacker."""
    tests = REPOSITORY / "tests" / "gossipfl"
    tried = [tests / "secure" / "test_hostile.py", tests / "peer" / "rounds" / "test_summands.py"]
    return any(f"raises({name}" in each.read_text(encoding="utf-8") for each in tried)

"""Honest digits peers, as processes, and liars among them: what the gate is worth over real sockets."""

import json
import os

import numpy as np
import pytest
import trio

from .gate_networks import GateNetwork, learn
from .liar import LIES, SUBTLE_LIES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

STARTS = {"from the start": 0, "later": 300}


def outcome(directory, lies=(), *, after=0, is_member=False, **changes):
    """Run a network and an undisturbed one beside it.

    Returns the mean accuracy of the honest in percent, what was decided, the liars, and the mean accuracy of the
    undisturbed.
    """
    network, beside = (
        GateNetwork(directory / "lied-to", **changes),
        GateNetwork(directory / "beside", **changes),
    )
    liars = trio.run(lambda: learn(network, lies, is_member=is_member, after=after, beside=beside))
    points, records, undisturbed = network.points(), network.records(), float(np.mean(beside.points()))
    own = {each.identity.peer_id for each in liars}
    counted = {"liars": {}, "honest": {}}
    for each in records:
        if each["kind"] == "refusal" or "gate" in each:
            decisions = counted["liars" if each["sender"] in own else "honest"]
            reason = each["reason"] if each["kind"] == "refusal" else f"{each['gate']} (merged)"
            decisions[reason] = decisions.get(reason, 0) + 1
    print(
        f"\n{lies} after {after}: mean {np.mean(points):.2f} worst {min(points):.2f}",
        f"undisturbed {undisturbed:.2f} pushed {sum(each.pushed for each in liars)} load {os.getloadavg()[1]:.0f}",
    )
    print(json.dumps(counted))
    return float(np.mean(points)), counted, liars, undisturbed


@pytest.mark.parametrize("after", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("door", ["open", "certificates"], ids=["a stranger", "a member"])
@pytest.mark.parametrize("lie", LIES)
def test_a_liar_costs_the_honest_at_most_a_point(lie, door, after, tmp_path):
    is_member = door == "certificates"
    points, counted, (liar,), undisturbed = outcome(
        tmp_path, [lie], door=door, is_member=is_member, after=after
    )
    assert liar.pushed > 8
    assert points >= undisturbed - 1
    assert refusals(counted["honest"]) == {}


@pytest.mark.parametrize("after", STARTS.values(), ids=STARTS)
def test_strangers_at_a_closed_door_cost_nothing(after, tmp_path):
    points, counted, liars, undisturbed = outcome(tmp_path, LIES, door="certificates", after=after)
    assert [each.pushed for each in liars] == [0] * len(LIES)
    assert points >= undisturbed - 1
    assert counted["liars"] == refusals(counted["honest"]) == {}


@pytest.mark.parametrize("lie", sorted(HELD := set(SUBTLE_LIES) - {"drifting"}))
def test_a_subtle_liar_costs_the_honest_at_most_a_point(lie, tmp_path):
    points, _, _, undisturbed = outcome(tmp_path, [lie])
    assert points >= undisturbed - 1


@pytest.mark.parametrize("door", ["open", "certificates"])
def test_no_honest_merge_is_refused(door, tmp_path):
    _, counted, _, _ = outcome(tmp_path, door=door)
    assert refusals(counted["honest"]) == {}


def test_without_the_gate_a_lie_ends_what_all_have_learned(tmp_path):
    points, _, _, _ = outcome(tmp_path, ["zeros"], after=300, gate={"enabled": False})
    assert points < 30


def refusals(decisions):
    return {reason: count for reason, count in decisions.items() if not reason.endswith("(merged)")}

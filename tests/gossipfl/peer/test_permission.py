"""Permission to train and to merge: pause, policy and other reasons together."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gossipfl.peer.permission import Permission, Permissions

STEPS = st.sampled_from(["pause", "resume", "hold", "release", "forbid", "permit", "forbid_all"])


@given(st.lists(STEPS, max_size=12))
def test_a_peer_trains_when_nothing_forbids_it(steps):
    told, records = [], []
    permissions = Permissions(told.append, records.append)
    paused = held = False
    policy = Permission()
    for step in steps:
        match step:
            case "pause" | "resume":
                paused = step == "pause"
                getattr(permissions, step)()
            case "hold" | "release":
                held = step == "hold"
                getattr(permissions, step)("nothing_typed")
            case _:
                policy = Permission(trains=step == "permit", merges=step != "forbid_all")
                permissions.obey(policy, () if step == "permit" else ("charging",))
        trains = policy.trains and not paused and not held
        assert permissions.current == Permission(trains=trains, merges=policy.merges and not paused)
    assert len(told) == len(records)
    assert all(one != other for one, other in pairwise(told))


def test_records_say_why():
    records = []
    permissions = Permissions(lambda _: None, records.append)
    permissions.hold("nothing_typed")
    permissions.pause()
    permissions.release("nothing_typed")
    permissions.resume()
    assert [each["reasons"] for each in records] == [["nothing_typed"], ["paused", "nothing_typed"], []]

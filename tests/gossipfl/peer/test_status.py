"""Status files of others, or damaged ones: read, or refused by name."""

import json
from dataclasses import fields

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gossipfl.errors import HomeError
from gossipfl.peer import PeerStatus, read_status
from gossipfl.peer.status import write_status

STATUS = PeerStatus(
    peer_id="12D3KooW",
    process=1,
    task="digits",
    addresses=("/ip4/127.0.0.1/tcp/4001",),
    incarnation=1,
    age=2,
    step=3,
    event=4,
    loss=float("nan"),
    saved_age=2,
    neighbours=0,
    connected=0,
    network={"bytes": 1},
    started=1.0,
    updated=2.0,
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize("name", [each.name for each in fields(PeerStatus)])
def test_a_status_without_a_value_or_with_another_is_named_or_read(name, tmp_path):
    file = tmp_path / "status.json"
    write_status(file, STATUS)
    known = read_status(file)
    assert known["loss"] is None

    @given(values)
    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def read(value):
        file.write_text(json.dumps({**known, name: value}))
        try:
            found = read_status(file)
        except HomeError as error:
            assert name in str(error)
        else:
            same = known[name] is None or isinstance(found[name], type(known[name]))
            assert same or name in ("started", "updated", "loss")  # whole numbers, too
            assert all(isinstance(each, dict) for each in (*found["peers"], *found["conditions"]))

    read()
    without = {key: value for key, value in known.items() if key != name}
    file.write_text(json.dumps(without))
    assert name == "peer_id" or read_status(file, whole=False) == without
    for wrong in ("[" * 100_000, "7", "[]", "", '{"peer_id": 1e400}'):
        file.write_text(wrong)
        with pytest.raises(HomeError):
            read_status(file, whole=False)

import pytest

from gossipfl.codecs import FLOAT32
from gossipfl.errors import PeerBusy, RefusedByNeighbour, SettingError
from gossipfl.wire import Expectation, Limits, Refusal
from tests.gossipfl.wire.frames import LAYOUT, TASK


@pytest.mark.parametrize(
    "change",
    [
        {"task": b"short"},
        {"layout": "a" * 32},
        {"size": -1},
        {"size": 2.0},
        {"codecs": ()},
        {"codecs": (FLOAT32, FLOAT32)},
    ],
    ids=str,
)
def test_an_expectation_nothing_can_meet_is_refused(change):
    with pytest.raises(SettingError):
        Expectation(**{"task": TASK, "layout": LAYOUT, "size": 3, "codecs": (FLOAT32,), **change})


@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_limits_are_positive_integers(value):
    with pytest.raises(SettingError, match="view_peers"):
        Limits(view_peers=value)


def test_a_refused_peer_gets_a_named_error_with_its_remedy():
    assert isinstance(Refusal(code="peer_busy", text="later").error(), PeerBusy)
    refused = Refusal(code="incompatible_task", text="the sender learns another task").error()
    assert isinstance(refused, RefusedByNeighbour)
    assert refused.code == "incompatible_task"
    assert "another task" in str(refused)
    assert "same task" in str(refused)
    assert Refusal(code="of_a_later_release", text="?").error().code == "of_a_later_release"


def test_a_refusal_says_nothing_unprintable_and_no_more_than_the_limit():
    error = PeerBusy("\x1b[2J" + "é\n" * 500)
    text = Refusal.of(error).text
    assert len(text) == Limits().text_length
    assert text.startswith("?[2J??")
    assert text.isascii()
    assert text.isprintable()

"""Exchanges of members' addresses that fail: what is said of them."""

from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock

from gossipfl.errors import IncompatibleTask, MessageRefused, PeerUnreachable, RefusedByNeighbour
from gossipfl.peer.rounds.conversation import Conversation
from gossipfl.peer.rounds.members import Members
from gossipfl.rounds.roster import Roster
from gossipfl.settings import ViewSettings

ROSTER = Roster(("me", "another"), {"me": (), "another": ()})


class Host:
    """A host whose exchanges fail in turn."""

    def __init__(self, *failures):
        self.failures = list(failures)

    async def exchange(self, peer_id, addresses, frame, *, seconds):
        raise self.failures.pop(0) if self.failures else PeerUnreachable("nobody is there")

    def remote_address(self, peer_id):
        return ""


def conversation(host, asked):
    book = SimpleNamespace(
        known=(),
        grow_older=lambda: None,
        tell=lambda: (),
        choose=lambda *, now: SimpleNamespace(peer_id=asked, addresses=()),
        failed=lambda peer_id, *, now: None,
    )
    return Conversation(
        host=host,
        plan=SimpleNamespace(roster=ROSTER),
        task=bytes(32),
        incarnation=1,
        mailbox=None,
        members=Members(roster=ROSTER, number=0, view=book, mailbox=None, patience=3),
        view=book,
        view_settings=ViewSettings(),
    )


@pytest.mark.parametrize(
    ("asked", "named"), [("another", "member 1"), ("a name of a bootstrap", "a bootstrap")]
)
def test_each_kind_of_refusal_of_addresses_is_said_once(caplog, asked, named):
    refused = RefusedByNeighbour(code=IncompatibleTask.counter(), text="another task")
    told = MessageRefused("no view", got="Progress")
    host = Host(refused, told, PeerUnreachable("away"), refused, told)

    async def main():
        with trio.move_on_after(60):
            await conversation(host, asked).exchange_views()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert not host.failures
    assert len(caplog.records) == 2
    assert all(named in each.getMessage() for each in caplog.records)
    assert "another task" in caplog.text
    assert "no view" in caplog.text

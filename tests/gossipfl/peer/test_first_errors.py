"""Logged errors of others: the first of each kind, and never without end."""

import logging

from gossipfl.errors import ChecksumMismatch, PeerBusy
from gossipfl.peer.first_errors import FirstErrors


def test_each_kind_of_each_peer_is_logged_once_and_not_without_end(caplog):
    errors = FirstErrors(logging.getLogger("first"))
    for _ in range(3):
        errors.log("alice", PeerBusy("no"))
        errors.log("alice", ChecksumMismatch("torn"))
        errors.log("bob", PeerBusy("no"))
    assert caplog.messages == ["alice: no", "alice: torn", "bob: no"]
    for number in range(5000):
        errors.log(f"peer {number}", PeerBusy("no"))
    assert len(caplog.messages) == 1000

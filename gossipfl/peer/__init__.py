"""The runtime of a peer: training, gossip, serving, checkpoints and records, in one nursery."""

from __future__ import annotations

from gossipfl.peer.home import Home
from gossipfl.peer.peer import Peer
from gossipfl.peer.records import read_records
from gossipfl.peer.status import PeerStatus, read_status

__all__ = ["Home", "Peer", "PeerStatus", "read_records", "read_status"]

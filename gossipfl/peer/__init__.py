"""The runtime of a peer: training, gossip, serving, checkpoints and records, in one nursery.

The names below are imported on first use, so that inspecting a peer's directory does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.lazy import lazy_attributes

if TYPE_CHECKING:
    from gossipfl.peer.peer import Peer
    from gossipfl.peer.status import PeerStatus, read_status
    from gossipfl.peer.store.home import Home
    from gossipfl.peer.store.records import read_records

__all__ = ["Home", "Peer", "PeerStatus", "read_records", "read_status"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Home": "gossipfl.peer.store.home",
        "Peer": "gossipfl.peer.peer",
        "PeerStatus": "gossipfl.peer.status",
        "read_records": "gossipfl.peer.store.records",
        "read_status": "gossipfl.peer.status",
    },
)

"""The runtime of a peer: training, gossip, serving, checkpoints and records, in one nursery.

The names below are imported when they are first used: looking at a peer's directory needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gossipfl.peer.peer import Peer
    from gossipfl.peer.status import PeerStatus, read_status
    from gossipfl.peer.store.home import Home
    from gossipfl.peer.store.records import read_records

__all__ = ["Home", "Peer", "PeerStatus", "read_records", "read_status"]

_HOMES = {
    "Home": "gossipfl.peer.store.home",
    "Peer": "gossipfl.peer.peer",
    "PeerStatus": "gossipfl.peer.status",
    "read_records": "gossipfl.peer.store.records",
    "read_status": "gossipfl.peer.status",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

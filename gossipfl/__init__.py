"""Peer-to-peer gossip learning: peers train on their own data and converge to one shared model.

The names below are imported when they are first used, so that ``import gossipfl`` needs neither torch nor
libp2p.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.lazy import lazy_attributes

if TYPE_CHECKING:
    from gossipfl.layout import SharePolicy
    from gossipfl.peer import Peer
    from gossipfl.settings import PeerSettings
    from gossipfl.tasks import Dataset, Task

__all__ = ["Dataset", "Peer", "PeerSettings", "SharePolicy", "Task", "__version__"]

__version__ = "0.1.0"

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Dataset": "gossipfl.tasks",
        "Peer": "gossipfl.peer",
        "PeerSettings": "gossipfl.settings",
        "SharePolicy": "gossipfl.layout",
        "Task": "gossipfl.tasks",
    },
)

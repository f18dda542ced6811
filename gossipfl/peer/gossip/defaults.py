"""Parameters of the default algorithm as ``peer.toml`` shows them, without the algorithm and so without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gossipfl.settings import GossipSettings, PeerSettings

__all__ = ["known_parameters"]

#: What `gossip_parameters` returns for settings that choose nothing else; a test compares.
_DEFAULTS: Final[Mapping[str, tuple[Any, str]]] = {
    "merge": ("MU", "RW: train the received model; MU: merge, then train; UM: train both, then merge"),
    "weighting": ("age", "weight of each model in a merge: its age, or one half"),
    "merge_limit": (
        None,
        "largest difference of ages at which models are averaged; beyond it the older one is adopted "
        "unchanged; no limit if unset",
    ),
}


def known_parameters(settings: PeerSettings) -> dict[str, tuple[Any, str]] | None:
    """Return the parameters that ``[gossip]`` may hold, if it leaves everything to the defaults; else None."""
    chosen = settings.gossip != GossipSettings() or settings.rounds.algorithm is not None
    return None if chosen else dict(_DEFAULTS)

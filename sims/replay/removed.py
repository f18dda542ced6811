"""Records that peers removed to make room: what can be replayed without them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gossipfl.moments import moment
from sims.replay.errors import RecordsRemoved
from sims.replay.lives import RecordedPeer, Version

__all__ = ["require_kept"]

_SHOWN = 5


def require_kept(peers: Sequence[RecordedPeer], versions: Iterable[Version]) -> None:
    """Require that the starts which made these versions have all their records.

    Raises
    ------
    RecordsRemoved
        If some were removed; says which are left.
    """
    by_id = {peer.peer: peer for peer in peers}
    for version in versions:
        peer = by_id.get(version.peer)
        if peer is not None and version.incarnation in peer.removed:
            raise RecordsRemoved(
                f"records that {version} descends from were removed to make room",
                expected="every record since the first start of each peer",
                got="; ".join(map(_left, list(peers)[:_SHOWN])),
                remedy="Nothing that descends from removed events can be replayed. Replay backups from before "
                "that, or run peers whose records.keep_megabytes and records.keep_days hold the whole run. "
                "`gossipfl analyze` reads what is left.",
            )


def _left(peer: RecordedPeer) -> str:
    """Say which events of a peer are still recorded."""
    if not peer.removed:
        return f"all of peer {peer.peer}"
    kept = [
        f"events {life.first + 1} to {life.last} of start {life.incarnation} (from {moment(life.started)})"
        for life in list(peer.lives.values())[:_SHOWN]
    ]
    return f"of peer {peer.peer} {', '.join(kept)}"

"""Discovery of peers from sources other than gossip: settings, a file that may change, and the LAN."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import trio

from gossipfl.errors import GossipflError
from gossipfl.network import parse_address
from gossipfl.wire import PeerDescriptor
from topology.text import read_text

__all__ = ["Discovery", "follow_file", "peers_in"]

logger = logging.getLogger(__name__)

Addresses = Mapping[str, tuple[str, ...]]

_LOOK_SECONDS: Final = 2.0
_MOST_BYTES: Final = 1 << 20


class Discovery:
    """Merges the peers that all sources name.

    Parameters
    ----------
    bootstrap : iterable of PeerDescriptor
        Peers named in the settings.
    configure : callable
        Called after each change with all peers that are named now, and their addresses.
    """

    def __init__(self, bootstrap: Iterable[PeerDescriptor], configure: Callable[[Addresses], None]) -> None:
        self._sources: dict[str, Addresses] = {
            "settings": {each.peer_id: each.addresses for each in bootstrap}
        }
        self._configure = configure

    def found(self, source: str, addresses: Addresses) -> None:
        """Record all peers that a source names now."""
        if self._sources.get(source, {}) == addresses:
            return
        self._sources[source] = addresses
        merged: dict[str, tuple[str, ...]] = {}
        for each in self._sources.values():
            for peer_id, places in each.items():
                merged[peer_id] = tuple(dict.fromkeys((*merged.get(peer_id, ()), *places)))
        self._configure(merged)


def peers_in(text: str, *, source: str) -> dict[str, tuple[str, ...]]:
    """Parse a file of peers, with one address ending in /p2p/PEER_ID a line, and comments after ``#``.

    Invalid lines are skipped with a warning.

    Parameters
    ----------
    source : str
        Name of the file, for the warning.
    """
    peers: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        try:
            address = parse_address(entry, smallest_port=1)
        except GossipflError as error:
            logger.warning("%s, line %d was skipped: %s", source, number, error)
            continue
        if address.peer_id is None:
            logger.warning(
                "%s, line %d was skipped: it has no peer id; expected an address ending in /p2p/PEER_ID; got %r. "
                "`gossipfl peer status` prints it",
                source,
                number,
                entry[:200],
            )
            continue
        peers[address.peer_id] = (*peers.get(address.peer_id, ()), entry)
    return peers


async def follow_file(path: Path, discovery: Discovery) -> None:
    """Read a file of peers whenever it has changed, until cancelled; a missing one is reported once."""
    seen: tuple[int, int, int] | None = None
    was_reported = False
    while True:
        try:
            found = await trio.to_thread.run_sync(path.stat)
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            if state != seen and found.st_size <= _MOST_BYTES:
                text = await trio.to_thread.run_sync(read_text, path)
                discovery.found("file", peers_in(text, source=str(path)))
            elif state != seen:
                logger.warning("%s was not read: expected at most %d bytes", path, _MOST_BYTES)
            seen, was_reported = state, False
        except (OSError, UnicodeDecodeError) as error:
            if not was_reported:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                logger.warning("the peers file %s cannot be read, and will be tried again: %s", path, reason)
            was_reported = True
        await trio.sleep(_LOOK_SECONDS)

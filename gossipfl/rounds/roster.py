"""The roster of rounds: every member by number, the same list at every peer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gossipfl.errors import SettingError
from gossipfl.network import parse_address
from gossipfl.settings import RoundsSettings
from topology.text import read_text

__all__ = ["Roster", "read_roster"]

_PEER_ID = re.compile(r"[1-9A-HJ-NP-Za-km-z]{20,100}")


@dataclass(frozen=True, slots=True)
class Roster:
    """The members of a network of rounds.

    Parameters
    ----------
    members : tuple of str
        Peer ids; a member's place is its number.
    addresses : mapping of str to tuple of str
        Addresses of members in the roster, by peer id.
    """

    members: tuple[str, ...]
    addresses: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, peer_id: object) -> bool:
        return peer_id in self.members

    def number_of(self, peer_id: str) -> int:
        """Number of a member.

        Raises
        ------
        SettingError
            If it is not a member.
        """
        try:
            return self.members.index(peer_id)
        except ValueError:
            raise SettingError(
                f"peer {peer_id} is not in the roster of {len(self.members)} members",
                remedy="Add it to rounds.roster (or the roster's file) of all peers.",
            ) from None


def read_roster(settings: RoundsSettings, *, directory: Path) -> Roster:
    """Read the roster given or named in the settings.

    Parameters
    ----------
    settings : RoundsSettings
    directory : Path
        The peer's, to which a file's path is relative.

    Raises
    ------
    SettingError
        If there is no roster or there are two, the file cannot be read, or an entry is not a member.
    """
    if bool(settings.roster) == (settings.roster_file is not None):
        raise SettingError(
            "rounds need one roster",
            expected="either rounds.roster or rounds.roster_file",
            got="both" if settings.roster else "neither",
            remedy="`gossipfl peer roster HOME…` prints one for peers whose homes are at hand.",
        )
    if settings.roster_file is None:
        return _roster(settings.roster, source="rounds.roster")
    path = directory / settings.roster_file
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(
            f"the roster {path} cannot be read",
            got=error.strerror if isinstance(error, OSError) else str(error),
            remedy="Write one: gossipfl peer roster HOMES… > roster.txt; the same file serves all members.",
        ) from error
    entries = [entry for line in lines if (entry := line.partition("#")[0].strip())]
    return _roster(entries, source=str(path))


def _roster(entries: Sequence[str], *, source: str) -> Roster:
    addresses: dict[str, tuple[str, ...]] = {}
    for number, entry in enumerate(entries):
        peer_id = _peer_id(entry, source=source, number=number)
        if peer_id in addresses:
            raise SettingError(
                f"{source} names a member twice",
                got=f"{peer_id} as numbers {list(addresses).index(peer_id)} and {number}",
            )
        addresses[peer_id] = (entry,) if entry.startswith("/") else ()
    if len(addresses) < 2:
        raise SettingError(
            f"{source} is not a network", expected="at least two members", got=f"{len(addresses)}"
        )
    return Roster(tuple(addresses), addresses)


def _peer_id(entry: str, *, source: str, number: int) -> str:
    peer_id = parse_address(entry).peer_id if entry.startswith("/") else entry
    if peer_id is None or not _PEER_ID.fullmatch(peer_id):
        raise SettingError(
            f"member {number} of {source} is not a peer",
            expected="a peer id, or an address that ends in /p2p/PEER_ID",
            got=repr(entry[:120]),
            remedy="`gossipfl peer init` and `gossipfl peer status` print the id.",
        )
    return peer_id

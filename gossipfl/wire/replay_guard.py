"""Protection against replayed messages."""

from __future__ import annotations

from gossipfl.errors import ReplayedMessage, SettingError
from gossipfl.recent import RecentMap

__all__ = ["REMEDY", "ReplayGuard"]

#: Remedy for the sender of a message that was overtaken.
REMEDY = "Nothing: the neighbour has a later message from this peer; this one was overtaken or duplicated."


class ReplayGuard:
    """Remembers the newest message of each sender, and refuses older ones.

    A message is newer if its sequence is higher in the same incarnation, or its incarnation is higher. Memory is
    bounded: beyond `senders`, the sender that has been silent longest is forgotten, and its old messages would be
    accepted again. Third parties cannot exploit that, because the transport authenticates the sender.

    Parameters
    ----------
    senders : int
        Number of senders remembered.

    Raises
    ------
    SettingError
        `senders` is below 1.
    """

    def __init__(self, *, senders: int = 4096) -> None:
        if senders < 1:
            raise SettingError(
                "a replay guard must remember some senders", expected="senders >= 1", got=senders
            )
        self._newest: RecentMap[str, tuple[int, int]] = RecentMap(senders)

    def __len__(self) -> int:
        return len(self._newest)

    def newest(self, sender: str) -> tuple[int, int] | None:
        """Return incarnation and sequence of the newest message admitted from a sender, if any is remembered."""
        return self._newest.get(sender)

    def check(self, sender: str, *, incarnation: int, sequence: int) -> bool:
        """Return whether a message is new, without admitting it.

        The newest may be repeated: its sender resends it if it received no answer, and may be answered again.

        Raises
        ------
        ReplayedMessage
            It is older than the newest admitted from this sender.
        """
        newest = self._newest.get(sender)
        if newest is not None and (incarnation, sequence) < newest:
            raise ReplayedMessage(
                "a later message from this sender has arrived already",
                expected=f"incarnation {newest[0]} from sequence {newest[1]} on, or a higher incarnation",
                got=f"incarnation {incarnation}, sequence {sequence}",
                remedy=REMEDY,
            )
        return (incarnation, sequence) != newest

    def admit(self, sender: str, *, incarnation: int, sequence: int) -> bool:
        """Check and remember a message that has been read completely; return whether it is new.

        Raises
        ------
        ReplayedMessage
            It is older than the newest, for example because a later one was admitted while it was being read.
        """
        is_new = self.check(sender, incarnation=incarnation, sequence=sequence)
        self._newest[sender] = (incarnation, sequence)
        return is_new

"""Guard against messages that were received before."""

from __future__ import annotations

from gossipfl.errors import ReplayedMessage, SettingError
from gossipfl.recent import RecentMap

__all__ = ["REMEDY", "ReplayGuard"]

#: What the sender of a message can do that was overtaken.
REMEDY = "Nothing: the neighbour has a later message of this peer; this one was overtaken, or came twice."


class ReplayGuard:
    """Remembers the newest message of each sender, and refuses any that is older.

    Newer is a higher sequence in the same incarnation, or any sequence in a higher one. Memory is bounded:
    beyond `senders`, the sender unheard for longest is forgotten, and its old messages would pass again. That
    is no hole towards third parties, because the transport proves who sends.

    Parameters
    ----------
    senders : int
        How many senders are remembered.

    Raises
    ------
    SettingError
        `senders` is below 1.
    """

    def __init__(self, *, senders: int = 4096) -> None:
        if senders < 1:
            raise SettingError("a replay guard remembers nobody", expected="senders >= 1", got=senders)
        self._newest: RecentMap[str, tuple[int, int]] = RecentMap(senders)

    def __len__(self) -> int:
        return len(self._newest)

    def newest(self, sender: str) -> tuple[int, int] | None:
        """Incarnation and sequence of the newest message admitted from a sender; None if none is remembered."""
        return self._newest.get(sender)

    def check(self, sender: str, *, incarnation: int, sequence: int) -> bool:
        """Return whether a message is new, without admitting it.

        The newest one may come again: its sender repeats it if it did not get its answer, and may be answered.

        Raises
        ------
        ReplayedMessage
            It is older than the newest admitted from this sender.
        """
        newest = self._newest.get(sender)
        if newest is not None and (incarnation, sequence) < newest:
            raise ReplayedMessage(
                "a later message of this sender came before",
                expected=f"incarnation {newest[0]} from sequence {newest[1]} on, or a higher one",
                got=f"incarnation {incarnation}, sequence {sequence}",
                remedy=REMEDY,
            )
        return (incarnation, sequence) != newest

    def admit(self, sender: str, *, incarnation: int, sequence: int) -> bool:
        """Check a message that was read completely, and remember it; return whether it is new.

        Raises
        ------
        ReplayedMessage
            It is older than the newest, for instance because a later one was admitted while it was being read.
        """
        is_new = self.check(sender, incarnation=incarnation, sequence=sequence)
        self._newest[sender] = (incarnation, sequence)
        return is_new

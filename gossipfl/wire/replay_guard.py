"""Refusing what was received before."""

from __future__ import annotations

from collections import OrderedDict

from gossipfl.errors import ReplayedMessage, SettingError

__all__ = ["ReplayGuard"]


class ReplayGuard:
    """Remembers the newest message of each sender, and refuses any that is not newer.

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
        self._senders = senders
        self._newest: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._newest)

    def check(self, sender: str, *, incarnation: int, sequence: int) -> None:
        """Require that a message is newer than all admitted from this sender, without admitting it.

        Raises
        ------
        ReplayedMessage
            It is not.
        """
        newest = self._newest.get(sender)
        if newest is not None and (incarnation, sequence) <= newest:
            raise ReplayedMessage(
                "the message is not newer than the last one from this sender",
                expected=f"later than incarnation {newest[0]}, sequence {newest[1]}",
                got=f"incarnation {incarnation}, sequence {sequence}",
                remedy="Incarnation and sequence must never go back; restore the newest checkpoint.",
            )

    def admit(self, sender: str, *, incarnation: int, sequence: int) -> None:
        """Check a message that was read completely, and remember it.

        Raises
        ------
        ReplayedMessage
            It is not newer, for instance because the same message was admitted while this one was being read.
        """
        self.check(sender, incarnation=incarnation, sequence=sequence)
        self._newest[sender] = (incarnation, sequence)
        self._newest.move_to_end(sender)
        if len(self._newest) > self._senders:
            self._newest.popitem(last=False)

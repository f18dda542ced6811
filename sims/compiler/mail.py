"""Messages on their way, as the reference executor knows them."""

from __future__ import annotations

from dataclasses import dataclass

from gossipfl.algorithms import Message

__all__ = ["Mail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A message on its way.

    Parameters
    ----------
    message : Message
        With receipts, as it left its sender; else as its receiver decodes it.
    sender, version : int
        Whose model it is, and how often that had changed before.
    part : int
        As drawn for the message.
    is_lie, is_answer : bool
    """

    message: Message
    sender: int
    version: int
    part: int
    is_lie: bool
    is_answer: bool = False

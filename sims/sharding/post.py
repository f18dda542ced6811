"""Messages between shards: what arrives is kept until it is asked for, and whoever waits can be told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from numpy.typing import NDArray

__all__ = ["Key", "Post", "Stopped"]

Key: TypeAlias = tuple[int, int, int]
"""Of a message: the era, its number in it, and the shard that sends it."""
Rows: TypeAlias = tuple[NDArray[Any], ...]
"""What goes from shard to shard at once."""


class Stopped(Exception):
    """Another shard was lost or failed, so nothing that is waited for will come."""


class Post:
    """The messages of one shard.

    Parameters
    ----------
    shard : int
        Its number.
    send : callable
        Hands a message to another shard: its number, the key, and the rows.
    changed : threading.Condition, optional
        Held while messages are put in or taken out.

    Attributes
    ----------
    bytes, messages : int
        Sent so far.
    waited : float
        Seconds spent waiting for others.
    """

    def __init__(
        self,
        shard: int,
        send: Callable[[int, Key, Rows], None],
        *,
        changed: threading.Condition | None = None,
    ) -> None:
        self.shard, self.bytes, self.messages, self.waited = shard, 0, 0, 0.0
        self._send, self._changed = send, changed or threading.Condition()
        self._arrived: dict[Key, Rows] = {}
        self._era = self._number = 0
        self._stopped = False

    def begin(self, era: int) -> None:
        """Begin anew: what is still on its way from before does not count."""
        with self._changed:
            self._era, self._number, self._stopped = era, 0, False
            self._arrived = {key: rows for key, rows in self._arrived.items() if key[0] >= era}

    def deliver(self, key: Key, rows: Rows) -> None:
        """Take in a message."""
        with self._changed:
            if key[:2] >= (self._era, self._number):  # else it is of another era, or came twice
                self._arrived[key] = rows
                self._changed.notify_all()

    def stop(self) -> None:
        """Let whoever waits wait no longer."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def exchanged(self, outgoing: Iterable[tuple[int, Rows]], senders: Iterable[int]) -> dict[int, Rows]:
        """Send rows to shards and wait for those of others.

        All shards call this in the same order: the k-th call of one answers the k-th of another.

        Parameters
        ----------
        outgoing : iterable of tuple
            A receiver, and rows for it. Each is gathered, handed over and forgotten before the next.
        senders : iterable of int
            The shards that send to this one.

        Raises
        ------
        Stopped
        """
        self._number += 1
        for receiver, rows in outgoing:
            self.messages += 1
            self.bytes += sum(each.nbytes for each in rows)
            self._send(receiver, (self._era, self._number, self.shard), rows)
            del rows
        started = time.perf_counter()
        found = {}
        with self._changed:
            for sender in senders:
                key = self._era, self._number, sender
                self._changed.wait_for(lambda key=key: self._stopped or key in self._arrived)  # type: ignore[misc]
                if self._stopped:
                    raise Stopped
                found[sender] = self._arrived.pop(key)
        self.waited += time.perf_counter() - started
        return found

"""Large answers whose connection broke, kept for a while for those who asked for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from gossipfl.network.failures import ConnectionAborted, ConnectionLost
from gossipfl.network.partials import LEAST_BYTES_CONTINUED, key_of
from gossipfl.wire import Frame

__all__ = ["UnfinishedAnswers"]

#: Each holds the memory of a version of the model.
_MOST: Final = 2
_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 1.0


@dataclass(eq=False, slots=True)
class _Answer:
    frame: Frame
    key: bytes
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    since: float | None = None
    """When its connection broke; None while it is being sent."""


class UnfinishedAnswers:
    """One large answer for each of a few peers: the last that is being sent, or was until its connection broke."""

    def __init__(self) -> None:
        self._of: dict[str, _Answer] = {}

    @contextmanager
    def sending(self, peer_id: str, frame: Frame) -> Iterator[None]:
        """Keep an answer if its connection breaks within the block, which ends if the peer goes on elsewhere.

        Raises
        ------
        ConnectionLost
            The connection broke, or the peer has given it up.
        """
        if frame.size < LEAST_BYTES_CONTINUED:
            yield
            return
        answer = _Answer(frame, key_of(frame.buffers[0]))
        self._drop(peer_id)
        self._of[peer_id] = answer
        try:
            with self._until_taken(answer):
                yield
        except ConnectionLost as failure:
            if not isinstance(failure, ConnectionAborted):
                answer.since = trio.current_time()
            raise
        finally:
            answer.ended.set()
            if answer.since is None and self._of.get(peer_id) is answer:
                del self._of[peer_id]
            self._keep_few()

    @contextmanager
    def _until_taken(self, answer: _Answer) -> Iterator[None]:
        with answer.scope:
            yield
        if answer.scope.cancelled_caught:
            raise ConnectionLost("the other side goes on over another connection")

    def keeps(self, frame: Frame) -> bool:
        """Whether an answer is kept, and with it the memory of its row."""
        return any(each.frame is frame for each in self._of.values())

    async def take(self, peer_id: str, key: bytes) -> Frame | None:
        """Take out a peer's answer by the digest of its preamble and header; None if it is not kept.

        If it is still being sent over a connection that the peer has given up, that ends.
        """
        answer = self._of.get(peer_id)
        if answer is None or answer.key != key:
            return None
        answer.scope.cancel()
        await answer.ended.wait()
        if self._of.get(peer_id) is not answer:
            return None
        del self._of[peer_id]
        return answer.frame

    async def keep_tidy(self) -> None:
        """Drop answers for which nobody comes back, until cancelled."""
        while True:
            await trio.sleep(_LOOK_SECONDS)
            oldest = trio.current_time() - _SECONDS
            for peer_id, each in list(self._of.items()):
                if each.since is not None and each.since < oldest:
                    self._drop(peer_id)

    def _keep_few(self) -> None:
        waiting = [peer_id for peer_id, each in self._of.items() if each.since is not None]
        for peer_id in waiting[:-_MOST]:
            self._drop(peer_id)

    def _drop(self, peer_id: str) -> None:
        answer = self._of.pop(peer_id, None)
        if answer is not None and answer.since is not None:
            answer.frame.release()

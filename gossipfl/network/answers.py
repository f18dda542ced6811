"""Answers on their way to those who asked for them: whole, or the rest of one whose connection broke."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from gossipfl.errors import PeerBusy
from gossipfl.network.connection import Connection
from gossipfl.network.counters import NetworkCounters
from gossipfl.network.lane import Transfer
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.link import Link
from gossipfl.network.pace import since
from gossipfl.network.places import Place, Places
from gossipfl.network.resuming import KEY_BYTES, agreed_chunks, from_chunk
from gossipfl.network.standing import Standing
from gossipfl.network.unfinished import UnfinishedAnswers
from gossipfl.network.yamux.stream import Stream
from gossipfl.wire import Frame

__all__ = ["FIRST_BYTES", "Answers"]

#: Bytes that a peer must send in time before its frame's length is known.
FIRST_BYTES: Final = 1024


@dataclass(kw_only=True, eq=False)
class Answers:
    """Sends answers.

    Parameters
    ----------
    places : Places
        For exchanges that others start, and for those that they continue.
    on_cut : callable
        Called with the peer's id, the stream and the place of one that was cut.

    Attributes
    ----------
    latest_bytes : int
        Length of the latest large one; of a row in full before the first.
    """

    limits: NetworkLimits
    counters: NetworkCounters
    standing: Standing
    link: Link
    places: Places
    latest_bytes: int
    on_cut: Callable[[str, Stream, Place | None], Awaitable[None]]

    def __post_init__(self) -> None:
        self._unfinished = UnfinishedAnswers()
        self.keeps = self._unfinished.keeps
        self.keep_tidy = self._unfinished.keep_tidy

    async def go_on(self, connection: Connection, stream: Stream) -> None:
        """Send the rest of an answer whose connection broke; nothing if it is not kept any more."""
        peer_id = connection.peer_id
        is_valued = self.standing.is_valued(peer_id)
        place: Place | None = None
        reply: Frame | None = None
        connection.begin_exchange()
        try:
            with (
                trio.move_on_after(self.limits.exchange_seconds) as deadline,
                self.places.take(
                    peer_id, address=connection.remote_address, is_valued=is_valued, scope=deadline
                ) as place,
                self.link.upload.expecting(0, is_valued=is_valued) as answered,
            ):
                place.wait_for(FIRST_BYTES, since(lambda: stream.received))
                reply = await self._unfinished.take(peer_id, await stream.read_exactly(KEY_BYTES))
                if reply is None:
                    return
                with self._unfinished.sending(peer_id, reply):
                    rest = from_chunk(reply, await agreed_chunks(stream, reply))
                    await self._send(connection, stream, rest, place, answered)
                self.counters.count_sent(reply.size, peer_id=peer_id)
                stream.close()
        except PeerBusy as error:
            self.counters.count_refused(error)
        finally:
            connection.end_exchange()
            if reply is not None and not self._unfinished.keeps(reply):
                reply.release()
        if deadline.cancelled_caught:
            await self.on_cut(peer_id, stream, place)

    async def send(
        self, connection: Connection, stream: Stream, reply: Frame, place: Place, answered: Transfer
    ) -> None:
        """Send an answer, and keep it if it is large and its connection breaks."""
        if not reply.is_offered:
            place.wait_for(reply.size, since(lambda: stream.transmitted))
            await stream.write_all(reply.buffers)
            return
        self.latest_bytes = reply.size
        with self._unfinished.sending(connection.peer_id, reply):
            await self._send(connection, stream, reply.buffers, place, answered)

    async def _send(
        self,
        connection: Connection,
        stream: Stream,
        buffers: Sequence[bytes | memoryview],
        place: Place,
        answered: Transfer,
    ) -> None:
        """Send a large answer, or the rest of one."""
        moved, size = since(lambda: stream.transmitted), sum(memoryview(each).nbytes for each in buffers)
        known = self.link.path(connection.peer_id).upload.bytes_per_second
        place.wait_for(size, moved, row_seconds=self.limits.row_seconds(size, known))
        with self.link.upload.carrying(answered, size, moved, path=None):
            await stream.write_all(buffers)

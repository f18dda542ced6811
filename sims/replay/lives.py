"""Starts of peers as values, and the events of each, as recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gossipfl.codecs import message_key
from gossipfl.peer import Home
from gossipfl.settings import PeerSettings

__all__ = ["Event", "Exchange", "Life", "RecordedData", "RecordedPeer", "Version", "record_lines"]


class Version(NamedTuple):
    """Name of one version of one peer's model: the one that event number ``event`` of that start made."""

    peer: str
    incarnation: int
    event: int

    def __str__(self) -> str:
        return f"event {self.event} of start {self.incarnation} of peer {self.peer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A change of a peer's model.

    Parameters
    ----------
    kind : str
        ``merge``, ``train``, ``clock``, ``adopt`` or ``go_back``; see ``docs/records.md``.
    number : int
        Consecutive within a start.
    source : Version or None
        What was merged or adopted, or which of its own versions it went back to; None where the peer trained on
        its own.
    begun : Version or None
        In AD-PSGD, the peer's own version at which it began the step that it applied with an answer.
    sender_age : int
    sender_sequence : int
        Which of the sender's messages brought it; what a codec drew depends on it. 0 in older records, whose
        codecs drew nothing.
    share : float
        Share of the way to the received model that the gate allowed; 1 if the model was merged as received.
    credited_age : int or None
        The age that the gate credited, if another than claimed.
    codec : str
        How the merged model was sent.
    age, step : int
        Of the model after the event.
    trained : bool
        Whether local training took place.
    loss : float
        Mean loss of that training's batches; NaN without training.
    seconds : float or None
        Time spent on it; None in older records, which lack it.
    time : float
        Seconds since 1970, on the peer's clock.
    """

    kind: str
    number: int
    source: Version | None
    begun: Version | None
    sender_age: int
    sender_sequence: int
    share: float
    credited_age: int | None
    codec: str
    age: int
    step: int
    trained: bool
    loss: float
    seconds: float | None
    time: float

    @property
    def key(self) -> int:
        """Key that the received message was encoded with; 0 where none was received."""
        if self.source is None:
            return 0
        return message_key(
            self.source.peer, incarnation=self.source.incarnation, sequence=self.sender_sequence
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """An exchange of models that the peer started.

    Parameters
    ----------
    neighbour : str
    outcome : str
        ``ok``, or why not.
    seconds : float
        From its start to its end.
    time : float
        When it was over, seconds since 1970.
    """

    neighbour: str
    outcome: str
    seconds: float
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedData:
    """Samples that a peer trained on after an event.

    Parameters
    ----------
    after : int
        Number of that event.
    samples : int
    fingerprint : str
        That of `gossipfl.tasks.Dataset`.
    """

    after: int
    samples: int
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One start of a peer, until it ended or was killed.

    Parameters
    ----------
    peer : str
    incarnation : int
        Number of the start.
    number : int
        Number of the peer, by which its batches are drawn.
    task, layout : str
        Digests in hexadecimal.
    is_whole : bool
        Whether nothing of its records was removed.
    resumed : Version or None
        The version it resumed from; None if it began with the task's initial row.
    settings : PeerSettings
    threads : int
        Threads torch used.
    torch : str
        Version of torch.
    first : int
        Number of the event before its first one.
    data : tuple of RecordedData
        The data it trained on, in order; empty if not recorded.
    events : tuple of Event
        Numbers ``first + 1, first + 2, …``.
    exchanges : tuple of Exchange
    secrets : mapping of int to bytes
        Keys of the noise on its messages by their sequence numbers, if recorded.
    started, ended : float
        Times of its first and last record, seconds since 1970.
    """

    peer: str
    incarnation: int
    number: int
    task: str
    layout: str
    is_whole: bool
    resumed: Version | None
    settings: PeerSettings
    threads: int
    torch: str
    first: int
    data: tuple[RecordedData, ...]
    events: tuple[Event, ...]
    exchanges: tuple[Exchange, ...]
    secrets: Mapping[int, bytes]
    started: float
    ended: float

    @property
    def last(self) -> int:
        """Number of its last event."""
        return self.first + len(self.events)

    def data_of(self, event: int) -> RecordedData | None:
        """The data it trained on in the event of this number; None if not recorded."""
        return next((data for data in reversed(self.data) if data.after < event), None)

    def event(self, number: int) -> Event:
        """The event of this number."""
        return self.events[number - self.first - 1]


def record_lines(paths: Iterable[Path]) -> Iterator[tuple[Path, int, bytes]]:
    """All whole lines of some files in order, each with its file and its number there."""
    for path in paths:
        content = path.read_bytes()
        for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
            yield path, number, line


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPeer:
    """A peer as its home describes it.

    Parameters
    ----------
    home : Home
    peer : str
        Its id.
    lives : dict of int to Life
        By incarnation, in order.
    removed : frozenset of int
        Incarnations of which records were removed, some or all.
    """

    home: Home
    peer: str
    lives: dict[int, Life]
    removed: frozenset[int] = frozenset()

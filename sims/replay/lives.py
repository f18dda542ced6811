"""Starts of peers as values, and the events of each, validated as they are declared here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from pydantic import BeforeValidator, Field, ValidationError

from gossipfl.codecs import message_key
from gossipfl.errors import GossipflError
from gossipfl.files import named_errors
from gossipfl.peer import Home
from gossipfl.settings import PeerSettings
from sims.replay.errors import TornRecords

__all__ = [
    "LOSS_TOLERANCE",
    "Decision",
    "Event",
    "Exchange",
    "Life",
    "NanIfNull",
    "RecordedData",
    "RecordedPeer",
    "Version",
    "first_mistake",
    "record_lines",
    "required_whole",
    "rounded_otherwise",
    "usual_codec",
]

NanIfNull = Annotated[float, BeforeValidator(lambda value: float("nan") if value is None else value)]
"""A number that is null in records where it was not finite."""


class Version(NamedTuple):
    """Name of one version of one peer's model: the one that event number ``event`` of that start made."""

    peer: str
    incarnation: int
    event: int

    def __str__(self) -> str:
        return f"event {self.event} of start {self.incarnation} of peer {self.peer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A change of a peer's model."""

    kind: str
    """``merge``, ``train``, ``clock``, ``adopt`` or ``go_back``; see ``docs/records.md``."""
    number: Annotated[int, Field(alias="event")]
    """Consecutive within a start."""
    source: Version | None = None
    """What was merged or adopted, or which of its own versions it went back to; None where the peer trained on its
    own.
    """
    part: int | None = None
    """Which part of the source it was, if not the whole."""
    begun: Version | None = None
    """In AD-PSGD, the peer's own version at which it began the step that it applied with an answer."""
    sender_age: int
    sender_sequence: int = 0
    """Which of the sender's messages brought it; what a codec drew depends on it. 0 in older records, whose codecs
    drew nothing.
    """
    share: float = 1.0
    """Share of the way to the received model that the gate allowed; 1 if the model was merged as received."""
    credited_age: int | None = None
    """The age that the gate credited, if another than claimed."""
    codec: str
    """How the merged model was sent."""
    age: int
    step: int
    """Of the model after the event."""
    trained: bool
    """Whether local training took place."""
    loss: NanIfNull
    """Mean loss of that training's batches; NaN without training."""
    seconds: float | None = None
    """Time spent on it; None in older records, which lack it."""
    time: float
    """Seconds since 1970, on the peer's clock."""

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
    """An exchange of models that the peer started."""

    neighbour: str
    outcome: str
    """``ok``, or why not."""
    seconds: float
    """From its start to its end."""
    time: float
    """When it was over, seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision of a token account."""

    occasion: str
    """``clock`` or ``receipt``."""
    number: int
    """How many decisions on that occasion there were before."""
    merge_event: int | None
    """Number of the event in which the received model was merged."""
    is_useful: Annotated[bool | None, Field(alias="useful")] = None
    """Whether the received model was no older than the peer's own, or need not be; None in older records."""
    account: int = 0
    """Which of its accounts: that of a part of the model, or the only one."""
    tokens: int
    """Held in it before."""
    messages: int
    """To be sent."""

    @property
    def values(self) -> dict[str, int | None]:
        """What follows from the decisions and models before it."""
        values = {name: getattr(self, name) for name in ("number", "merge_event", "tokens", "messages")}
        return values if self.is_useful is None else {**values, "useful": self.is_useful}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedData:
    """Samples that a peer trained on after an event."""

    after: Annotated[int, Field(alias="event")]
    """Number of that event."""
    samples: int
    fingerprint: Annotated[str, Field(alias="data")]
    """That of `gossipfl.tasks.Dataset`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One start of a peer, until it ended or was killed."""

    peer: str
    home: Path | None = None
    """Where it was read from."""
    incarnation: int
    """Number of the start."""
    number: int
    """Number of the peer, by which its batches are drawn."""
    task: str
    layout: str
    """Digests in hexadecimal."""
    is_whole: bool
    """Whether nothing of its records was removed."""
    resumed: Version | None
    """The version it resumed from; None if it began with the task's initial row."""
    settings: PeerSettings
    threads: int
    """Threads torch used."""
    torch: str
    """Version of torch."""
    device: str = "cpu"
    """Where models were computed; older records do not say it, and mean the CPU."""
    hardware: str | None = None
    """Name of the accelerator, if that was one."""
    first: Annotated[int, Field(alias="event")]
    """Number of the event before its first one."""
    data: tuple[RecordedData, ...]
    """The data it trained on, in order; empty if not recorded."""
    events: tuple[Event, ...]
    """Numbers ``first + 1, first + 2, …``."""
    exchanges: tuple[Exchange, ...]
    decisions: tuple[Decision, ...]
    """Of its token account, in order."""
    secrets: Mapping[int, bytes]
    """Keys of the noise on its messages by their sequence numbers, if recorded."""
    started: Annotated[float, Field(alias="time")]
    ended: float
    """Times of its first and last record, seconds since 1970."""

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


LOSS_TOLERANCE: Final = 1e-4
"""Relative difference of losses that rounding may cause."""


def usual_codec(lives: Iterable[Life]) -> str:
    """Name of the codec in which most models were sent that these starts merged; float32 if there were none."""
    counts = Counter(event.codec for life in lives for event in life.events if event.codec)
    return counts.most_common(1)[0][0] if counts else "float32"


def rounded_otherwise(lives: Iterable[Life]) -> bool:
    """Return whether any start computed on an accelerator: models replayed on the CPU differ in last digits."""
    return any(life.device != "cpu" for life in lives)


def record_lines(paths: Iterable[Path]) -> Iterator[tuple[Path, int, bytes]]:
    """All whole lines of some files in order, each with its file and its number there."""
    for path in paths:
        with named_errors(f"the records in {path} cannot be read"):
            content = path.read_bytes()
        for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
            yield path, number, line


def first_mistake(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    mistake = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}"


@contextmanager
def required_whole(place: Callable[[], str], what: str = "record") -> Iterator[None]:
    """Require that records have every key that is read here, with a value of its type.

    Parameters
    ----------
    place : callable
        Says where the present record is.
    what : str

    Raises
    ------
    TornRecords
    """
    try:
        yield
    except GossipflError:
        raise
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        got = f"{type(error).__name__}: {error}"
        if isinstance(error, ValidationError):
            got = first_mistake(error)
        raise TornRecords(
            f"{place()} is not a {what}",
            got=got,
            remedy="Restore the file: everything after a damaged line depends on it.",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPeer:
    """A peer as its home describes it."""

    home: Home
    peer: str
    """Its id."""
    lives: dict[int, Life]
    """By incarnation, in order."""
    removed: frozenset[int] = frozenset()
    """Incarnations of which records were removed, some or all."""

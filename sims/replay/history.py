"""The events that lead to the models that were saved, in an order in which they can be computed.

An event needs its peer's version before it and, if it is a merge, the sender's version that was sent; the
first version of a resumed start needs the version that was saved. That is a partial order (Lamport 1978), and
whatever order respects it gives the same models: no clock is read. Events that no saved model descends from,
such as those of a killed peer that reached nobody, are left out.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from sims.replay.errors import MissingPeer, TornRecords
from sims.replay.lives import Event, Life, RecordedPeer, Version
from sims.replay.removed import require_kept

__all__ = ["History", "Step", "history_of"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to compute."""

    version: Version
    """The version it produces."""
    life: Life
    event: Event | None
    """None for the first version of a start."""

    @property
    def source(self) -> Version | None:
        """The version of another row that it reads: one that was sent, saved, or returned to."""
        return self.life.resumed if self.event is None else self.event.source

    @property
    def begun(self) -> Version | None:
        """The earlier version of its own row at which its step was begun."""
        return None if self.event is None else self.event.begun

    @property
    def reads(self) -> tuple[Version, ...]:
        """All versions that it reads, but for the one that it changes."""
        return tuple(version for version in (self.source, self.begun) if version is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A recorded run in a possible order."""

    lives: tuple[Life, ...]
    """Starts of which anything is needed."""
    steps: tuple[Step, ...]
    """Every step after those it needs."""
    targets: tuple[Version, ...]
    """The versions required in the end."""
    left_out: dict[str, int]
    """By peer: recorded events from which no target descends."""


def history_of(peers: Sequence[RecordedPeer], targets: Iterable[Version]) -> History:
    """Order all events that the targets descend from.

    Raises
    ------
    MissingPeer
        If models came from other peers.
    RecordsRemoved
        If records that are needed were removed to make room.
    TornRecords
        If a version that is needed was never recorded, or events need each other.
    """
    lives = {(life.peer, life.incarnation): life for peer in peers for life in peer.lives.values()}
    targets = tuple(targets)
    needed = _needed(lives, targets, require=partial(require_kept, peers))
    steps = _ordered(lives, needed)
    left_out = Counter({peer.peer: sum(len(life.events) for life in peer.lives.values()) for peer in peers})
    left_out.subtract(step.life.peer for step in steps if step.event is not None)
    return History(
        lives=tuple(lives[key] for key in needed),
        steps=tuple(steps),
        targets=targets,
        left_out=dict(left_out),
    )


_Lives = dict[tuple[str, int], Life]


def _needed(
    lives: _Lives, targets: Iterable[Version], *, require: Callable[[Iterable[Version]], None]
) -> dict[tuple[str, int], int]:
    """Number of the last event of each start that any target descends from."""
    needed: dict[tuple[str, int], int] = {}
    todo = [(target, "a checkpoint was saved after it") for target in targets]
    known = {peer for peer, _ in lives}
    strangers: Counter[str] = Counter()
    while todo:
        version, reason = todo.pop()
        if version.peer not in known:
            strangers[version.peer] += 1
            continue
        require([version])
        life = _life_of(lives, version, reason)
        key = version[:2]
        if key not in needed:
            needed[key] = life.first
            if life.resumed is not None:
                todo.append((life.resumed, f"start {life.incarnation} of the peer went on from it"))
        for number in range(needed[key] + 1, version.event + 1):
            source = life.event(number).source
            if source is not None:
                todo.append((source, f"it was taken in by {Version(*key, number)}"))
        needed[key] = max(needed[key], version.event)
    if strangers:
        raise MissingPeer(
            "models came from peers whose homes were not given",
            expected=f"the homes of all peers; those of {len(known)} were given",
            got=", ".join(f"peer {peer} ({count} models)" for peer, count in strangers.most_common(5)),
            remedy="Name the homes of these peers too: what they sent is part of the models.",
        )
    return needed


def _life_of(lives: _Lives, version: Version, reason: str) -> Life:
    life = lives.get(version[:2])
    if life is None:
        raise TornRecords(
            f"{version} is not recorded, and {reason}",
            expected=f"a file {version.incarnation:06d}.jsonl among its records",
            remedy="Restore the file: a replay needs every start of every peer.",
        )
    if not life.first <= version.event <= life.last:
        raise TornRecords(
            f"{version} is not recorded, and {reason}",
            expected=f"an event of {life.first} … {life.last}",
            got=version.event,
            remedy="The records were cut short, or copied before what depends on them: copy all again.",
        )
    return life


def _ordered(lives: _Lives, needed: dict[tuple[str, int], int]) -> list[Step]:
    """Advance every start as far as possible; a start that has to wait is woken by what it waits for."""
    done: dict[tuple[str, int], int] = {}
    waiting: dict[Version, list[tuple[str, int]]] = {}
    steps: list[Step] = []
    ready = deque(needed)
    while ready:
        key = ready.popleft()
        life = lives[key]
        for number in range(done.get(key, life.first - 1) + 1, needed[key] + 1):
            event = None if number == life.first else life.event(number)
            step = Step(Version(*key, number), life, event)
            source = step.source
            if source is not None and done.get(source[:2], -1) < source.event:
                waiting.setdefault(source, []).append(key)
                break
            steps.append(step)
            done[key] = number
            ready.extend(waiting.pop(step.version, ()))
    if waiting:
        source, (first, *_) = next(iter(waiting.items()))
        stuck = Version(*first, done.get(first, lives[first].first - 1) + 1)
        raise TornRecords(
            "the records contradict one another",
            expected="an order in which every model is made before it is merged",
            got=f"{source} and {stuck} need each other",
            remedy="Homes of different runs were mixed, or records were edited.",
        )
    return steps

"""Records of a peer that learned in rounds: the rows mixed in each exchange, and the outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from gossipfl.peer.store.record_files import record_files
from gossipfl.rounds import Position
from sims.replay.errors import MissingPeer, OtherSettings, TornRecords
from sims.replay.lives import Life, NanIfNull, RecordedPeer, record_lines, required_whole
from topology.parsing import json_of

__all__ = ["Key", "Mix", "Outcome", "RoundLife", "learned_in_rounds", "read_round_life", "who_does_what"]

Key = tuple[str, int]
"""Peer id and incarnation: one start of a peer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The inputs of one exchange."""

    incarnations: Mapping[int, int]
    """For the number of each member whose row was mixed, the start of that member that sent it."""
    untaken: tuple[int, ...]
    """Numbers of the recipients that did not keep this peer's row."""
    listening: bool
    """Whether the peer sent nothing, and took over the others' rows."""
    rests: bool = False
    """Whether the peer trained nothing in this round; always false in older records."""
    unsent: tuple[int, ...] = ()
    """Numbers of the recipients to which nothing was sent; empty in older records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a finished round."""

    age: int
    step: int
    """Of the model after it."""
    loss: NanIfNull
    """NaN if there was no training, or the loss was not finite."""
    digest: str
    """Of the row after it."""
    rests: bool = False
    """Whether the peer trained nothing; always false in older records."""
    gave_up: bool = False
    """Whether it diverged, so that the model is as before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundLife:
    """One start of a peer that learned in rounds."""

    life: Life
    mixes: Mapping[Position, Mix]
    secrets: Mapping[Position, bytes]
    """Key of the noise on its rows, if recorded."""
    links: Mapping[int, Mapping[int, int]]
    """By number of the round, the start of each member with which noise was shared; empty in older records."""
    outcomes: Mapping[int, Outcome]
    """By number of the round; a round without one was not finished."""
    last: int
    """Number of the next round when the records end."""

    def rests(self, number: int) -> bool:
        """Return whether the peer trained nothing in a round."""
        recorded = self.mixes.get((number, 0)) or self.outcomes.get(number)
        return recorded is not None and recorded.rests


_MIX, _OUTCOME = TypeAdapter(Mix), TypeAdapter(Outcome)


def learned_in_rounds(peers: list[RecordedPeer]) -> bool:
    """Whether the peers learned in rounds.

    Raises
    ------
    OtherSettings
        If some did, and others gossiped.
    """
    ways = {
        life.settings.rounds.algorithm is not None: life for peer in peers for life in peer.lives.values()
    }
    if len(ways) > 1:
        raise OtherSettings(
            "some peers learned in rounds, and others gossiped",
            got=f"rounds in start {ways[True].incarnation} of peer {ways[True].peer}, gossip in start "
            f"{ways[False].incarnation} of peer {ways[False].peer}",
            remedy="Replay the peers of one network.",
        )
    return True in ways


def read_round_life(peer: RecordedPeer, life: Life) -> RoundLife:
    """Read the records of the rounds in one start of a peer.

    Raises
    ------
    TornRecords
        If a record is damaged, or an exchange is missing.
    """
    files = record_files(peer.home.records)
    paths = [path for (incarnation, _), path in files.items() if incarnation == life.incarnation]
    mixes: dict[Position, Mix] = {}
    secrets: dict[Position, bytes] = {}
    links: dict[int, dict[int, int]] = {}
    outcomes: dict[int, Outcome] = {}
    last = life.first
    path, number = paths[0], 1
    with required_whole(lambda: f"{path}:{number}"):
        for path, number, line in record_lines(paths):
            record = json_of(line)
            kind = record["kind"]
            if kind == "mix":
                position = (int(record["round"]), int(record["exchange"]))
                if position[0] != last or (position[1] and (position[0], position[1] - 1) not in mixes):
                    raise TornRecords(
                        f"{path}:{number}: an exchange is missing before {position[1]} of round {position[0]}"
                    )
                sent_by = dict(zip(record["members"], record["incarnations"], strict=True))
                mixes[position] = _MIX.validate_python(record | {"incarnations": sent_by})
            elif kind == "round":
                if record["exchanges"] and (last, int(record["exchanges"]) - 1) not in mixes:
                    raise TornRecords(f"{path}:{number}: an exchange of round {last} is missing")
                outcomes[int(record["round"])] = _OUTCOME.validate_python(record)
                last = int(record["event"])
            elif kind == "noise":
                secrets[int(record["round"]), int(record["exchange"])] = bytes.fromhex(record["secret"])
            elif kind == "links":
                starts = zip(record["members"], record["incarnations"], strict=True)
                links[int(record["round"])] = {int(member): int(start) for member, start in starts}
            elif kind == "jump":
                last = int(record["event"])
    return RoundLife(life=life, mixes=mixes, secrets=secrets, links=links, outcomes=outcomes, last=last)


def who_does_what(
    lives: Mapping[Key, RoundLife], roster_of: Callable[[Key], Sequence[str]]
) -> dict[int, set[Key]]:
    """Find the starts that take part in each round, even if only with a row that others mixed.

    Parameters
    ----------
    lives : mapping of Key to RoundLife
        All starts of all members.
    roster_of : callable
        Returns the peer ids of the members, by their numbers, as a start knew them.

    Raises
    ------
    MissingPeer
        If rows came from other members.
    TornRecords
        If rows came from starts of which there are no records.
    """
    doing: dict[int, set[Key]] = {}
    for key, recorded in lives.items():
        for number in [*(number for number, _ in recorded.mixes), *recorded.outcomes]:
            doing.setdefault(number, set()).add(key)
        roster = roster_of(key)
        for (number, _), mix in recorded.mixes.items():
            for member, incarnation in mix.incarnations.items():
                sender = (roster[member], incarnation)
                _require_home(sender, lives, roster)
                doing[number].add(sender)
    return doing


def _require_home(sender: Key, lives: Mapping[Key, RoundLife], roster: Sequence[str]) -> None:
    known = {peer for peer, _ in lives}
    if sender[0] not in known:
        raise MissingPeer(
            "rows came from members whose homes were not given",
            expected=f"the homes of all {len(roster)} members; those of {len(known)} were given",
            got=", ".join(peer for peer in roster if peer not in known),
            remedy="Name the homes of these peers too: what they sent is part of the models.",
        )
    if sender not in lives:
        raise TornRecords(
            f"a row came from start {sender[1]} of peer {sender[0]}, of which there are no records",
            expected=f"a file {sender[1]:06d}.jsonl among them",
            remedy="Restore the file: a replay needs every start of every peer.",
        )

"""Records of a peer that learned in rounds: the rows mixed in each exchange, and the outcomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter

from gossipfl.peer.store.record_files import record_files
from gossipfl.rounds import Position
from sims.replay.errors import OtherSettings, TornRecords
from sims.replay.lives import Life, NanIfNull, RecordedPeer, record_lines, required_whole

__all__ = ["Mix", "Outcome", "RoundLife", "learned_in_rounds", "read_round_life"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundLife:
    """One start of a peer that learned in rounds."""

    life: Life
    mixes: Mapping[Position, Mix]
    secrets: Mapping[Position, bytes]
    """Key of the noise on its rows, if recorded."""
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
    outcomes: dict[int, Outcome] = {}
    last = life.first
    path, number = paths[0], 1
    with required_whole(lambda: f"{path}:{number}"):
        for path, number, line in record_lines(paths):
            record = json.loads(line)
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
            elif kind == "jump":
                last = int(record["event"])
    return RoundLife(life=life, mixes=mixes, secrets=secrets, outcomes=outcomes, last=last)

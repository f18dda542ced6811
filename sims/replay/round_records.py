"""Records of a peer that learned in rounds: the rows mixed in each exchange, and the outcomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gossipfl.peer.store.record_files import record_files
from gossipfl.rounds import Position
from sims.replay.errors import OtherSettings, TornRecords
from sims.replay.lives import Life, RecordedPeer, record_lines

__all__ = ["Mix", "Outcome", "RoundLife", "learned_in_rounds", "read_round_life"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The inputs of one exchange.

    Parameters
    ----------
    incarnations : mapping of int to int
        For the number of each member whose row was mixed, the start of that member that sent it.
    untaken : tuple of int
        Numbers of the recipients that did not keep this peer's row.
    listening : bool
        Whether the peer sent nothing, and took over the others' rows.
    """

    incarnations: Mapping[int, int]
    untaken: tuple[int, ...]
    listening: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a finished round.

    Parameters
    ----------
    age, step : int
        Of the model after it.
    loss : float
        NaN if there was no training, or the loss was not finite.
    gave_up : bool
        Whether it diverged, so that the model stayed unchanged.
    digest : str
        Of the row after it.
    """

    age: int
    step: int
    loss: float
    gave_up: bool
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundLife:
    """One start of a peer that learned in rounds.

    Parameters
    ----------
    life : Life
    mixes : mapping of (round, exchange) to Mix
    secrets : mapping of (round, exchange) to bytes
        Key of the noise on its rows, if recorded.
    outcomes : mapping of int to Outcome
        By number of the round; a round without one was not finished.
    last : int
        Number of the next round when the records end.
    """

    life: Life
    mixes: Mapping[Position, Mix]
    secrets: Mapping[Position, bytes]
    outcomes: Mapping[int, Outcome]
    last: int


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
    for path, number, line in record_lines(paths):
        try:
            record = json.loads(line)
            kind = record["kind"]
            if kind == "mix":
                position = (int(record["round"]), int(record["exchange"]))
                if position[0] != last or (position[1] and (position[0], position[1] - 1) not in mixes):
                    raise TornRecords(
                        f"{path}:{number}: an exchange is missing before {position[1]} of round {position[0]}"
                    )
                mixes[position] = _mix(record)
            elif kind == "round":
                if record["exchanges"] and (last, int(record["exchanges"]) - 1) not in mixes:
                    raise TornRecords(f"{path}:{number}: an exchange of round {last} is missing")
                outcomes[int(record["round"])] = _outcome(record)
                last = int(record["event"])
            elif kind == "noise":
                secrets[int(record["round"]), int(record["exchange"])] = bytes.fromhex(record["secret"])
            elif kind == "jump":
                last = int(record["event"])
        except (ValueError, KeyError, TypeError) as error:
            raise TornRecords(
                f"{path}:{number} is no record",
                got=f"{type(error).__name__}: {error}",
                remedy="Restore the file: everything after a damaged line depends on it.",
            ) from error
    return RoundLife(life=life, mixes=mixes, secrets=secrets, outcomes=outcomes, last=last)


def _mix(record: dict[str, Any]) -> Mix:
    members = [int(each) for each in record["members"]]
    incarnations = [int(each) for each in record["incarnations"]]
    return Mix(
        incarnations=dict(zip(members, incarnations, strict=True)),
        untaken=tuple(int(each) for each in record["untaken"]),
        listening=bool(record["listening"]),
    )


def _outcome(record: dict[str, Any]) -> Outcome:
    return Outcome(
        age=int(record["age"]),
        step=int(record["step"]),
        loss=float("nan") if record["loss"] is None else float(record["loss"]),
        gave_up=bool(record["gave_up"]),
        digest=str(record["digest"]),
    )

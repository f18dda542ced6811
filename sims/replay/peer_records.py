"""Reader of peers' records: each start of a peer, and its events.

The format is described in ``docs/records.md``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gossipfl.errors import SettingError, UnknownAlgorithm
from gossipfl.peer import Home
from gossipfl.peer.gossip.plan import gossip_algorithm
from gossipfl.peer.store.record_files import read_summary, record_files
from gossipfl.settings import PeerSettings
from sims.replay.errors import DuplicatePeer, MissingRecords, OtherSettings, TornRecords
from sims.replay.lives import Event, Exchange, Life, RecordedData, RecordedPeer, Version, record_lines

__all__ = [
    "Event",
    "Exchange",
    "Life",
    "RecordedData",
    "RecordedPeer",
    "Version",
    "read_peer",
    "read_peers",
]


def read_peers(homes: Sequence[Path | str]) -> list[RecordedPeer]:
    """Read the records of all peers of a network.

    Raises
    ------
    HomeMissing
        If a directory holds no peer.
    MissingRecords, TornRecords, OtherSettings
        If its records are missing, damaged or of another version.
    DuplicatePeer
        If two directories hold the same peer.
    """
    if not homes:
        raise MissingRecords("no peer was named", expected="the homes of all peers of a network")
    found: dict[str, RecordedPeer] = {}
    for directory in homes:
        peer = read_peer(Path(directory))
        if peer.peer in found:
            raise DuplicatePeer(
                f"two homes belong to peer {peer.peer}",
                got=f"{found[peer.peer].home.directory} and {peer.home.directory}",
                remedy="Name each peer once; a copy of a home is not another peer.",
            )
        found[peer.peer] = peer
    return list(found.values())


def read_peer(directory: Path) -> RecordedPeer:
    """Read one peer's records; a last line that was torn by a crash is left out.

    Raises
    ------
    HomeMissing, MissingRecords, TornRecords, OtherSettings
    """
    home = Home(directory)
    home.require()
    starts: dict[int, list[Path]] = {}
    for (incarnation, _), path in record_files(home.records).items():
        starts.setdefault(incarnation, []).append(path)
    lives = [life for paths in starts.values() if (life := _read_life(paths))]
    if not lives:
        raise MissingRecords(
            f"{directory} holds a peer without records",
            expected=f"files {home.records}/INCARNATION.jsonl",
            remedy="Name the homes of peers that have run; records must not be deleted between runs.",
        )
    if len({life.peer for life in lives}) > 1:
        raise TornRecords(
            f"the records in {home.records} are of several peers",
            got=", ".join(sorted({life.peer for life in lives})),
            remedy="Keep every peer's records in its own home.",
        )
    removed = {int(each["incarnation"]) for each in read_summary(home.records)}
    return RecordedPeer(
        home=home,
        peer=lives[0].peer,
        lives={life.incarnation: life for life in lives},
        removed=frozenset(removed | {life.incarnation for life in lives if not life.is_whole}),
    )


def _read_life(paths: Sequence[Path]) -> Life | None:
    """Read the files of one start; None if the peer ended before it wrote anything."""
    start: dict[str, Any] | None = None
    record: dict[str, Any] = {}
    events: list[Event] = []
    data: list[RecordedData] = []
    exchanges: list[Exchange] = []
    secrets: dict[int, bytes] = {}
    for path, number, line in record_lines(paths):
        try:
            record = json.loads(line)
            kind = record["kind"]
            if start is None:
                if kind not in ("start", "continued"):
                    raise TornRecords(
                        f"{path} does not begin with the start of the peer", expected="kind start", got=kind
                    )
                start, before = record, int(record["event"])
            elif kind in ("merge", "train", "clock", "adopt", "go_back"):
                event = _event(record, peer=str(start["peer"]))
                if event.number != before + 1:
                    raise TornRecords(
                        f"{path}:{number}: an event is missing", expected=before + 1, got=event.number
                    )
                events.append(event)
                before = event.number
            if kind in ("start", "data") and "data" in record:
                data.append(
                    RecordedData(
                        after=int(record["event"]),
                        samples=int(record["samples"]),
                        fingerprint=str(record["data"]),
                    )
                )
            elif kind == "exchange":
                exchanges.append(_exchange(record))
            elif kind == "noise" and "sequence" in record:
                secrets[int(record["sequence"])] = bytes.fromhex(record["secret"])
        except (ValueError, KeyError, TypeError) as error:
            raise TornRecords(
                f"{path}:{number} is no record",
                got=f"{type(error).__name__}: {error}",
                remedy="Restore the file: everything after a damaged line depends on it.",
            ) from error
    return (
        None
        if start is None
        else _life(paths[0], start, data, events, exchanges, secrets, ended=float(record["time"]))
    )


def _life(  # noqa: PLR0917
    path: Path,
    start: dict[str, Any],
    data: list[RecordedData],
    events: list[Event],
    exchanges: list[Exchange],
    secrets: dict[int, bytes],
    *,
    ended: float,
) -> Life:
    try:
        settings = PeerSettings.model_validate_json(start["settings"])
        if settings.rounds.algorithm is None:
            gossip_algorithm(settings)
    except (ValidationError, SettingError) as error:
        if isinstance(error, UnknownAlgorithm) and "there is no module" in error.what:
            raise error.at(str(path)) from error
        got = str(error)
        if isinstance(error, ValidationError):
            mistake = error.errors(include_url=False)[0]
            got = f"{'.'.join(str(part) for part in mistake['loc'])}: {mistake['msg']}"
        raise OtherSettings(
            f"{path}: the settings are not those of a peer of this version",
            got=got,
            remedy="Replay with the version of gossipfl that made the records.",
        ) from error
    try:
        is_whole = start["kind"] == "start"
        origin = start["resumed_from"] if is_whole else None
        resumed = None if origin is None else Version(start["peer"], int(origin), int(start["event"]))
        return Life(
            peer=str(start["peer"]),
            incarnation=int(start["incarnation"]),
            number=int(start["number"]),
            task=str(start["task"]),
            layout=str(start["layout"]),
            resumed=resumed,
            is_whole=is_whole,
            settings=settings,
            threads=int(start["threads"]),
            torch=str(start["torch"]),
            first=int(start["event"]),
            data=tuple(data),
            events=tuple(events),
            exchanges=tuple(exchanges),
            secrets=secrets,
            started=float(start["time"]),
            ended=ended,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise TornRecords(
            f"{path}:1 is no start of a peer", got=f"{type(error).__name__}: {error}"
        ) from error


def _event(record: dict[str, Any], *, peer: str) -> Event:
    kind = record["kind"]
    received = kind in ("merge", "adopt")
    source = None
    if received:
        source = Version(
            str(record["sender"]), int(record["sender_incarnation"]), int(record["sender_event"])
        )
    elif kind == "go_back":
        source = Version(peer, int(record["incarnation"]), int(record["good_event"]))
    begun = None
    if "begun_event" in record:
        begun = Version(peer, int(record["incarnation"]), int(record["begun_event"]))
    return Event(
        kind=kind,
        number=int(record["event"]),
        source=source,
        begun=begun,
        sender_age=int(record["sender_age"]) if received else 0,
        sender_sequence=int(record.get("sender_sequence", 0)) if received else 0,
        share=float(record.get("share", 1.0)),
        credited_age=int(record["credited_age"]) if "credited_age" in record else None,
        codec=str(record["codec"]) if received else "",
        age=int(record["age"]),
        step=int(record["step"]),
        trained=bool(record["trained"]),
        loss=_number(record["loss"]) if record["trained"] else float("nan"),
        seconds=float(record["seconds"]) if "seconds" in record else None,
        time=float(record["time"]),
    )


def _number(value: float | None) -> float:
    """A number that was not finite is written as null."""
    return float("nan") if value is None else float(value)


def _exchange(record: dict[str, Any]) -> Exchange:
    return Exchange(
        neighbour=str(record["neighbour"]),
        outcome=str(record["outcome"]),
        seconds=float(record["seconds"]),
        time=float(record["time"]),
    )

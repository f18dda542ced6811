"""Reader of peers' records: each start of a peer, and its events.

The format is described in ``docs/records.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gossipfl.errors import SettingError, UnknownAlgorithm
from gossipfl.peer import Home
from gossipfl.peer.gossip.plan import gossip_algorithm
from gossipfl.peer.store.record_files import read_summary, record_files
from gossipfl.settings import PeerSettings
from sims.replay.errors import DuplicatePeer, MissingRecords, OtherSettings, TornRecords
from sims.replay.lives import (
    Decision,
    Event,
    Exchange,
    Life,
    RecordedData,
    RecordedPeer,
    first_mistake,
    record_lines,
    required_whole,
)
from topology.parsing import json_of

__all__ = ["read_peer", "read_peers"]

_EVENT, _EXCHANGE, _DECISION = TypeAdapter(Event), TypeAdapter(Exchange), TypeAdapter(Decision)
_DATA, _LIFE = TypeAdapter(RecordedData), TypeAdapter(Life)


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
    decisions: list[Decision] = []
    secrets: dict[int, bytes] = {}
    path, number = paths[0], 1
    with required_whole(lambda: f"{path}:{number}"):
        for path, number, line in record_lines(paths):
            record = json_of(line)
            kind = record["kind"]
            if start is None:
                if kind not in ("start", "continued"):
                    raise TornRecords(
                        f"{path} does not begin with the start of the peer",
                        expected="kind start",
                        got=kind,
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
                data.append(_DATA.validate_python(record))
            elif kind == "exchange":
                exchanges.append(_EXCHANGE.validate_python(record))
            elif kind == "tokens":
                decisions.append(_DECISION.validate_python(record))
            elif kind == "noise" and "sequence" in record:
                secrets[int(record["sequence"])] = bytes.fromhex(record["secret"])
    if start is None:
        return None
    with required_whole(lambda: f"{paths[0]}:1", "start of a peer"):
        is_whole = start["kind"] == "start"
        origin = start["resumed_from"] if is_whole else None
        read = {
            "home": paths[0].parents[1],
            "resumed": None if origin is None else (start["peer"], origin, start["event"]),
            "is_whole": is_whole,
            "settings": _settings(start, paths[0]),
            "data": data,
            "events": events,
            "exchanges": exchanges,
            "decisions": decisions,
            "secrets": secrets,
            "ended": record["time"],
        }
        return _LIFE.validate_python(start | read)


def _settings(start: dict[str, Any], path: Path) -> PeerSettings:
    try:
        settings = PeerSettings.model_validate_json(start["settings"])
        if settings.rounds.algorithm is None:
            gossip_algorithm(settings)
    except (ValidationError, SettingError) as error:
        if isinstance(error, UnknownAlgorithm) and "there is no module" in error.what:
            raise error.at(str(path)) from error
        raise OtherSettings(
            f"{path}: the settings are not those of a peer of this version",
            got=first_mistake(error) if isinstance(error, ValidationError) else str(error),
            remedy="Replay with the version of gossipfl that made the records.",
        ) from error
    return settings


def _event(record: dict[str, Any], *, peer: str) -> Event:
    """An event; its record is completed with the versions that it names."""
    if not record["trained"]:
        record["loss"] = None
    if record["kind"] in ("merge", "adopt"):
        record["source"] = record["sender"], record["sender_incarnation"], record["sender_event"]
    else:
        record["sender_age"], record["codec"] = 0, ""
    for version, key in (("source", "good_event"), ("begun", "begun_event")):
        if key in record:
            record[version] = peer, record["incarnation"], record[key]
    return _EVENT.validate_python(record)

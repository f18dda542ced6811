"""Effects of merges in a peer's records: what models of each other peer did to its own losses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gossipfl.errors import GossipflError, HomeError
from gossipfl.files import named_errors
from gossipfl.peer.store.record_files import record_files
from gossipfl.rounds.roster import Roster, read_roster
from gossipfl.settings import RoundsSettings
from topology.parsing import json_of

__all__ = ["recorded_effects"]


def recorded_effects(directory: Path) -> dict[str, list[float]]:
    """Read the effects that a peer measured with ``evaluation.merge_samples``, in the order of writing.

    Parameters
    ----------
    directory : Path
        The ``records`` directory of a home; a last line that is not complete is left out.

    Returns
    -------
    dict
        Effects by peer id of the sender; only finite ones.

    Raises
    ------
    HomeError
        The records cannot be read, or are damaged.
    """
    found: dict[str, list[float]] = {}
    with named_errors(f"cannot read the records in {directory}"):
        for file in record_files(directory).values():
            content = file.read_bytes()
            lines = content[: content.rfind(b"\n") + 1].splitlines()
            try:
                for sender, effect in _effects(map(json_of, lines)):
                    found.setdefault(sender, []).append(effect)
            except (ValueError, OverflowError, KeyError, TypeError, AttributeError, GossipflError) as error:
                raise HomeError(
                    f"the records in {file} are damaged",
                    expected="an object of JSON in each line",
                    got=f"{type(error).__name__}: {error}"[:200],
                    remedy="Restore them from a backup, or move the damaged file elsewhere.",
                ) from error
    return found


def _effects(records: Iterable[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    """Senders and effects: of one model each in gossip, of several in an exchange of rounds."""
    roster: Roster | None = None
    for record in records:
        kind = record["kind"]
        if kind in ("start", "continued"):
            rounds = RoundsSettings.model_validate(json_of(record["settings"])["rounds"])
            roster = None if rounds.algorithm is None else read_roster(rounds, directory=Path())
        elif kind == "merge":
            yield from _finite([(str(record["sender"]), record.get("effect"))])
        elif kind == "mix" and roster is not None:
            named = [roster.members[number] for number in record["members"]]
            yield from _finite(zip(named, record.get("effects", ()), strict=False))


def _finite(pairs: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, float]]:
    for sender, effect in pairs:
        if isinstance(effect, int | float) and math.isfinite(effect):
            yield sender, float(effect)

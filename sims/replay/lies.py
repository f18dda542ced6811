"""Lies that hostile peers of an experiment kept: what they sent in place of their models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from gossipfl.algorithms import Message
from gossipfl.rounds import Position
from sims.replay.errors import TornRecords
from sims.replay.lives import Event, Life

__all__ = ["KeptLies", "KeptLiesOfRounds"]


class KeptLies:
    """Lies of all hostile peers, read when they are needed.

    ``lies/INCARNATION-EVENT.safetensors`` in the home of a hostile peer holds the ``row`` ``[1, P]`` and the
    ``ages`` that it sent in place of a version (`examples/hostile_peer.py`).

    Parameters
    ----------
    lives : sequence of Life
        All starts of peers that sent models.
    """

    def __init__(self, lives: Sequence[Life]) -> None:
        self._directories = _directories(lives)

    def instead(self, message: Message, events: Sequence[Event]) -> Message:
        """Messages as they were sent.

        Parameters
        ----------
        message : Message
            B models, as their senders had them.
        events : sequence of Event
            The merge or adoption of each.

        Raises
        ------
        TornRecords
            A file is damaged.
        """
        files = [self._file(event) for event in events]
        if not any(files):
            return message
        shared, ages = message.shared.clone(), message.ages.clone()
        for place, file in enumerate(files):
            if file is not None:
                lie = _read(file, "row", "ages")
                shared[place], ages[place] = lie["row"][0], lie["ages"][0]
        return replace(message, shared=shared, ages=ages)

    def _file(self, event: Event) -> Path | None:
        """Where the lie is that an event took in; None if it was the truth."""
        directory = None if event.source is None else self._directories.get(event.source[:2])
        if directory is None or event.source is None:
            return None
        file = directory / f"{event.source.incarnation:06d}-{event.source.event}.safetensors"
        return file if file.exists() else None


class KeptLiesOfRounds:
    """Lies of hostile peers in rounds, read when they are needed.

    ``lies/INCARNATION-ROUND-EXCHANGE.safetensors`` in the home of a hostile peer holds the ``row`` ``[1, K]`` that
    it sent in place of its own, as decoded, or one for each recipient, ``[r, K]``; and the numbers of the members
    that were ``told``, int64 ``[r]``.

    Parameters
    ----------
    lives : sequence of Life
        All starts of all members.
    """

    def __init__(self, lives: Sequence[Life]) -> None:
        self._directories = _directories(lives)

    def row(self, sender: tuple[str, int], position: Position, *, to: int) -> torch.Tensor | None:
        """Return the row ``[1, K]`` that a start of a peer sent a member; None if it was its own.

        Raises
        ------
        TornRecords
            The file is damaged.
        """
        directory = self._directories.get(sender)
        if directory is None:
            return None
        file = directory / f"{sender[1]:06d}-{position[0]}-{position[1]}.safetensors"
        lie = _read(file, "row", "told") if file.exists() else None
        if lie is None or to not in lie["told"]:
            return None
        place = 0 if len(lie["row"]) == 1 else lie["told"].tolist().index(to)
        return lie["row"][place : place + 1]


def _directories(lives: Sequence[Life]) -> dict[tuple[str, int], Path]:
    """Where lies are, by peer and incarnation of those that lied."""
    return {
        (life.peer, life.incarnation): directory
        for life in lives
        if life.home is not None and (directory := life.home / "lies").is_dir()
    }


def _read(file: Path, *names: str) -> dict[str, torch.Tensor]:
    try:
        found = load_file(file)
    except (SafetensorError, OSError) as error:
        raise TornRecords(
            f"{file} cannot be read: {error}", remedy="Copy the home of the hostile peer again."
        ) from error
    if found.keys() != set(names):
        raise TornRecords(
            f"{file} is not what a hostile peer sent",
            expected=f"the tensors {' and '.join(names)}",
            got=", ".join(sorted(found)),
            remedy="Copy the home of the hostile peer again.",
        )
    return found

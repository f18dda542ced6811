"""Models on their way between recorded peers: transformed, encoded and decoded again as their senders did it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gossipfl.algorithms import Message
from gossipfl.algorithms.gate import let_in
from gossipfl.algorithms.in_transit import as_received
from gossipfl.codecs import codec
from gossipfl.codecs.draws import normals
from gossipfl.outgoing import Draws, Pipeline, pipeline_of, secret_normals
from gossipfl.outgoing.transformation import Normals
from sims.replay.errors import NotRecomputable
from sims.replay.lies import KeptLies
from sims.replay.lives import Event, Life

__all__ = ["Senders", "parts_of", "recorded_normals"]


class Senders:
    """All starts of peers that sent models.

    Parameters
    ----------
    lives : sequence of Life
    """

    def __init__(self, lives: Sequence[Life]) -> None:
        self._lives = {(life.peer, life.incarnation): life for life in lives}
        self._lies = KeptLies(lives)
        self._pipelines: dict[tuple[str, str], Pipeline] = {}

    def as_received(self, message: Message, events: Sequence[Event]) -> Message:
        """Return the models as receivers got them; those sent in the same way form one batch.

        Parameters
        ----------
        message : Message
            B models.
        events : sequence of Event
            The merge or adoption of each.

        Raises
        ------
        NotRecomputable
            If noise was added to one of them and not recorded.
        TornRecords
            If what a hostile peer sent cannot be read.
        """
        message = self._lies.instead(message, events)
        alike: dict[object, list[int]] = {}
        for index, event in enumerate(events):
            pipeline = self._pipeline(event)
            if not pipeline.is_lossless:
                alike.setdefault(index if pipeline.noise else pipeline.names, []).append(index)
        for where in alike.values():
            message = self._replaced(message, events, torch.tensor(where))
        return message

    @staticmethod
    def as_let_in(message: Message, own: Tensor, events: Sequence[Event]) -> Message:
        """Return received messages as the receivers' gates let them in.

        Parameters
        ----------
        message : Message
            B messages.
        own : Tensor
            Rows of the receivers, ``[B, D]``.
        events : sequence of Event
            The merge or adoption of each.
        """
        if all(event.credited_age is None for event in events):
            return message
        shares = torch.tensor([event.share for event in events], dtype=torch.float64)
        claimed = int(message.ages.max())
        most = torch.tensor([claimed if e.credited_age is None else e.credited_age for e in events])
        ages = torch.minimum(message.ages, most.view(-1, *[1] * (message.ages.dim() - 1)))
        return let_in(message, own, shares=shares, ages=ages)

    def _replaced(self, message: Message, events: Sequence[Event], where: Tensor) -> Message:
        first = events[int(where[0])]
        pipeline, life = self._pipeline(first), self._life(first)
        secret = life.secrets.get(first.sender_sequence)
        keys = torch.tensor([events[index].key for index in where.tolist()])
        draws = Draws(keys=keys, normals=recorded_normals(pipeline, secret, peer=life.peer))
        some = as_received(
            replace(
                message,
                shared=message.shared[where],
                carried={name: rows[where] for name, rows in message.carried.items()},
            ),
            pipeline,
            draws,
        )
        carried = {
            name: rows.index_copy(0, where, some.carried[name]) for name, rows in message.carried.items()
        }
        return replace(message, shared=message.shared.index_copy(0, where, some.shared), carried=carried)

    def _pipeline(self, event: Event) -> Pipeline:
        tables = self._life(event).settings.outgoing
        key = (repr(tables), event.codec)
        if key not in self._pipelines:
            self._pipelines[key] = pipeline_of(tables, codec=codec(event.codec))
        return self._pipelines[key]

    def _life(self, event: Event) -> Life:
        assert event.source is not None  # noqa: S101  (it is a merge or an adoption)
        return self._lives[event.source[:2]]


def parts_of(events: Sequence[Event]) -> Tensor | None:
    """Return which part of a model each event took in, int64 ``[B]``; None if models were sent whole."""
    parts = [event.part for event in events if event.part is not None]
    return torch.tensor(parts) if parts else None


def recorded_normals(pipeline: Pipeline, secret: bytes | None, *, peer: str) -> Normals:
    """Draw the noise of a message again.

    Parameters
    ----------
    pipeline : Pipeline
        Pipeline that the message passed.
    secret : bytes or None
        Key of its noise, if recorded.
    peer : str
        The sender.

    Raises
    ------
    NotRecomputable
        If there was noise and it was not recorded.
    """
    if not pipeline.noise:
        return normals
    if secret is None:
        raise NotRecomputable(
            f"peer {peer} added noise to its messages and kept no record of it",
            remedy="To replay a rehearsal, set recorded = true in the table [[outgoing]] of the noise; whoever "
            "reads the records can then take the noise off.",
        )
    return secret_normals(secret)

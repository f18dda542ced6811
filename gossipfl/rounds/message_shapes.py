"""Shapes of the messages of a round, known before any of them arrives.

They are found by doing a few rounds alone, with training that does nothing, and recording what would be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gossipfl.algorithms import (
    AnyExchange,
    LinkExchange,
    Links,
    Mixed,
    Neighbourhood,
    NeighbourRows,
    RoundAlgorithm,
    RoundContext,
    run_round,
)
from gossipfl.algorithms.author_calls import start_nodes
from gossipfl.codecs import Compressor
from gossipfl.errors import SettingError
from gossipfl.rounds.training import TrainerOfRounds
from gossipfl.training import Nodes, Trainer

__all__ = ["ExchangeForm", "form_of", "forms_of", "models_in", "nobody_around"]

_ROUNDS_TRIED = 3


@dataclass(frozen=True, slots=True)
class ExchangeForm:
    """Shape of the messages of one exchange of a round.

    Parameters
    ----------
    size : int
        Numbers in a row.
    compressor : Compressor or None
    over : {'neighbours', 'clique', 'links', 'rule'}
        Whether rows are averaged among neighbours or in cliques, each link has its own, or a rule combines them.
    summary : int, optional
        Numbers of the summary by which receivers choose whose rows they want: 0 if they choose without one,
        None if all rows are sent.
    """

    size: int
    compressor: Compressor | None
    over: Literal["neighbours", "clique", "links", "rule"]
    summary: int | None = None

    def described(self) -> list[object]:
        """Plain values that are equal exactly if forms are."""
        summary = [] if self.summary is None else [self.summary]
        return [self.size, self.compressor.name if self.compressor else None, self.over, *summary]


def form_of(name: str, exchange: AnyExchange) -> ExchangeForm:
    """Describe the messages of an exchange.

    Raises
    ------
    SettingError
        If peers cannot send it.
    """
    rows = exchange.rows
    if rows.dtype != torch.float32:
        raise SettingError(f"{name} sends numbers that peers do not", expected="float32", got=rows.dtype)
    if isinstance(exchange, LinkExchange):
        return ExchangeForm(rows.shape[1], exchange.compressor, "links")
    if isinstance(exchange, NeighbourRows):
        summary = None if exchange.preview is None else exchange.preview.width
        return ExchangeForm(rows.shape[1], exchange.compressor, "rule", summary)
    if exchange.over == "server":
        raise SettingError(f"{name} sends to a server, and peers have none")
    return ExchangeForm(rows.shape[1], exchange.compressor, exchange.over)


def forms_of(
    name: str, algorithm: RoundAlgorithm, trainer: Trainer, *, links: Links | None
) -> tuple[ExchangeForm, ...]:
    """Find the messages that an algorithm sends in each exchange.

    Raises
    ------
    SettingError
        If that changes from round to round, or peers cannot send it.
    """
    layout = trainer.layout
    first = Nodes.start(torch.zeros(1, layout.size), optimiser_state_size=trainer.optimiser_state_size)
    forms: list[ExchangeForm] = []
    with torch.no_grad():
        nodes = start_nodes(algorithm, first, shared_size=layout.shared_size, links=links)
        for number in range(_ROUNDS_TRIED):
            context = _resting(trainer, number, links)
            nodes, sent = _tried(name, algorithm, nodes, context)
            for place, form in enumerate(sent):
                if form.over == "rule" and algorithm.requirements.stochastic == "columns":
                    raise SettingError(
                        f"{name} combines rows by a rule of its own, and requires columns that sum to 1",
                        expected="requirements with stochastic = 'doubly' or 'rows'",
                        remedy="In push-sum rows carry mass, which only weighted sums keep.",
                    )
                if place == len(forms):
                    forms.append(form)
                elif forms[place] != form:
                    raise SettingError(
                        f"{name} sends something else in exchange {place} of round {number} than before",
                        expected=forms[place].described(),
                        got=form.described(),
                        remedy="Peers run algorithms whose rounds are alike; `gossipfl sim` runs this one.",
                    )
    return tuple(forms)


def _resting(trainer: Trainer, number: int, links: Links | None) -> RoundContext:
    """What a member that trains nothing has of a round."""
    return RoundContext(
        local=_Resting(trainer, np.zeros(1, dtype=np.int64)),
        shared_size=trainer.layout.shared_size,
        round=number,
        numbers=torch.zeros(1, dtype=torch.int64),
        links=links,
    )


def models_in(
    name: str, algorithm: RoundAlgorithm, trainer: Trainer, *, links: Links | None
) -> tuple[bool, ...]:
    """Find which exchanges of a round carry models, and give models back.

    They are those in which a member that trains nothing, and to which nothing arrives, sends the shared part of
    its model as it is, and gets it back. Rows over links are none, nor are those that the algorithm compresses.

    Returns
    -------
    tuple of bool
        For each exchange of a round.
    """
    layout, found = trainer.layout, list[bool]()
    first = torch.linspace(0.5, 1.0, layout.size)[None]
    nodes = Nodes.start(first, optimiser_state_size=trainer.optimiser_state_size)
    with torch.no_grad():
        nodes = start_nodes(algorithm, nodes, shared_size=layout.shared_size, links=links)
        for number in range(_ROUNDS_TRIED):
            context = _resting(trainer, number, links)
            are = list[bool]()

            def watch(rows: Tensor, answer: Tensor, are: list[bool] = are) -> None:
                model = first[:, : layout.shared_size]
                are.append(torch.equal(rows, model) and torch.equal(answer[:, : layout.shared_size], model))

            nodes, sent = _tried(name, algorithm, nodes, context, watch)
            are = [
                one and form.over != "links" and form.compressor is None
                for one, form in zip(are, sent, strict=True)
            ]
            found = [one and before for one, before in zip(are, found or are, strict=True)]
    return tuple(found)


def _tried(
    name: str,
    algorithm: RoundAlgorithm,
    nodes: Nodes,
    context: RoundContext,
    watch: Callable[[Tensor, Tensor], None] = lambda rows, answer: None,
) -> tuple[Nodes, list[ExchangeForm]]:
    sent: list[ExchangeForm] = []

    def alone(exchange: AnyExchange) -> Mixed:
        """A network with no other members, in which nothing arrives."""
        sent.append(form_of(name, exchange))
        rows = exchange.rows
        combined = exchange.combined(nobody_around(rows)) if isinstance(exchange, NeighbourRows) else rows
        watch(rows, combined)
        return Mixed(rows=combined, sent=rows)

    return run_round(algorithm, nodes, context, alone), sent


def nobody_around(rows: Tensor) -> Neighbourhood:
    """Neighbourhoods of nodes to which nothing arrives, rows ``[b, D]``."""
    return Neighbourhood(
        nodes=torch.arange(len(rows)),
        own=rows,
        own_weights=rows.new_ones(len(rows)),
        rows=torch.zeros_like(rows)[:, None],
        weights=rows.new_zeros(len(rows), 1),
        present=torch.zeros(len(rows), 1, dtype=torch.bool),
        neighbours=torch.full((len(rows), 1), -1),
    )


class _Resting(TrainerOfRounds):
    """Training that changes nothing."""

    def update(self, nodes: Nodes, steps: Tensor | None = None) -> Nodes:
        return nodes

    def gradient(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        return nodes, nodes.rows.new_zeros(len(nodes), self.trainer.layout.trainable_size)

"""What an algorithm sends in each exchange of a round, known before any message comes.

It is found by doing a few rounds alone, with training that does nothing, and noting what would be sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gossipfl.algorithms import Exchange, LinkExchange, Links, Mixed, RoundAlgorithm, RoundContext
from gossipfl.codecs import Compressor
from gossipfl.errors import SettingError
from gossipfl.settings import TrainingSettings
from gossipfl.training import Nodes, Trainer

__all__ = ["ExchangeForm", "form_of", "forms_of"]

_ROUNDS_TRIED = 3


@dataclass(frozen=True, slots=True)
class ExchangeForm:
    """What is sent in one exchange of a round.

    Parameters
    ----------
    size : int
        Numbers in a row.
    compressor : Compressor or None
    over : {'neighbours', 'clique', 'links'}
    """

    size: int
    compressor: Compressor | None
    over: Literal["neighbours", "clique", "links"]

    def described(self) -> list[object]:
        """Plain values that are equal where forms are."""
        return [self.size, self.compressor.name if self.compressor else None, self.over]


def form_of(name: str, exchange: Exchange | LinkExchange) -> ExchangeForm:
    """Say what an exchange sends.

    Raises
    ------
    SettingError
        If peers cannot send it.
    """
    rows = exchange.messages if isinstance(exchange, LinkExchange) else exchange.rows
    if rows.dtype != torch.float32:
        raise SettingError(f"{name} sends numbers that peers do not", expected="float32", got=rows.dtype)
    if isinstance(exchange, LinkExchange):
        return ExchangeForm(rows.shape[1], exchange.compressor, "links")
    if exchange.over == "server":
        raise SettingError(f"{name} sends to a server, and peers have none")
    return ExchangeForm(rows.shape[1], exchange.compressor, exchange.over)


def forms_of(
    name: str, algorithm: RoundAlgorithm, trainer: Trainer, *, links: Links | None
) -> tuple[ExchangeForm, ...]:
    """Find what an algorithm sends in each exchange.

    Raises
    ------
    SettingError
        If that changes from round to round, or peers cannot send it.
    """
    layout = trainer.layout
    first = Nodes.start(torch.zeros(1, layout.size), momentum_size=trainer.momentum_size)
    forms: list[ExchangeForm] = []
    with torch.no_grad():
        nodes = algorithm.start(first, shared_size=layout.shared_size, links=links)
        for number in range(_ROUNDS_TRIED):
            context = RoundContext(
                local=_Resting(trainer),
                shared_size=layout.shared_size,
                round=number,
                numbers=torch.zeros(1, dtype=torch.int64),
                links=links,
            )
            nodes, sent = _tried(name, algorithm, nodes, context)
            for place, form in enumerate(sent):
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


def _tried(
    name: str, algorithm: RoundAlgorithm, nodes: Nodes, context: RoundContext
) -> tuple[Nodes, list[ExchangeForm]]:
    steps = algorithm.round(nodes, context)
    sent: list[ExchangeForm] = []
    try:
        exchange = next(steps)
        while True:
            sent.append(form_of(name, exchange))
            rows = exchange.messages if isinstance(exchange, LinkExchange) else exchange.rows
            exchange = steps.send(Mixed(rows=rows, sent=rows))
    except StopIteration as ended:
        after: Nodes = ended.value
        return after, sent


class _Resting:
    """Training that changes nothing."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    @property
    def settings(self) -> TrainingSettings:
        return self._trainer.settings

    @property
    def samples(self) -> Tensor:
        return torch.from_numpy(self._trainer.data.counts[:1])

    def update(self, nodes: Nodes, steps: Tensor | None = None) -> Nodes:
        return nodes

    def gradient(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        return nodes, nodes.rows.new_zeros(len(nodes), self._trainer.layout.trainable_size)

    def learning_rates(self, nodes: Nodes) -> Tensor:
        return self._trainer.learning_rates(nodes)

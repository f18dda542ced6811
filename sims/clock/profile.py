"""Profiles of rounds: a node's steps of training and exchanges, in order, and which of them can overlap.

They are found by a rehearsal: the round of one node alone, with training that only counts its steps. It is done
twice, with training that changes the model and with training that does not. An exchange whose rows are the same
both times does not depend on the round's training, and is carried out while that goes on.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gossipfl.algorithms import (
    AnyExchange,
    Exchange,
    Links,
    Mixed,
    NeighbourRows,
    RoundAlgorithm,
    RoundContext,
    run_round,
)
from gossipfl.algorithms.author_calls import start_nodes
from gossipfl.layout import Layout
from gossipfl.outgoing import Pipeline
from gossipfl.rounds.message_shapes import nobody_around
from gossipfl.settings import TrainingSettings
from gossipfl.training import Nodes
from sims.clock.plain import Arrays, under, within

__all__ = ["CountedTraining", "ExchangeProfile", "Rehearsal", "RoundProfile"]

_OF_NODES = ("rows", "ages", "steps", "optimiser_state")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeProfile:
    """One exchange of a round.

    Parameters
    ----------
    steps : int
        Steps of training between the answer to the exchange before, or the start of the round, and this one.
    overlaps : bool
        Whether rows do not depend on these steps, and so travel meanwhile.
    bytes : int
        Of one message.
    over : {'neighbours', 'clique', 'server'}
    """

    steps: int
    overlaps: bool
    bytes: int
    over: Literal["neighbours", "clique", "server"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundProfile:
    """The exchanges of a round, and the steps of training after the last of them."""

    exchanges: tuple[ExchangeProfile, ...]
    steps_after: int

    def exchange(self, number: int) -> ExchangeProfile | None:
        """The exchange of a number; None after the last."""
        return self.exchanges[number] if number < len(self.exchanges) else None

    def plain(self) -> list[Any]:
        """All of it as plain values."""
        return [[astuple(each) for each in self.exchanges], self.steps_after]

    @classmethod
    def of_plain(cls, plain: list[Any]) -> RoundProfile:
        """Make one of them."""
        exchanges, steps_after = plain
        names = ("steps", "overlaps", "bytes", "over")
        each = tuple(ExchangeProfile(**dict(zip(names, given, strict=True))) for given in exchanges)
        return cls(exchanges=each, steps_after=steps_after)


class CountedTraining:
    """Training that counts its steps, and moves parameters by ``shift`` in each.

    Its methods are those of `gossipfl.algorithms.LocalTraining`.
    """

    def __init__(
        self, settings: TrainingSettings, layout: Layout, samples: int, shift: float, *, nodes: int = 1
    ) -> None:
        self.settings, self._layout, self._shift = settings, layout, shift
        self.samples = torch.full((nodes,), samples)
        self.steps = 0

    def update(self, nodes: Nodes, steps: Tensor | None = None) -> Nodes:
        """Count steps."""
        count = self.settings.local_steps if steps is None else int(steps.max())
        self.steps += count
        rows = nodes.rows.clone()
        rows[:, : self._layout.trainable_size] += self._shift * count
        return replace(nodes, rows=rows, ages=nodes.ages + count, steps=nodes.steps + count)

    def gradient(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        """Count a step."""
        self.steps += 1
        gradients = nodes.rows.new_full((len(nodes), self._layout.trainable_size), self._shift)
        return replace(nodes, ages=nodes.ages + 1, steps=nodes.steps + 1), gradients

    def losses_of(self, nodes: Nodes, rows: Tensor, whose: Tensor) -> Tensor:
        """Zeros."""
        del nodes, whose
        return rows.new_zeros(len(rows))

    def learning_rates(self, nodes: Nodes) -> Tensor:
        """Some step size."""
        return nodes.rows.new_full((len(nodes), 1), 0.1)


class Rehearsal:
    """Rounds of one node alone, each rehearsed before the network does it.

    Parameters
    ----------
    algorithm : RoundAlgorithm
    layout : Layout
    settings : TrainingSettings
    samples : int
        How many samples a node has; the number of steps of an epoch follows from it.
    seed : int
    outgoing : Pipeline
    optimiser_state_size : int
    links : Links, optional
        Of one node, if messages differ from link to link.
    """

    def __init__(
        self,
        algorithm: RoundAlgorithm,
        *,
        layout: Layout,
        settings: TrainingSettings,
        samples: int,
        seed: int,
        outgoing: Pipeline,
        optimiser_state_size: int = 0,
        links: Links | None = None,
    ) -> None:
        self._algorithm, self._layout, self._settings = algorithm, layout, settings
        self._samples, self._seed, self._outgoing, self._links = samples, seed, outgoing, links
        rows = torch.linspace(0.5, 1.0, layout.size)[None]
        first = Nodes.start(rows, optimiser_state_size=optimiser_state_size)
        with torch.no_grad():
            self._nodes = start_nodes(algorithm, first, shared_size=layout.shared_size, links=links)
        self.round = 0

    def next(self) -> RoundProfile:
        """Rehearse the next round."""
        with torch.no_grad():
            after, sent, exchanges, steps = self._rehearsed(0.0)
            _, moved, _, _ = self._rehearsed(0.01)
        self._nodes, self.round = after, self.round + 1
        found, before = [], 0
        for place, (exchange, done) in enumerate(exchanges):
            alike = sent[place].shape == moved[place].shape and torch.equal(sent[place], moved[place])
            found.append(
                ExchangeProfile(
                    steps=done - before,
                    overlaps=alike,
                    bytes=self._outgoing.with_codec(exchange.compressor).payload_bytes(
                        exchange.rows.shape[1]
                    ),
                    over=exchange.over if isinstance(exchange, Exchange) else "neighbours",
                )
            )
            before = done
        return RoundProfile(exchanges=tuple(found), steps_after=steps - before)

    def state(self) -> Arrays:
        """All that changes."""
        nodes = self._nodes
        return {
            "round": np.array([self.round]),
            **{name: getattr(nodes, name).numpy() for name in _OF_NODES},
            **under("auxiliary", {name: kept.numpy() for name, kept in nodes.auxiliary.items()}),
        }

    def restore(self, state: Arrays) -> None:
        """Continue from a state."""
        self.round = int(state["round"][0])
        auxiliary = within("auxiliary", state)
        self._nodes = Nodes(
            **{name: torch.from_numpy(state[name]) for name in _OF_NODES},
            auxiliary={name: torch.from_numpy(kept) for name, kept in auxiliary.items()},
        )

    def _rehearsed(self, shift: float) -> tuple[Nodes, list[Tensor], list[tuple[AnyExchange, int]], int]:
        local = CountedTraining(self._settings, self._layout, self._samples, shift)
        context = RoundContext(
            local=local,
            shared_size=self._layout.shared_size,
            round=self.round,
            numbers=torch.zeros(1, dtype=torch.int64),
            seed=self._seed,
            links=self._links,
        )
        sent: list[Tensor] = []
        exchanges: list[tuple[AnyExchange, int]] = []

        def alone(exchange: AnyExchange) -> Mixed:
            sent.append(exchange.rows)
            exchanges.append((exchange, local.steps))
            rows = exchange.rows
            if isinstance(exchange, NeighbourRows):
                rows = exchange.combined(nobody_around(rows))
            return Mixed(rows=rows, sent=exchange.rows)

        after = run_round(self._algorithm, self._nodes, context, alone)
        return after, sent, exchanges, local.steps

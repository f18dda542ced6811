"""Events of message-driven algorithms on coefficients: weights of models, messages and gradients in each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gossipfl.algorithms import Message, MessageAlgorithm
from gossipfl.algorithms.author_calls import on_answer, on_clock, on_receipt, start_nodes
from gossipfl.algorithms.gate.admission import let_in
from gossipfl.algorithms.messages import Update
from gossipfl.settings import TrainingSettings
from gossipfl.training import Nodes
from sims.privacy.errors import NotAccountable
from sims.privacy.events import EventRun
from sims.privacy.linear_run import LinearRun
from sims.privacy.symbolic_training import SymbolicTraining

__all__ = ["LearnedEvents", "Sent"]

_OWN, _OTHER, _BEGUN, _VELOCITY, _KINDS = 0, 1, 2, 3, 4
_CHECKED = 16  # how many combinations of ages are tried for linearity


@dataclass(frozen=True, slots=True)
class Sent:
    """A message, or a model to come back to: its number in the run, and the ages and weights with it."""

    number: int
    nodes: Nodes
    velocity: int | None = None
    """Number of the velocity that is kept with it, if any is."""


class LearnedEvents:
    """A linear run in which nodes do what a message-driven algorithm says.

    Parameters
    ----------
    algorithm : MessageAlgorithm
    settings : TrainingSettings
    nodes : int
    enabled : bool
        Whether nodes train.
    private_start : bool
        Whether each node starts from a row of its own that is private.
    deviations : sequence of float, optional
        Of the noise on each model that a node sends, by node; none by default.

    Raises
    ------
    NotAccountable
        If messages carry more than whole models and weights.
    """

    def __init__(
        self,
        algorithm: MessageAlgorithm,
        settings: TrainingSettings,
        *,
        nodes: int,
        enabled: bool,
        private_start: bool,
        deviations: Sequence[float] = (),
    ) -> None:
        self._deviations = deviations or [0.0] * nodes
        behaviour, name = algorithm.behaviour, type(algorithm).__name__
        if behaviour.sharing.kind != "whole":
            raise NotAccountable(f"{name} sends parts of models", expected="whole models")
        self.algorithm, self.settings, self.enabled = algorithm, settings, enabled
        self._count, self._momentum = nodes, enabled and settings.momentum > 0
        self.run = EventRun(2 * nodes if self._momentum else nodes)  # velocities are rows beside the models
        width = _KINDS if self._momentum else 0
        start = start_nodes(
            algorithm,
            Nodes.start(torch.zeros(1, _KINDS, dtype=torch.float64), optimiser_state_size=width),
        )
        unaccounted = [name for name, kept in start.auxiliary.items() if kept.dim() > 1]
        if unaccounted or "momentum" in behaviour.carries:
            raise NotAccountable(
                f"{name} keeps rows beside its models", got=", ".join(unaccounted) or "momentum"
            )
        self._nodes = [start] * nodes
        self._known: dict[tuple[object, ...], tuple[Nodes, list[list[float]]]] = {}
        self._checked = 0
        if private_start:
            for node in range(nodes):
                self.run.change(node, own=0.0, entering=[1.0])

    def finished(self) -> LinearRun:
        """All of it, as a run of the nodes alone."""
        return replace(self.run.finished(), nodes=self._count)

    def send(self, node: int, *, saved: bool = False) -> Sent:
        """Keep the model of a node as it is now; with its momentum, if it is saved to `resume` from."""
        velocity = self.run.send(self._count + node) if saved and self._momentum else None
        return Sent(self.run.send(node), self._nodes[node], velocity)

    def forget(self, sent: Sent) -> None:
        """Drop a model that is not used any more."""
        self.run.forget(sent.number)
        if sent.velocity is not None:
            self.run.forget(sent.velocity)

    def resume(self, node: int, saved: Sent) -> None:
        """A node begins from a saved model."""
        self._take_over(node, saved)
        if saved.velocity is not None:
            self.run.change(self._count + node, own=0.0, others={saved.velocity: 1.0})
        self._nodes[node] = saved.nodes

    def age(self, node: int) -> int:
        """Age of a node's model."""
        return int(self._nodes[node].ages)

    def clock(self, node: int, *, trains: bool = True) -> None:
        """A node's clock rings."""

        def happen(own: Nodes, rows: Tensor, update: Update) -> Nodes:
            del rows
            then = update if trains else _same
            return on_clock(self.algorithm, own, shared_size=_width(own), update=then)

        self._apply(("clock", trains), node, {}, happen)

    def receipt(
        self,
        node: int,
        sent: Sent,
        *,
        trains: bool,
        share: float = 1.0,
        credited_age: int | None = None,
        has_arrived: bool = False,
    ) -> None:
        """A node receives a model.

        Parameters
        ----------
        node : int
        sent : Sent
        trains : bool
            Whether it trains then, if the algorithm says so.
        share : float
            Share of the way to the model that the node's gate allowed.
        credited_age : int, optional
            The age that the gate credited, if another than claimed.
        has_arrived : bool
            Whether it is what `arrival` returned before.
        """
        if not has_arrived:
            sent = self.arrival(node, sent)

        def happen(own: Nodes, rows: Tensor, update: Update) -> Nodes:
            message = self._message(sent, rows[_OTHER : _OTHER + 1])
            if credited_age is not None:
                ages = message.ages.clamp(max=credited_age)
                message = let_in(message, own.rows, shares=torch.tensor([share]).double(), ages=ages)
            return on_receipt(self.algorithm, own, message, update=update if trains else _same)

        self._apply(("receipt", trains, share, credited_age), node, {_OTHER: sent}, happen)
        if not has_arrived:
            self._let_go(sent)

    def passed_by(
        self, node: int, sent: Sent, *, trains: bool, aged: bool, has_arrived: bool = False
    ) -> None:
        """A node receives a part of a model without the number that is followed.

        Parameters
        ----------
        node : int
        sent : Sent
        trains : bool
            Whether it trains then, if the algorithm says so.
        aged : bool
            Whether the model's age is that of the number, too.
        has_arrived : bool
            As of `receipt`.
        """

        def happen(own: Nodes, rows: Tensor, update: Update) -> Nodes:
            del rows
            ages = torch.maximum(own.ages, sent.nodes.ages) if aged else own.ages
            then = replace(own, ages=ages)
            return update(then) if trains else then

        if not has_arrived:
            sent = self.arrival(node, sent)
        self._apply(("passed by", trains, aged), node, {_OTHER: sent}, happen)
        if not has_arrived:
            self._let_go(sent)

    def refused(self, node: int, sent: Sent) -> None:
        """A node receives a model, and does not take it in."""
        self._let_go(self.arrival(node, sent))

    def answer(self, node: int, sent: Sent, begun: Sent, *, trains: bool = True) -> None:
        """A node receives the answer to its own message, and applies the step it has begun."""
        sent = self.arrival(node, sent)

        def happen(own: Nodes, rows: Tensor, update: Update) -> Nodes:
            message = self._message(sent, rows[_OTHER : _OTHER + 1])
            earlier = replace(begun.nodes, rows=rows[_BEGUN : _BEGUN + 1])
            then = update if trains else _same
            return on_answer(self.algorithm, own, message, earlier, update=then)

        self._apply(("answer", trains), node, {_OTHER: sent, _BEGUN: begun}, happen)
        self._let_go(sent)

    def train(self, node: int, *, trains: bool = True) -> None:
        """A node trains by itself."""
        if trains:
            self._apply("alone", node, {}, lambda own, rows, update: update(own))

    def adopt(self, node: int, sent: Sent) -> None:
        """A node takes a model over as it is."""
        sent = self.arrival(node, sent)
        self._take_over(node, sent)
        self._let_go(sent)
        own = self._nodes[node]
        self._nodes[node] = replace(own, ages=sent.nodes.ages, auxiliary=sent.nodes.auxiliary)

    def go_back(self, node: int, earlier: Sent) -> None:
        """A node returns to an earlier model of its own; its counter of steps goes on."""
        self._take_over(node, earlier)
        self._nodes[node] = replace(
            earlier.nodes, steps=torch.maximum(earlier.nodes.steps, self._nodes[node].steps)
        )

    def arrival(self, node: int, sent: Sent) -> Sent:
        """Let a node see a model, with noise that this message alone has. Return it as it arrived."""
        deviation = self._deviations[self.run.sender(sent.number)]
        if deviation:
            sent = replace(sent, number=self.run.with_noise(sent.number, deviation=deviation))
        self.run.receive(node, sent.number)
        return sent

    def _let_go(self, arrived: Sent) -> None:
        """Drop a message that had noise of its own."""
        if self._deviations[self.run.sender(arrived.number)]:
            self.run.forget(arrived.number)

    def _take_over(self, node: int, sent: Sent) -> None:
        """Hold a model as it is, with momentum at rest."""
        self.run.change(node, own=0.0, others={sent.number: 1.0})
        if self._momentum:
            self.run.change(self._count + node, own=0.0)

    def _apply(
        self,
        kind: object,
        node: int,
        others: dict[int, Sent],
        happen: Callable[[Nodes, Tensor, Update], Nodes],
    ) -> None:
        own = self._nodes[node]
        key = (kind, _numbers(own), *(_numbers(sent.nodes) for sent in others.values()))
        if key not in self._known:
            self._known[key] = self._tried(own, happen)
        self._nodes[node], weights = self._known[key]
        places = [node, self._count + node][: len(weights)]
        self.run.change_beside(
            node,
            rows=[
                (
                    dict(zip(places, (row[_OWN], row[_VELOCITY]), strict=False)),
                    {sent.number: row[place] for place, sent in others.items()},
                    row[_KINDS:],
                )
                for row in weights
            ],
            places=places,
        )

    def _tried(
        self, own: Nodes, happen: Callable[[Nodes, Tensor, Update], Nodes]
    ) -> tuple[Nodes, list[list[float]]]:
        """Nodes after an event, and the weights of all that they are combined of."""

        def outcome(rows: Tensor) -> tuple[Nodes, int]:
            training = SymbolicTraining(
                self.settings,
                samples=torch.ones(1, dtype=torch.int64),
                enabled=self.enabled,
                gradients=rows[_KINDS:],
            )
            state = rows[_VELOCITY:_KINDS] if self._momentum else own.optimiser_state
            after = happen(replace(own, rows=rows[:1], optimiser_state=state), rows, training.update)
            return after, len(training.taken)

        _, count = outcome(torch.zeros(_KINDS, _KINDS, dtype=torch.float64))
        after, _ = outcome(torch.eye(_KINDS + count, dtype=torch.float64))
        weights = _outcomes(after)
        if self._checked < _CHECKED:
            self._checked += 1
            numbers = torch.randn(
                weights.shape[1],
                3,
                dtype=torch.float64,
                generator=torch.Generator().manual_seed(self._checked),
            )
            if not torch.allclose(_outcomes(outcome(numbers)[0]), weights @ numbers, rtol=1e-6, atol=1e-9):
                raise NotAccountable(f"{type(self.algorithm).__name__} is not linear in its models")
        kept = replace(after, rows=own.rows, optimiser_state=own.optimiser_state)
        return kept, weights.tolist()

    def _message(self, sent: Sent, row: Tensor) -> Message:
        nodes = replace(sent.nodes, rows=row)
        return self.algorithm.emit(nodes, shared_size=_width(nodes))


def _outcomes(nodes: Nodes) -> Tensor:
    """A node's model, and its velocity if it keeps one, ``[1 or 2, D]``."""
    return torch.cat([nodes.rows, nodes.optimiser_state]) if nodes.optimiser_state.numel() else nodes.rows


def _same(nodes: Nodes) -> Nodes:
    return nodes


def _width(nodes: Nodes) -> int:
    return int(nodes.rows.shape[1])


def _numbers(nodes: Nodes) -> tuple[float, ...]:
    """All of a node besides its row that an algorithm may look at."""
    kept = (float(each) for each in nodes.auxiliary.values())
    return (int(nodes.ages), int(nodes.steps), *kept)

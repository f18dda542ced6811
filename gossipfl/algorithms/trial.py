"""A small network in memory, on which algorithms are tried: five nodes on a path, and quadratics to learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gossipfl.algorithms.author_calls import start_nodes
from gossipfl.algorithms.base import RoundAlgorithm, RoundContext
from gossipfl.algorithms.drive import RoundInProgress
from gossipfl.algorithms.exchanges import (
    AnyExchange,
    LinkExchange,
    Links,
    Mixed,
    Neighbourhood,
    NeighbourRows,
)
from gossipfl.settings import TrainingSettings
from gossipfl.training.nodes import Nodes

__all__ = ["LOCAL", "SHARED", "Trial", "TrialTraining", "differences", "first_nodes", "trial_training"]

NODES, SHARED, SIZE = 5, 6, 8
LOCAL = slice(SHARED, SIZE)
_CLIQUES = torch.tensor([0, 0, 1, 1, 1])


def _path_weights() -> Tensor:
    """Metropolis–Hastings weights of a path: a tree, with one symmetric doubly stochastic matrix."""
    links = torch.diag(torch.full((NODES - 1,), 1 / 3, dtype=torch.float64), 1)
    W = links + links.T
    return W + torch.diag(1 - W.sum(dim=1))


def _pattern(rows: int, columns: int, *, turn: float) -> Tensor:
    """Numbers without a pattern that an algorithm could meet by chance, and without a generator."""
    return torch.sin(torch.arange(rows * columns, dtype=torch.float64) * turn + turn).reshape(rows, columns)


def first_nodes(*, parts: int = 1) -> Nodes:
    """Five nodes with different models and ages, in float64."""
    nodes = Nodes.start(_pattern(NODES, SIZE, turn=1.7), optimiser_state_size=SIZE, parts=parts)
    ages = torch.arange(1, NODES + 1)
    return replace(nodes, ages=ages if parts == 1 else ages[:, None].expand(-1, parts).clone())


@dataclass(frozen=True)
class TrialTraining:
    """Exact gradients of ``½ ‖x − b_i − step/10‖²`` for each of B nodes; none at all if ``rate`` is 0."""

    targets: Tensor
    numbers: Tensor
    rate: float = 0.1
    settings: TrainingSettings = field(default_factory=TrainingSettings)

    @property
    def samples(self) -> Tensor:
        """How many samples each node has: 20 and more, different ones."""
        return 20 + self.numbers

    def gradient(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        """Gradients at the nodes' rows, which count as a step."""
        older = replace(nodes, ages=nodes.ages + 1, steps=nodes.steps + 1)
        if not self.rate:
            return older, torch.zeros_like(nodes.rows)
        targets = self.targets.to(nodes.rows.dtype) + nodes.steps[:, None] / 10
        return older, nodes.rows - targets

    def losses_of(self, nodes: Nodes, rows: Tensor, whose: Tensor) -> Tensor:
        """Losses of rows at the nodes' steps, ``[M]``."""
        targets = self.targets[whose].to(rows.dtype) + nodes.steps[whose, None] / 10
        return (rows - targets).square().sum(dim=1) / 2

    def learning_rates(self, nodes: Nodes) -> Tensor:
        """Step sizes, ``[B, 1]``."""
        return torch.full((len(nodes), 1), self.rate or 0.1, dtype=nodes.rows.dtype)

    def update(self, nodes: Nodes, steps: Tensor | None = None) -> Nodes:
        """Do steps of gradient descent."""
        steps = torch.ones_like(nodes.steps) if steps is None else steps
        for done in range(int(steps.max()) if self.rate else 0):
            older, gradients = self.gradient(nodes)
            going = steps > done
            rows = torch.where(going[:, None], nodes.rows - self.rate * gradients, nodes.rows)
            behind = going if nodes.ages.dim() == 1 else going[:, None]
            ages = torch.where(behind, older.ages, nodes.ages)
            nodes = replace(nodes, rows=rows, ages=ages, steps=torch.where(going, older.steps, nodes.steps))
        return nodes


def trial_training(numbers: Tensor, *, rate: float = 0.1) -> TrialTraining:
    """Training of the nodes of these numbers."""
    return TrialTraining(_pattern(NODES, SIZE, turn=2.3)[numbers], numbers, rate)


def differences(first: Nodes, second: Nodes, *, tolerance: float) -> list[str]:
    """Names of the parts that differ between two states of the same nodes."""
    pairs = {
        **{
            name: (getattr(first, name), getattr(second, name))
            for name in ("rows", "ages", "steps", "optimiser_state")
        },
        **{name: (kept, second.auxiliary[name]) for name, kept in first.auxiliary.items()},
    }
    return [
        name
        for name, (one, other) in pairs.items()
        if not torch.allclose(one.double(), other.double(), rtol=0, atol=tolerance)
    ]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Rounds of an algorithm on the path.

    Parameters
    ----------
    algorithm : RoundAlgorithm
    numbers : Tensor
        The nodes in the order of their rows, int64 ``[5]``.
    rate : float
        Step size of training; 0 for none.
    """

    algorithm: RoundAlgorithm
    numbers: Tensor = field(default_factory=lambda: torch.arange(NODES))
    rate: float = 0.1

    def ordered(self, order: Tensor) -> Trial:
        """The same nodes in another order."""
        return replace(self, numbers=self.numbers[order])

    def untrained(self) -> Trial:
        """The same without training."""
        return replace(self, rate=0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", self.algorithm.for_members(NODES))

    def first(self, *, dtype: torch.dtype = torch.float64) -> Nodes:
        """Nodes before the algorithm starts; all with the same model if a server has it."""
        nodes = first_nodes()
        rows = nodes.rows[self.numbers]
        if self.algorithm.requirements.server:
            rows = torch.cat([nodes.rows[:1, :SHARED].expand(NODES, -1), rows[:, SHARED:]], dim=1)
        zeros = torch.zeros_like(nodes.ages)
        return replace(
            nodes, rows=rows.to(dtype), ages=zeros, optimiser_state=nodes.optimiser_state.to(dtype)
        )

    def started(self, *, dtype: torch.dtype = torch.float64) -> Nodes:
        """Nodes before the first round."""
        return start_nodes(
            self.algorithm, self.first(dtype=dtype), shared_size=SHARED, links=self._links(self.numbers)
        )

    def states(self, rounds: int, *, dtype: torch.dtype = torch.float64) -> Iterator[Nodes]:
        """Nodes at first, as the algorithm starts, and after each round."""
        yield self.first(dtype=dtype)
        nodes = self.started(dtype=dtype)
        yield nodes
        for t in range(rounds):
            nodes, _ = self._round(nodes, t)
            yield nodes

    def after(self, rounds: int) -> Nodes:
        """Nodes after some rounds."""
        *_, last = self.states(rounds)
        return last

    def watched(self, rounds: int) -> Iterator[tuple[Nodes, Nodes]]:
        """Nodes before each round as they are after it, and a copy from before it."""
        nodes = self.started()
        for t in range(rounds):
            kept = replace(nodes, rows=nodes.rows.clone(), optimiser_state=nodes.optimiser_state.clone())
            kept = replace(kept, auxiliary={name: each.clone() for name, each in nodes.auxiliary.items()})
            after, _ = self._round(nodes, t)
            yield nodes, kept
            nodes = after

    def trained_alone(self, steps: Tensor) -> Tensor:
        """Rows after so many steps of each node, ``[5]``, without any exchange."""
        return trial_training(self.numbers, rate=self.rate).update(self.first(), steps).rows

    def exchanges(self, rounds: int) -> Iterator[tuple[Nodes, list[tuple[str, int]]]]:
        """Nodes after each round, and the kind and width of each of its exchanges."""
        nodes = self.started()
        for t in range(rounds):
            nodes, answers = self._round(nodes, t)
            yield nodes, [(type(sent).__name__, sent.rows.shape[1]) for sent, _ in answers]

    def one_by_one(self, rounds: int) -> Iterator[tuple[Tensor, Tensor]]:
        """For each node what it sends, and its row in the end: among all, and alone with the same answers."""
        states, sent = [self.started()], []
        for t in range(rounds):
            nodes, answers = self._round(states[-1], t)
            states.append(nodes)
            sent.append(answers)
        for node in range(NODES):
            numbers = self.numbers[node : node + 1]
            links = self._links(numbers)
            mine = self._links(self.numbers).owner == node
            alone = start_nodes(
                self.algorithm, self.first().select(slice(node, node + 1)), shared_size=SHARED, links=links
            )
            among_all, by_itself = [], []
            for t, answers in enumerate(sent):
                progress = RoundInProgress(self.algorithm, alone, self._context(t, numbers))
                for exchange, mixed in answers:
                    where = mine if isinstance(exchange, LinkExchange) else torch.arange(NODES) == node
                    among_all.append(exchange.rows[where].flatten())
                    if progress.exchange is not None:
                        by_itself.append(progress.exchange.rows.flatten())
                    progress.answer(replace(mixed, rows=mixed.rows[where], sent=mixed.sent[where]))
                alone = progress.nodes
            yield torch.cat([*among_all, states[-1].rows[node]]), torch.cat([*by_itself, alone.rows[0]])

    def _round(self, nodes: Nodes, t: int) -> tuple[Nodes, list[tuple[AnyExchange, Mixed]]]:
        progress = RoundInProgress(self.algorithm, nodes, self._context(t, self.numbers))
        answers = []
        while (exchange := progress.exchange) is not None:
            mixed = self._carried_out(exchange)
            answers.append((exchange, mixed))
            progress.answer(mixed)
        return progress.nodes, answers

    def _context(self, t: int, numbers: Tensor) -> RoundContext:
        links = self._links(numbers) if self.algorithm.requirements.links else None
        drawn = self.algorithm.participants(torch.arange(NODES), seed=7, number=t)
        return RoundContext(
            local=trial_training(numbers, rate=self.rate),
            shared_size=SHARED,
            round=t,
            numbers=numbers,
            seed=7,
            links=links,
            participants=None if drawn is None else drawn[numbers],
        )

    def _links(self, numbers: Tensor) -> Links:
        W = _path_weights()
        ends = [
            (place, other)
            for place, number in enumerate(numbers.tolist())
            for other in range(NODES)
            if other != number and W[number, other]
        ]
        owner, neighbours = torch.tensor(ends, dtype=torch.int64).T
        return Links(owner=owner, neighbours=neighbours, weights=W[numbers[owner], neighbours])

    def _carried_out(self, exchange: AnyExchange) -> Mixed:
        rows = exchange.rows
        if exchange.compressor is not None:
            keys = self.numbers if not isinstance(exchange, LinkExchange) else torch.arange(len(rows))
            rows = exchange.compressor.compress(rows, keys=keys)
        if isinstance(exchange, LinkExchange):
            links, places = self._links(self.numbers), {int(n): p for p, n in enumerate(self.numbers)}
            ends = list(zip(links.owner.tolist(), links.neighbours.tolist(), strict=True))
            back = [ends.index((places[other], int(self.numbers[owner]))) for owner, other in ends]
            return Mixed(rows=rows[back], sent=rows)
        W = _path_weights()[self.numbers][:, self.numbers].to(rows.dtype)
        if isinstance(exchange, NeighbourRows):
            return Mixed(rows=exchange.combined(_everybody(W, rows, self.numbers.tolist())), sent=rows)
        if exchange.over == "server":
            W = torch.full_like(W, 1 / NODES)
        if exchange.over == "clique":
            cliques = _CLIQUES[self.numbers]
            together = (cliques[:, None] == cliques).to(rows.dtype)
            W = together / together.sum(dim=1, keepdim=True)
        return Mixed(rows=W @ rows, sent=rows, oldest=None if exchange.ages is None else exchange.ages.max())


def _everybody(W: Tensor, rows: Tensor, numbers: list[int]) -> Neighbourhood:
    by_number = sorted(range(NODES), key=numbers.__getitem__)
    others = torch.tensor([[j for j in by_number if j != i] for i in range(NODES)])
    weights = W.gather(1, others)
    present = weights != 0
    return Neighbourhood(
        nodes=torch.arange(NODES),
        own=rows,
        own_weights=W.diagonal(),
        rows=torch.where(present[..., None], rows[others], 0),
        weights=weights,
        present=present,
        neighbours=torch.where(present, torch.tensor(numbers)[others], -1),
    )

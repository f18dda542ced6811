"""Rounds on dense matrices in float64: what a runner of rounds does, in its shortest form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from hypothesis import settings
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
from gossipfl.settings import TrainingSettings
from gossipfl.training import Nodes

Sent = list[AnyExchange]

few = settings(max_examples=15, deadline=None)


@dataclass(frozen=True)
class Quadratics:
    """Node i has samples b_i1 … b_ik and the loss ``½ Σ_d a_id (x_d − b_ijd)²``: exact local training.

    Batches go through a node's samples in order, again and again.
    """

    samples_of: Sequence[Tensor]
    curvatures: Tensor
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    _means: dict[tuple[int, int], Tensor] = field(default_factory=dict, init=False, compare=False)

    @property
    def samples(self) -> Tensor:
        return torch.tensor([len(own) for own in self.samples_of])

    @property
    def optimum(self) -> Tensor:
        """Minimum of the mean of the nodes' losses."""
        means = torch.stack([own.mean(0) for own in self.samples_of])
        return (self.curvatures * means).sum(0) / self.curvatures.sum(0)

    def _batch_mean(self, node: int, step: int) -> Tensor:
        own = self.samples_of[node]
        size = min(self.settings.batch_size, len(own))
        first = step * size % len(own)
        if (node, first) not in self._means:
            self._means[node, first] = own[torch.arange(first, first + size) % len(own)].mean(0)
        return self._means[node, first]

    def gradient(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        targets = torch.stack([self._batch_mean(i, step) for i, step in enumerate(nodes.steps.tolist())])
        gradients = self.curvatures * (nodes.rows - targets)
        return replace(nodes, ages=nodes.ages + 1, steps=nodes.steps + 1), gradients

    def losses_of(self, nodes: Nodes, rows: Tensor, whose: Tensor) -> Tensor:
        if not len(whose):
            return rows.new_zeros(0)
        targets = torch.stack([self._batch_mean(int(i), int(nodes.steps[i])) for i in whose])
        return (self.curvatures[whose] * (rows - targets).square()).sum(dim=1) / 2

    def learning_rates(self, nodes: Nodes) -> Tensor:
        return torch.full((len(nodes), 1), self.settings.learning_rate, dtype=nodes.rows.dtype)

    def update(self, nodes: Nodes, steps: Tensor | None = None) -> Nodes:
        if steps is None:
            steps = torch.full_like(nodes.steps, self.settings.local_steps)
        for step in range(int(steps.max())):
            older, gradients = self.gradient(nodes)
            velocities = gradients + self.settings.momentum * nodes.optimiser_state
            rows = nodes.rows - self.learning_rates(nodes) * velocities
            going = steps > step
            nodes = replace(
                nodes,
                rows=torch.where(going[:, None], rows, nodes.rows),
                optimiser_state=torch.where(going[:, None], velocities, nodes.optimiser_state),
                ages=torch.where(going, older.ages, nodes.ages),
                steps=torch.where(going, older.steps, nodes.steps),
            )
        return nodes


class Still(Quadratics):
    """No training at all."""

    def update(self, nodes: Nodes, steps: Tensor | None = None) -> Nodes:
        return nodes

    def gradient(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        return nodes, torch.zeros_like(nodes.rows)


def quadratics(
    nodes: int,
    *,
    size: int = 3,
    seed: int = 0,
    largest: int = 1,
    curved: bool = False,
    kind: type[Quadratics] = Quadratics,
    **training: float,
) -> Quadratics:
    """Random quadratics; each node has 1 … largest samples."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    counts = torch.randint(1, largest + 1, (nodes,), generator=generator).tolist()
    curvatures = normal(nodes, size).abs() + 0.5 if curved else torch.ones(nodes, size, dtype=torch.float64)
    samples_of = [3 * normal(1, size) + normal(count, size) for count in counts]
    return kind(samples_of, curvatures, TrainingSettings(**training))  # type: ignore[arg-type]


def start_at(rows: Tensor) -> Nodes:
    """Nodes with the optimiser at rest."""
    return Nodes.start(rows.clone(), optimiser_state_size=rows.shape[1])


def mean_matrix(nodes: int) -> Tensor:
    """J."""
    return torch.full((nodes, nodes), 1 / nodes, dtype=torch.float64)


@dataclass
class Network:
    """Who mixes with whom.

    Parameters
    ----------
    matrix : callable
        Mixing matrix of round t, dense float64.
    cliques : Tensor, optional
        Clique of each node.
    links : list of pairs, optional
        Owner and neighbour of each link end, sorted.
    """

    matrix: Callable[[int], Tensor]
    cliques: Tensor | None = None
    ends: list[tuple[int, int]] | None = None

    @classmethod
    def of(cls, W: Tensor, **others: object) -> Network:
        return cls(lambda _: W, **others)  # type: ignore[arg-type]

    @classmethod
    def of_tree(cls, edges: list[tuple[int, int]], nodes: int) -> Network:
        W = torch.eye(nodes, dtype=torch.float64)
        return cls(lambda _: W, ends=sorted([(i, j) for i, j in edges] + [(j, i) for i, j in edges]))

    @property
    def links(self) -> Links | None:
        if self.ends is None:
            return None
        owner, neighbours = torch.tensor(self.ends, dtype=torch.int64).T
        weights = torch.full((len(self.ends),), float("nan"), dtype=torch.float64)
        return Links(owner=owner, neighbours=neighbours, weights=weights)

    def answer(self, sent: AnyExchange, t: int) -> Mixed:
        if isinstance(sent, LinkExchange):
            assert self.ends is not None
            place = {end: at for at, end in enumerate(self.ends)}
            back = [place[j, i] for i, j in self.ends]
            return Mixed(rows=sent.rows[back], sent=sent.rows)
        W = self.matrix(t).to(sent.rows.dtype)
        if isinstance(sent, NeighbourRows):
            return Mixed(rows=sent.combined(everybody(W, sent.rows)), sent=sent.rows)
        if sent.over == "server":
            W = mean_matrix(len(sent.rows)).to(sent.rows.dtype)
        if sent.over == "clique":
            assert self.cliques is not None
            together = (self.cliques[:, None] == self.cliques).to(sent.rows.dtype)
            W = together / together.sum(1, keepdim=True)
        return Mixed(rows=W @ sent.rows, sent=sent.rows)


def everybody(W: Tensor, rows: Tensor) -> Neighbourhood:
    """All other nodes as neighbours of each; those without weight are not present."""
    n = len(rows)
    others = torch.tensor([[j for j in range(n) if j != i] for i in range(n)])
    weights = W.gather(1, others)
    present = weights != 0
    return Neighbourhood(
        nodes=torch.arange(n),
        own=rows,
        own_weights=W.diagonal(),
        rows=torch.where(present[..., None], rows[others], 0),
        weights=weights,
        present=present,
        neighbours=torch.where(present, others, -1),
    )


def rounds(
    algorithm: RoundAlgorithm,
    nodes: Nodes,
    network: Network,
    local: Quadratics,
    *,
    count: int,
    seed: int = 0,
    shared_size: int | None = None,
) -> Iterator[tuple[Nodes, Sent]]:
    """Nodes after each of ``count`` rounds, and what was sent in it."""
    shared = nodes.rows.shape[1] if shared_size is None else shared_size
    nodes = algorithm.start(nodes, shared_size=shared, links=network.links)
    for t in range(count):
        context = RoundContext(
            local=local,
            shared_size=shared,
            round=t,
            numbers=torch.arange(len(nodes)),
            seed=seed,
            links=network.links,
        )
        sent: Sent = []

        def carry_out(exchange: AnyExchange, t: int = t, sent: Sent = sent) -> Mixed:
            sent.append(exchange)
            return network.answer(exchange, t)

        nodes = run_round(algorithm, nodes, context, carry_out)
        yield nodes, sent


def after(
    algorithm: RoundAlgorithm,
    nodes: Nodes,
    network: Network,
    local: Quadratics,
    *,
    count: int,
    seed: int = 0,
    shared_size: int | None = None,
) -> Nodes:
    """Nodes after ``count`` rounds."""
    run = rounds(algorithm, nodes, network, local, count=count, seed=seed, shared_size=shared_size)
    return [state for state, _ in run][-1]


def random_doubly_stochastic(nodes: int, seed: int) -> Tensor:
    """A convex combination of the identity and random permutations: doubly stochastic, directed."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(4, generator=generator, dtype=torch.float64) + 0.1
    weights /= weights.sum()
    W = weights[0] * torch.eye(nodes, dtype=torch.float64)
    for weight in weights[1:]:
        W += weight * torch.eye(nodes, dtype=torch.float64)[torch.randperm(nodes, generator=generator)]
    return W


def random_column_stochastic(nodes: int, seed: int) -> Tensor:
    """Weights of a strongly connected directed graph; what a node gives away, it splits unevenly."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(nodes, nodes, generator=generator, dtype=torch.float64)
    P = torch.where(chosen < 0.3, chosen + 0.1, 0.0)
    P += torch.eye(nodes, dtype=torch.float64) * 0.3 + 0.2 * torch.eye(nodes, dtype=torch.float64).roll(1, 0)
    return P / P.sum(0)


def random_tree(nodes: int, seed: int) -> list[tuple[int, int]]:
    """Every node links to a random one before it."""
    generator = torch.Generator().manual_seed(seed)
    return [(int(torch.randint(0, i, (1,), generator=generator)), i) for i in range(1, nodes)]

"""Random runs in rounds and by messages, each beside all rows that are seen in it, in rational arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.sparse import csr_array

from sims.privacy.events import EventRun
from sims.privacy.linear_run import LinearRun, averaging
from tests.sims.privacy.exact import Row, unit
from topology import Topology, graphs


@dataclass(frozen=True)
class Case:
    run: LinearRun
    seen: list[list[Row]]
    """By node: all rows it received."""
    observers: list[int]

    @property
    def rows(self) -> list[Row]:
        """B: all that the observers see, and their own values."""
        owners = self.run.owners
        own = [unit(len(owners), value) for value in np.flatnonzero(np.isin(owners, self.observers))]
        return own + [row for node in self.observers for row in self.seen[node]]


def random_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 11))
    graph = _graph(rng, n)
    observers = sorted(rng.choice(n, size=int(rng.integers(1, 3)), replace=False).tolist())
    run, seen = (_in_rounds if rng.random() < 0.5 else _by_messages)(rng, graph)
    return Case(run, seen, observers)


def _graph(rng: np.random.Generator, n: int) -> Topology:
    kind = rng.choice(["ring", "star", "path", "complete", "erdos_renyi"])
    if kind == "erdos_renyi":
        return graphs.erdos_renyi(n, 0.4, seed=int(rng.integers(1 << 30)), require_connected=False)
    return getattr(graphs, kind)(n)


def _in_rounds(rng: np.random.Generator, graph: Topology) -> tuple[LinearRun, list[list[Row]]]:
    """Averaging by Metropolis–Hastings weights; the weight of a lost message goes to the node itself."""
    n, degrees = graph.n, graph.degrees
    loss = float(rng.choice([0, 0.1, 0.3, 0.6]))
    held = [unit(n, node) for node in range(n)]
    seen: list[list[Row]] = [[] for _ in range(n)]
    matrices = []
    for _ in range(int(rng.integers(1, 12))):
        weights = [unit(n, node) for node in range(n)]
        for node in range(n):
            for other in graph.neighbours(node).tolist():
                if rng.random() >= loss:
                    weight = Fraction(1, 1 + int(max(degrees[node], degrees[other])))
                    weights[node][other] = weight
                    weights[node][node] -= weight
                    seen[node].append(held[other])
        matrix = np.array(weights, dtype=np.float64)
        received = np.array([[float(bool(weight)) for weight in row] for row in weights])
        matrices.append((csr_array(matrix), csr_array(received)))
        held = [_mixed(row, held) for row in weights]
    return averaging([m for m, _ in matrices], receives=[r for _, r in matrices]), seen


def _by_messages(rng: np.random.Generator, graph: Topology) -> tuple[LinearRun, list[list[Row]]]:
    """Nodes send at random; messages are delayed, overtake one another and get lost; some nodes train again."""
    n, count = graph.n, int(rng.integers(4, 60))
    trains = rng.random() < 0.3
    values = n + (count if trains else 0)
    run, entered = EventRun(n), n
    held = [unit(values, node) for node in range(n)]
    seen: list[list[Row]] = [[] for _ in range(n)]
    for node in range(n):
        run.change(node, own=0.0, entering=[1.0])
    flying: list[tuple[int, int, Row]] = []
    for _ in range(count):
        if flying and rng.random() < 0.5:
            message, receiver, row = flying.pop(int(rng.integers(len(flying))))
            if rng.random() < 0.2:
                run.forget(message)
                continue
            weight = Fraction(int(rng.integers(0, 5)), 4)
            run.receive(receiver, message)
            run.change(receiver, own=float(1 - weight), others={message: float(weight)})
            run.forget(message)
            seen[receiver].append(row)
            held[receiver] = [(1 - weight) * a + weight * b for a, b in zip(held[receiver], row, strict=True)]
            if trains and rng.random() < 0.5:
                run.change(receiver, own=1.0, entering=[1.0])
                held[receiver] = [a + b for a, b in zip(held[receiver], unit(values, entered), strict=True)]
                entered += 1
            continue
        sender = int(rng.integers(n))
        neighbours = graph.neighbours(sender)
        if len(neighbours):
            flying.append((run.send(sender), int(rng.choice(neighbours)), held[sender]))
    finished = run.finished()
    return finished, [[row[:entered] for row in rows] for rows in seen]


def _mixed(weights: Row, held: list[Row]) -> Row:
    mixed = [Fraction(0)] * len(weights)
    for weight, row in zip(weights, held, strict=True):
        if weight:
            mixed = [a + weight * b for a, b in zip(mixed, row, strict=True)]
    return mixed

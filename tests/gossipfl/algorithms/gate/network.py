"""A network of eight gossiping nodes and one liar, without sockets: what the gate is tried on."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from gossipfl.algorithms.gate import Arrival, Gatekeeper
from gossipfl.settings.gate import GateSettings
from gossipfl.training import Nodes
from sims.scenario import parse_scenario
from sims.world import build_world
from tests.lies import LIES, Heard

SCENARIO = """
seed = {seed}
[population]
nodes = {nodes}
[algorithm]
name = "gossip_learning"
[task]
name = "digits"
partition = "{partition}"
[training]
learning_rate = 0.2
momentum = 0.9
batch_size = 32
schedule = "cosine"
decay_age = 900
"""


class Network:
    """Nodes that swap models with random others once a period, and average by age."""

    def __init__(self, *, nodes=8, seed=0, partition="shards:2", gate=True, settings=None):
        self.world = build_world(parse_scenario(SCENARIO.format(seed=seed, nodes=nodes, partition=partition)))
        self.size = self.world.layout.shared_size
        self.generator = np.random.default_rng(seed)
        self.random = torch.Generator().manual_seed(seed)
        self.nodes = [self.fresh() for _ in range(nodes)]
        self.online = [True] * nodes
        self.steps = [1] * nodes
        self.gates = [Gatekeeper(settings or GateSettings()) for _ in range(nodes)] if gate else None
        self.refused = []
        self.clipped = 0
        self.now = 0.0
        self.island = [0] * nodes

    def fresh(self):
        return Nodes.start(
            self.world.first_rows().clone(), optimiser_state_size=self.world.trainer.optimiser_state_size
        )

    def losses(self, node):
        data = self.world.trainer.data
        positions = np.arange(64) % int(data.counts[node])
        inputs, targets = (each[0] for each in data.gather(np.array([node]), positions[None]))

        def measure(shared):
            rows = self.world.first_rows().repeat(2, 1)
            rows[0, : self.size] = shared[0]
            loss, first = self.world.task.evaluate(rows, inputs, targets)["loss"]
            return float(loss), float(first)

        return measure

    def take(self, node, sender, row, age):
        own = self.nodes[node]
        x, a = own.rows[:, : self.size], int(own.ages[0])
        trains = True
        if self.gates is not None:
            admission = self.gates[node].admit(
                Arrival(
                    sender=str(sender),
                    own=x,
                    own_age=a,
                    received=row,
                    age=age,
                    now=self.now,
                    losses=self.losses(node),
                    neighbours=sum(self.online) - 1,
                )
            )
            if admission.is_refusal:
                self.refused.append((sender, admission.reason))
                return
            self.clipped += admission.share < 1
            row, age, trains = admission.apply(x, row), admission.age, not admission.is_surplus
        weight = age / (a + age) if a + age else 0.5
        merged = own.with_shared(x + weight * (row - x), ages=torch.tensor([max(a, age)]))
        for _ in range(self.steps[node] if trains else 0):
            merged = self.world.trainer.train(merged, np.array([node]))[0]
        self.nodes[node] = merged

    def period(self):
        self.now += 1.0
        for i in self.generator.permutation(len(self.nodes)):
            others = [
                j
                for j in range(len(self.nodes))
                if j != i and self.online[j] and self.island[i] == self.island[j]
            ]
            if not self.online[i] or not others:
                continue
            j = others[int(self.generator.integers(len(others)))]
            for a, b in ((i, j), (j, i)):
                sent = self.nodes[b]
                self.take(a, b, sent.rows[:, : self.size], int(sent.ages[0]))

    def lie(self, kind, target):
        """A row and an age that a liar sends to a node."""
        row = self.nodes[target].rows[0, : self.size]
        told, age = LIES[kind](self, Heard(row, int(self.nodes[target].ages[0]), row, 0))
        return told[None], age

    def noise(self):
        return torch.randn(self.size, generator=self.random)

    @cached_property
    def own(self):
        """A liar's own model, trained on a node's data."""
        liar = self.fresh()
        for _ in range(200):
            liar = self.world.trainer.train(liar, np.array([0]))[0]
        return liar.rows[0, : self.size]

    def accuracies(self):
        rows = torch.cat([each.rows for each in self.nodes])
        return self.world.task.evaluate(rows, self.world.test_inputs, self.world.test_targets)["accuracy"]

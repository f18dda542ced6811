"""decent-bench on the workloads of `workloads`, through its own API; runs in an environment of its own.

python benchmarks/simulator_contestants/peers_decent_bench.py W1 100 20 --evaluate-every 10
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import decent_bench.benchmark as benchmark
import networkx as nx
import numpy as np
import torch
from decent_array import interoperability as iop
from decent_array.types import Devices, Frameworks
from decent_bench.agents import Agent
from decent_bench.algorithms.p2p import P2PAlgorithm
from decent_bench.algorithms.utils import initial_states, uniform_initialization
from decent_bench.costs import PyTorchCost
from decent_bench.networks import P2PNetwork
from workloads import HIDDEN, RATE, digits, neighbours, own_samples, report


@dataclass(eq=False)
class PushGossip(P2PAlgorithm):
    """Everybody pushes to a random neighbour, averages what came, and takes a step."""

    evaluate_every: int = 10
    name: str = "push gossip"

    def initialize(self, network):
        self.draw = np.random.default_rng(0)
        inputs, targets = (torch.from_numpy(array) for array in digits()[2:])
        # One "sample" that holds all: stacking hundreds of small tensors would cost more than the model does.
        self.test, self.labels, self.accuracy = [inputs], targets.numpy(), 0.0
        first = initial_states(uniform_initialization(network, low=-0.125, high=0.125), network)
        for agent in network.agents():
            agent.initialize(x=first[agent])
        self.around = {agent: network.neighbors(agent) for agent in network.agents()}

    def step(self, network, iteration):
        for agent in network.active_agents():
            around = self.around[agent]
            network.send(agent, around[self.draw.integers(len(around))], agent.x)
        for agent in network.active_agents():
            came = list(agent.messages().values())
            x = sum(came, start=agent.x) / (1 + len(came))
            agent.x = x - RATE * agent.cost.gradient(x)
        if self.evaluate_every and (iteration + 1) % self.evaluate_every == 0:
            outputs = [iop.to_numpy(agent.cost.predict(agent.x, self.test)) for agent in network.agents()]
            self.accuracy = float(
                np.mean([(output[0].argmax(1) == self.labels).mean() for output in outputs])
            )


def model(workload):
    """W1 or W2."""
    if workload == "W1":
        return torch.nn.Linear(64, 10)
    return torch.nn.Sequential(torch.nn.Linear(64, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 10))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=["W1", "W2"])
    parser.add_argument("nodes", type=int)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--evaluate-every", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    benchmark.configure(Frameworks.PYTORCH, Devices.CPU, seed=42)
    inputs, targets, *_ = (torch.from_numpy(array) for array in digits())
    graph = nx.Graph((i, int(j)) for i, row in enumerate(neighbours(arguments.nodes)) for j in row)
    agents = []
    for own in own_samples(arguments.nodes):
        samples = list(zip(inputs[own], targets[own]))
        cost = PyTorchCost(samples, model(arguments.workload), torch.nn.CrossEntropyLoss())
        agents.append(Agent(cost, state_snapshot_period=10**6))
    network = P2PNetwork(graph, agents)
    algorithm = PushGossip(evaluate_every=arguments.evaluate_every)
    started, started_cpu = time.perf_counter(), time.process_time()
    algorithm.run(network, arguments.rounds)
    seconds, cpu = time.perf_counter() - started, time.process_time() - started_cpu
    updates = arguments.nodes * arguments.rounds
    report(
        updates_per_second=updates / seconds,
        updates_per_cpu_second=updates / cpu,
        accuracy=algorithm.accuracy,
    )


if __name__ == "__main__":
    main()

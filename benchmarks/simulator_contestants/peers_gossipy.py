"""gossipy-dfl on the workloads of `workloads`, through its own API; runs in an environment of its own.

python benchmarks/simulator_contestants/peers_gossipy.py W1 100 20 --evaluate-every 10
"""

from __future__ import annotations

import argparse
import sys
import time
import types

import numpy as np
import torch
from scipy.sparse import csr_matrix
from workloads import HIDDEN, RATE, digits, neighbours, own_samples, report

sys.modules.setdefault("torchvision", types.ModuleType("torchvision"))  # imported by gossipy, used by neither

from gossipy import set_seed
from gossipy.core import AntiEntropyProtocol, ConstantDelay, CreateModelMode, StaticP2PNetwork
from gossipy.model import TorchModel
from gossipy.model.handler import TorchModelHandler
from gossipy.node import GossipNode
from gossipy.simul import GossipSimulator


class Model(TorchModel):
    """W1 or W2."""

    def __init__(self, workload):
        super().__init__()
        hidden = [torch.nn.Linear(64, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 10)]
        self.net = torch.nn.Linear(64, 10) if workload == "W1" else torch.nn.Sequential(*hidden)

    def init_weights(self):
        """Keep the initial weights torch gives."""

    def forward(self, x):
        return self.net(x)


class Dispatcher:
    """Hands every node its samples; there is a test set once in so many rounds."""

    def __init__(self, every):
        test = digits()[2:]
        self.test, self.every, self.asked = tuple(torch.from_numpy(array) for array in test), every, 0

    def has_test(self):
        self.asked += 1
        return bool(self.every) and self.asked % self.every == 0

    def get_eval_set(self):
        return self.test


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=["W1", "W2"])
    parser.add_argument("nodes", type=int)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--evaluate-every", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    set_seed(42)
    n, length = arguments.nodes, 10  # few time steps a round: it looks at every node in each
    inputs, targets, *_ = digits()
    around = neighbours(n)
    graph = csr_matrix(
        (np.ones(around.size), (np.repeat(np.arange(n), around.shape[1]), around.reshape(-1))), (n, n)
    )
    network = StaticP2PNetwork(n, graph)
    handler = TorchModelHandler(
        net=Model(arguments.workload),
        optimizer=torch.optim.SGD,
        optimizer_params={"lr": RATE},
        criterion=torch.nn.CrossEntropyLoss(),
        local_epochs=1,
        batch_size=32,
        create_model_mode=CreateModelMode.MERGE_UPDATE,
    )
    nodes = {}
    for i, own in enumerate(own_samples(n)):
        data = (torch.from_numpy(inputs[own]), torch.from_numpy(targets[own]))
        nodes[i] = GossipNode(
            idx=i,
            data=(data, None),
            round_len=length,
            model_handler=handler.copy(),
            p2p_net=network,
            sync=True,
        )
    simulator = GossipSimulator(
        nodes=nodes,
        data_dispatcher=Dispatcher(arguments.evaluate_every),
        delta=length,
        protocol=AntiEntropyProtocol.PUSH,
        delay=ConstantDelay(0),
    )
    simulator.init_nodes()
    started, started_cpu = time.perf_counter(), time.process_time()
    simulator.start(n_rounds=arguments.rounds)
    seconds, cpu = time.perf_counter() - started, time.process_time() - started_cpu
    test, labels = simulator.data_dispatcher.test
    with torch.no_grad():
        right = [
            float((node.model_handler.model(test).argmax(1) == labels).float().mean())
            for node in nodes.values()
        ]
    updates = n * arguments.rounds
    report(
        updates_per_second=updates / seconds,
        updates_per_cpu_second=updates / cpu,
        accuracy=sum(right) / len(right),
    )


if __name__ == "__main__":
    main()

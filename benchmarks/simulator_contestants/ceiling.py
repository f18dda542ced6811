"""The ceiling: the workloads as a hand-written loop with no events, clocks, delays or generality.

    python benchmarks/simulator_contestants/ceiling.py W1 1000 100 --evaluate-every 10

All nodes at once, in blocks that fit the cache; gradients by hand; weights as ``[nodes, out, in]``, so that every
product and every softmax has its long dimension last. Rounds are synchronous.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from workloads import RATE, SHAPES, digits, neighbours, own_samples, report


class Ceiling:
    """All models of a workload, and the buffers they are computed in."""

    def __init__(self, workload, nodes):
        pool, labels, test, test_labels = digits()
        own = own_samples(nodes)
        self.nodes, self.workload = nodes, workload
        self.inputs = torch.from_numpy(pool[own])  # [N, S, 64]
        self.one_hot = torch.from_numpy(np.eye(10, dtype=np.float32)[labels[own]].transpose(0, 2, 1).copy())
        self.test, self.test_labels = torch.from_numpy(test.T.copy()), torch.from_numpy(test_labels)
        self.neighbours = torch.from_numpy(neighbours(nodes))
        self.draw = torch.Generator().manual_seed(0)
        fan_in = [shape[1] for shape in SHAPES[workload] for _ in range(1)]
        fan_in = [max(fan_in[k - k % 2], 2) for k in range(len(fan_in))]
        self.weights = [
            torch.empty(nodes, *shape).uniform_(-(f**-0.5), f**-0.5, generator=self.draw)
            for shape, f in zip(SHAPES[workload], fan_in)
        ]
        self.next = [torch.empty_like(w) for w in self.weights]
        self.block = 256 if workload == "W1" else 64

    def round(self):
        """Everybody pushes, everybody averages what came and takes a step."""
        chosen = torch.randint(0, self.neighbours.shape[1], (self.nodes, 1), generator=self.draw)
        receiver = self.neighbours.gather(1, chosen)[:, 0]
        share = (
            torch.ones(self.nodes)
            .index_add_(0, receiver, torch.ones(self.nodes))
            .reciprocal_()
            .view(-1, 1, 1)
        )
        for old, new in zip(self.weights, self.next):
            new.copy_(old).index_add_(0, receiver, old).mul_(share)
        for start in range(0, self.nodes, self.block):
            self._step(slice(start, start + self.block))
        self.weights, self.next = self.next, self.weights

    def _step(self, part):
        inputs = self.inputs[part]
        turned = inputs.transpose(1, 2)
        if self.workload == "W1":
            weight, bias = (w[part] for w in self.next)
            slope = self._slope(torch.bmm(weight, turned).add_(bias), part)
            weight.sub_(torch.bmm(slope, inputs))
            bias.sub_(slope.sum(2, keepdim=True))
            return
        first, first_bias, second, second_bias = (w[part] for w in self.next)
        hidden = torch.bmm(first, turned).add_(first_bias).relu_()
        slope = self._slope(torch.bmm(second, hidden).add_(second_bias), part)
        hidden_slope = torch.bmm(second.transpose(1, 2), slope).mul_(hidden > 0)
        second.sub_(torch.bmm(slope, hidden.transpose(1, 2)))
        second_bias.sub_(slope.sum(2, keepdim=True))
        first.sub_(torch.bmm(hidden_slope, inputs))
        first_bias.sub_(hidden_slope.sum(2, keepdim=True))

    def _slope(self, logits, part):
        """Rate times the gradient of the mean cross-entropy by the logits, classes first."""
        logits.sub_(logits.amax(1, keepdim=True)).exp_()
        logits.div_(logits.sum(1, keepdim=True)).sub_(self.one_hot[part])
        return logits.mul_(RATE / logits.shape[2])

    def accuracy(self, block=64):
        """Mean test accuracy over all nodes."""
        right = 0
        for start in range(0, self.nodes, block):
            weights = [w[start : start + block] for w in self.weights]
            count = len(weights[0])
            outputs = (
                (weights[0].reshape(-1, 64) @ self.test).view(count, -1, self.test.shape[1]).add_(weights[1])
            )
            if self.workload == "W2":
                outputs = torch.bmm(weights[2], outputs.relu_()).add_(weights[3])
            right += int((outputs.argmax(1) == self.test_labels).sum())
        return right / (self.nodes * len(self.test_labels))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=SHAPES)
    parser.add_argument("nodes", type=int)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--evaluate-every", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.no_grad():
        ceiling = Ceiling(arguments.workload, arguments.nodes)
        ceiling.round()
        ceiling.accuracy()
        evaluating, started, started_cpu = 0.0, time.perf_counter(), time.process_time()
        accuracy = 0.0
        for done in range(1, arguments.rounds + 1):
            ceiling.round()
            if arguments.evaluate_every and done % arguments.evaluate_every == 0:
                before = time.perf_counter()
                accuracy = ceiling.accuracy()
                evaluating += time.perf_counter() - before
        seconds, cpu = time.perf_counter() - started, time.process_time() - started_cpu
    updates = arguments.nodes * arguments.rounds
    report(
        updates_per_second=updates / seconds,
        updates_per_second_without_evaluation=updates / (seconds - evaluating),
        updates_per_cpu_second=updates / cpu,
        accuracy=accuracy,
    )


if __name__ == "__main__":
    main()

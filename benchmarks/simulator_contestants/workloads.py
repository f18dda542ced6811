"""Workloads of the contestants of `benchmarks/simulator.py`; NumPy and scikit-learn only.

W1: logistic regression 64-10 on handwritten digits; W2: perceptron 64-128-10. Every node has 14 samples (100 nodes:
the training set, divided) or 20 (more nodes: drawn from it with replacement) and, on a random 20-regular graph,
pushes its model once a round to a random neighbour, which averages it with its own and takes one step of plain
gradient descent, rate 0.5, on all its samples.
"""

from __future__ import annotations

import json
import resource

import numpy as np

SEED = 42
RATE = 0.5
DEGREE = 20
HIDDEN = 128
TEST = 360
SHAPES = {
    "W1": [(10, 64), (10, 1)],
    "W2": [(HIDDEN, 64), (HIDDEN, 1), (10, HIDDEN), (10, 1)],
}


def digits():
    """Return training and test samples: pixels within 0 … 1 float32, classes int64."""
    from sklearn.datasets import load_digits

    inputs, targets = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(targets))
    inputs, targets = (inputs[order] / 16).astype(np.float32), targets[order].astype(np.int64)
    return inputs[TEST:], targets[TEST:], inputs[:TEST], targets[:TEST]


def own_samples(nodes):
    """Return for each node the indices of its training samples, ``[nodes, 14 or 20]``."""
    generator = np.random.default_rng(SEED + 1)
    pool = len(digits()[0])
    if nodes <= 100:
        each = pool // nodes
        return generator.permutation(pool)[: nodes * each].reshape(nodes, each)
    return generator.integers(0, pool, (nodes, 20))


def neighbours(nodes):
    """Neighbours in a 20-regular graph, ``[nodes, 20]``: a randomly relabelled circulant with random steps."""
    generator = np.random.default_rng(SEED)
    label = generator.permutation(nodes)
    place = np.empty(nodes, dtype=np.int64)
    place[label] = np.arange(nodes)
    steps = generator.choice(np.arange(1, nodes // 2), DEGREE // 2, replace=False)
    return label[(place[:, None] + np.concatenate([steps, -steps])) % nodes]


def report(**figures):
    """Print one line of figures for the benchmark to read."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("FIGURES " + json.dumps({**figures, "peak_mib": round(peak, 1)}), flush=True)

"""The adviser against the simulator: which of two topologies needs fewer rounds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

import sims
import topology
from sims.world.trace_cache import Traces

NAMES = (
    "complete:32",
    "exponential:32",
    "random-regular:32,degree=4",
    "k-peer-exponential:32,k=2",
    "torus:8x4",
    "one-peer-exponential:32",
    "random-matching:32",
    "ring:32",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("partition", "heterogeneity", "noise", "learning_rate", "batch", "limit"),
    [("shards:2", 1.0, 1.0, 0.4, 32, 400), ("iid", 0.1, 1.0, 0.1, 8, 600)],
    ids=["two classes a node", "iid"],
)
def test_the_adviser_orders_topologies_as_simulations_do(
    partition, heterogeneity, noise, learning_rate, batch, limit
):
    """Rounds until nodes' own models reach 90 % of digits, mean of three seeds; those predicted, by default."""
    traces, reached = Traces(), {}
    for name in NAMES:
        rounds = []
        for seed in (1, 2, 3):
            scenario = {
                "seed": seed,
                "population": {"nodes": 32},
                "task": {"name": "digits", "partition": partition},
                "topology": {"name": name},
                "algorithm": {"name": "d_psgd", "order": "adapt-then-combine"},
                "training": {"learning_rate": learning_rate, "batch_size": batch},
                "evaluate": {"every": 4},
                "stop": {"rounds": limit, "accuracy": 0.9},
            }
            rounds.append(float(sims.run(scenario, traces=traces).evaluations["round"][-1]))
        reached[name] = float(np.mean(rounds))
    advice = topology.advise(
        32, 31, 1_000_000, 20e6, heterogeneity=heterogeneity, noise=noise, candidates=list(NAMES)
    )
    predicted = {r.expression: r.rounds for r in advice.recommendations}
    print({name: (round(reached[name], 1), round(predicted[name], 1)) for name in NAMES})
    both = [[table[name] for name in NAMES] for table in (reached, predicted)]
    assert spearmanr(*both).statistic >= 0.9
    assert reached["torus:8x4"] < reached["one-peer-exponential:32"]
    assert predicted["torus:8x4"] < predicted["one-peer-exponential:32"]

"""Bytes that each node sends a step, in models: the published ones, as simulations account them."""

import pytest

from sims.engine import RoundEngine
from sims.scenario import parse_scenario
from sims.world import build_world
from sims.world.networks import round_network

SCENARIO = """
[population]
nodes = 8
[task]
name = "digits"
[topology]
name = "{topology}"
[algorithm]
name = "{algorithm}"
[training]
batch_size = 1
learning_rate = 0.01
[stop]
rounds = 1
"""


@pytest.mark.parametrize(
    ("algorithm", "topology", "parameters", "steps", "models"),
    [
        ("fedavg", None, {}, 1, 2),  # up and down: the traffic that is published beside SAPS
        ("d_psgd", "ring", {}, 1, 2),
        ("d_psgd", "random_matching", {}, 1, 1),
        ("saps", "random_matching", {"share": 0.01}, 1, 0.01),
        ("diloco", None, {"average": "all-reduce"}, 500, 0.004),
        ("noloco", "random_matching", {"pull": 0.7}, 50, 0.04),
        ("noloco", "random_matching", {}, 50, 0.02),
        ("noloco", "random_matching", {"bits": 2}, 50, 0.02 * 2 / 32),
        ("gasloc", "random_matching", {}, 50, 0.02),
        (
            "sparseloco",
            "random_matching",
            {"codec": "chunk-top:8:64", "pull": 0.25},
            1,
            0.25 + 8 / 64 * 8 / 32,
        ),
        ("streaming", "random_matching", {"fragments": 2, "pull": 1.0}, 50, 0.01),
        ("streaming", None, {"fragments": 2, "average": "all-reduce"}, 500, 0.002),
        ("sparta", "complete", {"share": 0.005}, 1, 7 * 0.005),
    ],
)
def test_a_step_costs_what_is_published(algorithm, topology, parameters, steps, models):
    """Both passes of an all-reduce count; of partners' exchanges, what a node sends itself."""
    text = SCENARIO.format(algorithm=algorithm, topology=topology)
    if topology is None:
        text = text.replace('[topology]\nname = "None"\n', "")
    scenario = parse_scenario(
        text, overrides=[f"algorithm.{key}={value}" for key, value in parameters.items()]
    )
    world = build_world(scenario)
    engine = RoundEngine(world, round_network(scenario, class_counts=None), compile_when="never")
    engine.run_round()
    engine.close()
    size = world.layout.shared_size
    assert engine.exchanges.bytes / (8 * 4 * size) / steps == pytest.approx(
        models, rel=1e-3 if steps > 1 else 2e-2
    )

"""Noise that algorithms in rounds add, and what the accountant makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from sims.privacy.report import report_of
from sims.privacy.round_mechanisms import noise_multiplier_of, rounds_loss
from sims.privacy.sources import run_of_scenario
from sims.privacy.value_noise import ValueNoise, with_noise_on_values
from sims.scenario import parse_scenario

SCENARIO = """
[population]
nodes = {nodes}
[task]
name = "{task}"
[topology]
name = "{topology}"
[algorithm]
{algorithm}
[training]
enabled = {enabled}
[stop]
rounds = {rounds}
"""


def scenario_of(algorithm, *, nodes=16, topology="ring", rounds=4, task="digits", enabled="true", more=""):
    text = SCENARIO.format(
        nodes=nodes, topology=topology, algorithm=algorithm, rounds=rounds, task=task, enabled=enabled
    )
    return parse_scenario(text + more)


@pytest.mark.parametrize(
    ("topology", "edge_deviation", "per_round", "epsilon"),
    [("complete", 32.0, 5.055857e-4, 10.796774), ("ring", 188.0, 4.656257e-4, 10.292830)],
)
def test_a_scenario_of_decor_has_the_published_figures(topology, edge_deviation, per_round, epsilon):
    algorithm = f'name = "decor"\ndeviation = 17.8271\nedge_deviation = {edge_deviation}\ncolluding = 0'
    loss = rounds_loss(scenario_of(algorithm, topology=topology, rounds=3500), delta=1e-5)
    assert loss.per_round == pytest.approx(per_round, rel=3e-7)
    assert loss.epsilon_by_rdp == pytest.approx(epsilon, abs=2e-6)
    assert loss.epsilon < loss.epsilon_by_rdp


def test_accelerated_averaging_is_accounted_exactly_beside_the_bound():
    """Ring of 16 with MH weights: everybody within T links is computed, and the published bound says less."""
    averages = 'name = "{}"'
    more = "[task.options]\nnodes = 16\n"
    for algorithm in (averages.format("muffliato"), averages.format("muffliato") + "\ngap = 0.4"):
        scenario = scenario_of(algorithm, task="sims.scenarios.averages:averages", enabled="false", more=more)
        scenario = scenario.model_copy(
            update={"task": scenario.task.model_copy(update={"partition": "contiguous"})}
        )
        noise = ValueNoise(sensitivities=np.ones(16), deviations=np.ones(16))
        run = with_noise_on_values(run_of_scenario(scenario), noise)
        report = report_of(run, noise=1.0, delta=1e-5)
        shares = [each.mean for each in report.by_distance]
        assert shares[:4] == pytest.approx([1, 1, 1, 1])
        assert shares[4:] == pytest.approx([0] * len(shares[4:]), abs=1e-9)
        published = [each.published for each in report.by_distance[:4]]
        if "gap" not in algorithm:
            assert published == pytest.approx([1, 0.8063, 0.1165, 0.0071], abs=6e-5)
        else:
            assert published[0] == pytest.approx(1)
            assert published[3] < published[2] < published[1] < 1
    assert noise_multiplier_of(scenario) is None

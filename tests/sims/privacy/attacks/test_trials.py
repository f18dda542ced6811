"""Claims about noise, tried on values that are known but for coins: nothing is proven beyond what is claimed."""

from __future__ import annotations

import math

import pytest
from scipy.stats import norm

from gossipfl.privacy import gaussian_guarantee
from gossipfl.privacy.factorised import sensitivities
from gossipfl.privacy.sampled_gaussian import Mechanism, sampled_epsilon
from sims.privacy.attacks.trials import trials_of_rows, trials_of_samples
from sims.scenario import parse_scenario

NODES, SIZE, DELTA = 8, 0.5, 1e-5
SCENARIO = """
{precision}
[population]
nodes = {nodes}
[task]
name = "sims.privacy.attacks.canaries:{task}"
partition = "contiguous"
options = {{ nodes = {nodes}, numbers = {numbers}{size} }}
[topology]
name = "ring"
[algorithm]
{algorithm}
[training]
{training}
[stop]
rounds = {rounds}
{more}
"""
LEAVING = "[[outgoing]]\nkind = 'noise'\ndeviation = {}"
CASES = {  # the algorithm, the noise on values, whether all rows are seen, rounds, and more
    "plain averaging, two links away": ("name = 'muffliato'\ndeviation = 0.8", 0.8, False, 3, ""),
    "accelerated": ("name = 'muffliato'\ndeviation = 0.8\ngap = 0.3", 0.8, False, 3, ""),
    "shared by neighbours": (
        "name = 'decor'\nclip = 1e6\ndeviation = 0.7\nedge_deviation = 2.0",
        0.7,
        True,
        2,
        "",
    ),
    "mixed twice": ("name = 'muffliato_sgd'\nclip = 1e6\ndeviation = 0.5\nmixings = 2", 0.5, False, 2, ""),
    "on copies": ("name = 'zip_dl'\ndeviation = 2.0", 0.0, False, 3, ""),
    "on what leaves": ("name = 'd_psgd'", 0.0, False, 1, LEAVING.format(0.9)),
}


def scenario_of_rows(case, *, numbers=5000):
    algorithm, _, _, rounds, more = CASES[case]
    starts = "'muffliato'" in algorithm
    text = SCENARIO.format(
        precision='precision = "float64"',
        nodes=NODES,
        task="coin_starts" if starts else "coin_rows",
        numbers=numbers,
        size=f", size = {SIZE}",
        algorithm=algorithm,
        training="enabled = false" if starts else "learning_rate = 1.0\nbatch_size = 1",
        rounds=rounds,
        more=more,
    )
    return parse_scenario(text)


@pytest.mark.parametrize("case", CASES)
def test_the_best_test_of_a_neighbours_view_does_as_well_as_is_accounted_for(case):
    _, deviation, all_rows, _, _ = CASES[case]
    found = trials_of_rows(
        scenario_of_rows(case),
        size=SIZE,
        deviation=deviation,
        observers=[] if all_rows else [0],
        target=2 if "averaging" in case or "accelerated" in case else 1,
        sees_all=all_rows,
    )
    assert 0.1 < found.shift < 4
    measured, allowed = found.advantage(confidence=0.9999), 2 * norm.cdf(found.shift / 2) - 1
    assert measured.low <= allowed
    if case != "mixed twice":  # there the worst change has other signs in other steps
        assert allowed <= measured.high
    claimed = gaussian_guarantee(found.shift, delta=DELTA).epsilon
    assert 0 < found.proven(delta=DELTA, confidence=0.999) <= claimed


def test_less_noise_than_is_declared_is_found_out(monkeypatch):
    """Nodes that add a tenth of the noise that is accounted for."""
    monkeypatch.setitem(CASES, "liars", ("name = 'zip_dl'\ndeviation = 0.4", *CASES["on copies"][1:]))
    found = trials_of_rows(scenario_of_rows("liars"), size=SIZE, deviation=0.0, observers=[0], target=1)
    claimed = gaussian_guarantee(found.shift / 10, delta=DELTA).epsilon
    assert found.proven(delta=DELTA) > claimed


@pytest.mark.parametrize("sampling", ["poisson", "cyclic", "bands"])
def test_samples_of_private_training_are_told_apart_as_well_as_is_accounted_for(sampling):
    bands = 4 if sampling == "bands" else 1
    written = "cyclic', bands = 4" if bands > 1 else f"{sampling}'"
    batch, numbers, rounds, noise = 30, 300, 12, 0.8
    text = SCENARIO.format(
        precision="",
        nodes=NODES,
        task="coin_samples",
        numbers=numbers,
        size="",
        algorithm="name = 'd_psgd'",
        training=f"learning_rate = 1.0\nbatch_size = {batch}\n"
        f"privacy = {{ clip = 1.0, noise_multiplier = {noise}, sampling = '{written} }}",
        rounds=rounds,
        more="",
    )
    found = trials_of_samples(parse_scenario(text))
    rate = batch / int(found.coins.reshape(NODES, -1).sum(axis=1).min())
    if sampling == "poisson":
        claimed = sampled_epsilon({Mechanism(rate, noise): rounds}, delta=DELTA)
    else:
        moved = sensitivities(bands, apart=math.ceil(1 / rate), steps=rounds)
        shift = math.sqrt(float((moved**2).sum())) / noise
        claimed = gaussian_guarantee(shift, delta=DELTA).epsilon
        measured = found.advantage(confidence=0.9999)
        assert measured.low <= 2 * norm.cdf(shift / 2) - 1 <= measured.high + 0.1  # the worst sample, and all
    assert 0 < found.proven(delta=DELTA, confidence=0.9999) <= claimed

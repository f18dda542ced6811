"""Averaging in two worlds under attack: what is guaranteed below μ₂/4, and what nobody survives from μ₂/2 on.

Gaucher, Dieuleveut & Hendrikx, "Unified breakdown analysis for Byzantine robust gossip", ICML 2025: CS₊ and GTS
contract with fewer than μ₂/4 hostile neighbours of each node, whatever these send; with μ₂/2 no rule does.
"""

import pytest

import sims
from sims.world.trace_cache import Traces
from topology import graphs, spectrum

TRACES = Traces()
ATTACKS = {
    "spectral, far": 'name = "spectral", factor = 3.0',
    "spectral, just not farthest": 'name = "spectral", factor = 1.9',
    "dissensus": 'name = "dissensus", factor = 2.0',
    "ALIE": 'name = "alie"',
    "IPM": 'name = "ipm", factor = 0.5',
}
SEARCHED = {
    "spectral": 'name = "spectral", search = true, at_most = 4.0',
    "dissensus": 'name = "dissensus", search = true',
    "ALIE": 'name = "alie", search = true',
    "IPM": 'name = "ipm", search = true',
}
PROVED = ("cs_plus", "gts")
OTHERS = ("clipped_gossip", "nearest_neighbours", "trimmed_mean")


def left_of_disagreement(rule, attack, b, *, half=13, links=8, seed=0):
    """The consensus distance of the honest after 60 rounds, over that at first."""
    n = 2 * half + b
    weights = ', weights = "max_degree"' if rule in (*PROVED, "clipped_gossip") else ""
    result = sims.run(
        "two-worlds",
        overrides=[
            f"seed={seed}",
            f"population.nodes={n}",
            f"task.options.nodes={n}",
            f"topology.links={links}",
            f"topology.beside={b}",
            f'algorithm={{name = "{rule}", hostile = {b}{weights}}}',
            f'attack={{{(ATTACKS | SEARCHED)[attack]}, count = {b}, place = "last"}}',
        ],
        compile_when="never",
        traces=TRACES,
    )
    distances = result.evaluations["consensus_distance"]
    return distances[-1] / distances[0]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("rule", PROVED)
def test_fewer_than_a_quarter_of_the_second_eigenvalue_are_withstood(rule, attack):
    assert spectrum.algebraic_connectivity(graphs.two_worlds(26, links=8)) / 4 > 3
    assert left_of_disagreement(rule, attack, 3) < 1e-6


@pytest.mark.parametrize("rule", [*PROVED, *OTHERS])
def test_nobody_withstands_half_of_the_second_eigenvalue(rule):
    assert spectrum.hostile_neighbours_survivable(graphs.two_worlds(26, links=8)) < 8
    assert max(left_of_disagreement(rule, attack, 8) for attack in ATTACKS if "spectral" in attack) > 0.02


@pytest.mark.parametrize(("half", "links"), [(10, 5), (9, 9)])
def test_other_worlds_have_the_same_limits(half, links):
    connectivity = spectrum.algebraic_connectivity(graphs.two_worlds(2 * half, links=links))
    assert connectivity == pytest.approx(2 * links)
    within, beyond = -(-links // 2) - 1, links  # the largest b below μ₂/4, and μ₂/2
    for rule in PROVED:
        assert left_of_disagreement(rule, "spectral, far", within, half=half, links=links) < 1e-4
        spectral = (each for each in ATTACKS if "spectral" in each)
        assert (
            max(left_of_disagreement(rule, each, beyond, half=half, links=links) for each in spectral) > 0.02
        )


@pytest.mark.slow
@pytest.mark.parametrize("rule", PROVED)
def test_the_whole_table(rule):
    """b = 1 … 11, factors found by search: no attack wins below μ₂/4, the spectral one does from μ₂/2 on."""
    spectral = ("spectral", "spectral, far", "spectral, just not farthest")
    for b in range(1, 12):
        left = {attack: left_of_disagreement(rule, attack, b) for attack in ATTACKS | SEARCHED}
        if b < 4:
            assert max(left.values()) < 1e-6, left
        if b >= 8:
            assert max(left[attack] for attack in spectral) > 0.02, left
        if 4 <= b <= 8:  # where some attacks win and others do not
            assert max(left[attack] for attack in spectral) > max(left["ALIE"], left["IPM"]), left

"""Epidemic learning: the published contraction, and D-PSGD over its matrices."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import DPSGD
from gossipfl.algorithms.rounds.epidemic_learning import EpidemicLearning
from tests.gossipfl.algorithms.rounds_by_hand import Network, Still, after, few, quadratics, start_at
from topology.errors import ImpossibleDegree


def network_of(algorithm: EpidemicLearning, nodes: int, seed: int) -> Network:
    sequence = algorithm.sequence(nodes, seed=seed)
    return Network(lambda t: torch.from_numpy(sequence.matrix(t).toarray()))


@pytest.mark.parametrize(
    ("degree", "variant", "contraction"),
    [(3, "oracle", 0.2421), (3, "local", 0.3075), (7, "oracle", 0.1158), (7, "local", 0.1322)],
)
def test_a_round_contracts_as_published(degree, variant, contraction):
    """E Σ‖x_i − x̄‖² after a round over before, 96 nodes (de Vos et al. 2023, Lemma 1), over 150 seeds."""
    nodes, columns = 96, 40
    algorithm = EpidemicLearning(degree=degree, variant=variant)
    local = quadratics(nodes, size=columns, kind=Still)
    ratios = []
    for seed in range(150):
        rows = torch.randn(nodes, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        rows -= rows.mean(0)
        mixed = after(algorithm, start_at(rows), network_of(algorithm, nodes, seed), local, count=1).rows
        ratios.append(float((mixed**2).sum() / (rows**2).sum()))
    measured = torch.tensor(ratios)
    assert float(measured.mean()) == pytest.approx(
        contraction, abs=4 * float(measured.std()) / 150**0.5 + 5e-5
    )
    assert algorithm.sequence(nodes, seed=0).expected_contraction == pytest.approx(contraction, abs=5e-5)


@few
@given(
    nodes=st.integers(4, 20),
    degree=st.integers(1, 3),
    variant=st.sampled_from(["oracle", "local"]),
    seed=st.integers(0, 999),
)
def test_it_is_d_psgd_over_its_own_matrices(nodes, degree, variant, seed):
    nodes += (nodes * degree) % 2
    algorithm = EpidemicLearning(degree=degree, variant=variant)
    local = quadratics(nodes, seed=seed, largest=5, batch_size=2, momentum=0.5, local_steps=2)
    network, first = network_of(algorithm, nodes, seed), start_at(torch.zeros(nodes, 3).double())
    rows = after(algorithm, first, network, local, count=5).rows
    assert torch.equal(rows, after(DPSGD(), first, network, local, count=5).rows)


@few
@given(nodes=st.integers(2, 12), seed=st.integers(0, 99))
def test_who_sends_to_everyone_averages_exactly(nodes, seed):
    algorithm = EpidemicLearning(degree=nodes - 1, variant="local")
    local = quadratics(nodes, seed=seed, kind=Still)
    rows = torch.randn(nodes, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    mixed = after(algorithm, start_at(rows), network_of(algorithm, nodes, seed), local, count=1).rows
    assert torch.allclose(mixed, rows.mean(0).expand_as(rows), rtol=0, atol=1e-12)


def test_the_oracle_is_doubly_stochastic_and_the_local_choice_is_not():
    assert EpidemicLearning(degree=3).requirements.stochastic == "doubly"
    assert EpidemicLearning(degree=3, variant="local").requirements.stochastic == "rows"
    for variant in ("oracle", "local"):
        algorithm = EpidemicLearning(degree=3, variant=variant)
        assert algorithm.sequence(20, seed=1).stochastic == algorithm.requirements.stochastic


def test_local_choice_keeps_the_mean_in_expectation_and_not_in_every_round():
    sequence = EpidemicLearning(degree=2, variant="local").sequence(12, seed=4)
    columns = torch.stack([torch.from_numpy(sequence.matrix(t).sum(axis=0)) for t in range(2000)])
    assert float((columns - 1).abs().mean()) > 0.1
    error = columns.std(0) / 2000**0.5
    assert ((columns.mean(0) - 1).abs() < 5 * error).all()


def test_a_peer_without_the_libraries_of_topologies_can_import_all_algorithms():
    """They are extras, which a peer that gossips does without."""
    code = (
        "import sys; from gossipfl.algorithms import algorithm_names; assert algorithm_names(); "
        "print({'topology.graphs', 'scipy', 'networkx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_degree_no_graph_has_is_refused():
    with pytest.raises(ImpossibleDegree):
        EpidemicLearning(degree=20).sequence(20, seed=0)
    with pytest.raises(ImpossibleDegree, match="local"):
        EpidemicLearning(degree=3).sequence(21, seed=0)

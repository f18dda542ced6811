"""Properties of every mixing sequence."""

import pickle

import numpy as np
import pytest

from tests.topology.sequences.families import every_family
from topology import mixing, sequences
from topology.errors import InvalidParameter, UnknownNode

ROUNDS = 5
FAMILIES = list(every_family())


@pytest.mark.parametrize("sequence", FAMILIES, ids=lambda s: s.name)
def test_matrices_are_what_the_sequence_says(sequence):
    assert isinstance(sequence, sequences.MixingSequence)
    most = 0
    for t in range(ROUNDS):
        W = mixing.check_mixing_matrix(
            sequence.matrix(t),
            stochastic=sequence.stochastic,
            symmetric=sequence.symmetric,
            nonnegative="matcha" not in sequence.name,
        )
        assert W.shape == (sequence.n, sequence.n)
        off_diagonal = (W.toarray() != 0) & ~np.eye(sequence.n, dtype=bool)
        most = max(most, int(off_diagonal.sum(axis=0).max()))
        if sequence.period is not None:
            assert (abs(sequence.matrix(t + sequence.period) - W)).nnz == 0
    assert most <= sequence.degree


@pytest.mark.parametrize("sequence", FAMILIES, ids=lambda s: s.name)
def test_a_node_alone_finds_its_part_of_the_matrix(sequence):
    for t in (0, 1, ROUNDS, 1_000_003):
        W = sequence.matrix(t).toarray()
        for i in range(sequence.n):
            nodes, weights = sequence.row(t, i)
            row = np.zeros(sequence.n)
            row[nodes] = weights
            assert row == pytest.approx(W[i], abs=1e-14)
            assert (np.diff(nodes) > 0).all()
            others = np.arange(sequence.n) != i
            assert sequence.neighbours(t, i).tolist() == np.flatnonzero((W[i] != 0) & others).tolist()
            assert sequence.recipients(t, i).tolist() == np.flatnonzero((W[:, i] != 0) & others).tolist()


@pytest.mark.parametrize("sequence", FAMILIES, ids=lambda s: s.name)
def test_survives_pickling_and_asks_in_any_order(sequence):
    copy = pickle.loads(pickle.dumps(sequence))
    for t in (3, 0, 3, 1):
        assert (abs(copy.matrix(t) - sequence.matrix(t))).nnz == 0


@pytest.mark.parametrize("sequence", FAMILIES[::7], ids=lambda s: s.name)
def test_bad_rounds_and_nodes_are_named(sequence):
    for ask in (sequence.row, sequence.neighbours, sequence.recipients):
        with pytest.raises(UnknownNode, match="no node"):
            ask(0, sequence.n)
        with pytest.raises(InvalidParameter, match="round"):
            ask(-1, 0)
    with pytest.raises(InvalidParameter, match="round"):
        sequence.matrix(-1)


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: sequences.random_matching(50, seed),
        lambda seed: sequences.epidemic(50, 4, seed),
        lambda seed: sequences.epidemic(50, 4, seed, "local"),
        lambda seed: sequences.equi_dynamic(50, seed),
        lambda seed: sequences.equi_dynamic(50, seed, directed=False),
        lambda seed: sequences.shuffled(sequences.base(50, 1), seed),
    ],
)
def test_seeds_and_rounds_differ_and_repeat(make):
    first = make(1)
    assert (abs(first.matrix(4) - make(1).matrix(4))).nnz == 0
    assert (abs(first.matrix(4) - make(2).matrix(4))).nnz > 0
    assert (abs(first.matrix(4) - first.matrix(5))).nnz > 0

"""Sequences that reach exact consensus, for every number of nodes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology import mixing, sequences
from topology.errors import InvalidParameter

LENGTHS = {
    6: [4, 2, 2, 2, 1],
    15: [7, 4, 4, 2, 2],
    24: [6, 4, 3, 3, 2],
    25: [9, 6, 5, 2, 2],
    100: [11, 8, 6, 3, 3],
}


def product(sequence):
    P = np.eye(sequence.n)
    for t in range(sequence.period):
        P = sequence.matrix(t) @ P
    return P


def assert_symmetric_averaging(sequence, k):
    for t in range(sequence.period):
        W = sequence.matrix(t)
        assert W.data.min() > 0
        assert abs(W - W.T).max() <= 1e-15
        assert np.abs(W.sum(axis=1) - 1).max() <= 1e-12
        # Rows hold a diagonal entry or not; off-diagonal entries are the neighbours.
        neighbours = np.diff(W.indptr) - (W.diagonal() != 0)
        assert neighbours.max() <= k


@pytest.mark.parametrize("n", LENGTHS)
def test_lengths(n):
    assert [sequences.base(n, k).period for k in range(1, 6)] == LENGTHS[n]


@pytest.mark.parametrize("k", range(1, 7))
def test_base_is_exact_for_every_n(k):
    for n in range(2, 201):
        sequence = sequences.base(n, k)
        assert sequence.period <= 2 * math.log(n, k + 1) + 2 + 1e-9
        assert sequence.degree <= k
        assert_symmetric_averaging(sequence, k)
        assert np.abs(product(sequence) - 1 / n).max() <= 1e-12


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_simple_base_is_exact(k):
    for n in (*range(1, 50), 97, 128, 200):
        sequence = sequences.simple_base(n, k)
        assert_symmetric_averaging(sequence, k)
        assert np.abs(product(sequence) - 1 / n).max() <= 1e-12


@pytest.mark.parametrize("n", [1000, 4097, 10_007, 65_536, 99_991])
@pytest.mark.parametrize("k", [1, 4])
def test_base_on_many_nodes(n, k):
    sequence = sequences.base(n, k)
    assert sequence.period <= 2 * math.log(n, k + 1) + 2
    X = np.random.default_rng(0).standard_normal((n, 3))
    mean = X.mean(axis=0)
    for t in range(sequence.period):
        W = mixing.check_mixing_matrix(sequence.matrix(t), symmetric=True)
        assert (np.diff(W.indptr) - (W.diagonal() != 0)).max() <= k
        X = W @ X
    assert np.abs(X - mean).max() <= 1e-12


def test_degrees_as_counted_are_attained():
    for n, k in ((25, 2), (100, 3), (37, 5), (24, 1)):
        sequence = sequences.base(n, k)
        most = max(
            int((np.diff(sequence.matrix(t).indptr) - (sequence.matrix(t).diagonal() != 0)).max())
            for t in range(sequence.period)
        )
        assert sequence.degree == most


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_moshpit_is_exact_on_every_full_grid(shape):
    sequence = sequences.moshpit(shape)
    assert sequence.period == len(shape)
    assert sequence.degree == max(shape) - 1
    assert np.abs(product(sequence) - 1 / sequence.n).max() <= 1e-12


def test_hyper_hypercube_takes_as_few_rounds_as_factors():
    for n, k, rounds in ((24, 3, 3), (24, 5, 2), (36, 5, 2), (60, 4, 3), (64, 1, 6), (64, 7, 2), (1, 3, 1)):
        sequence = sequences.hyper_hypercube(n, k)
        assert sequence.period == rounds
        assert np.abs(product(sequence) - 1 / n).max() <= 1e-12


def test_hyper_hypercube_says_where_it_is_undefined():
    with pytest.raises(InvalidParameter, match=r"Use base\(14, 3\)"):
        sequences.hyper_hypercube(14, 3)


@pytest.mark.parametrize("n", range(1, 40))
def test_one_peer_exponential_is_exact_only_on_powers_of_two(n):
    sequence = sequences.one_peer_exponential(n)
    assert sequence.period == max(1, math.ceil(math.log2(n)))
    exact = np.abs(product(sequence) - 1 / n).max() <= 1e-12
    assert exact == (n & (n - 1) == 0)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_k_peer_exponential_is_exact_on_powers(k):
    for power in range(1, 4):
        sequence = sequences.k_peer_exponential((k + 1) ** power, k)
        assert sequence.period == power
        assert np.abs(product(sequence) - 1 / sequence.n).max() <= 1e-12


def test_one_peer_is_k_peer_with_one():
    for n in (5, 8, 21):
        one, k = sequences.one_peer_exponential(n), sequences.k_peer_exponential(n, 1)
        for t in range(one.period):
            assert abs(one.matrix(t) - k.matrix(t)).nnz == 0
        assert one.recipients(1, 0).tolist() == [2 % n]


def test_parameters_are_checked():
    for make in (
        sequences.base,
        sequences.simple_base,
        sequences.hyper_hypercube,
        sequences.k_peer_exponential,
    ):
        with pytest.raises(InvalidParameter, match="k is out of range"):
            make(5, 0)
        with pytest.raises(InvalidParameter, match="n is out of range"):
            make(0, 1)

"""Weights of rows that are missing, and sums equal to those of a sparse matrix."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.rounds.weights import average, listening_weights, push_weights, weights_without
from topology import graphs, mixing, sequences

SIZES = st.integers(3, 9)


@st.composite
def sequences_and_losses(draw):
    """A mixing sequence, a round, and which rows do not arrive: a set of (receiver, sender)."""
    n = draw(SIZES)
    sequence = draw(
        st.sampled_from(
            [
                sequences.static(mixing.metropolis_hastings(graphs.ring(n))),
                sequences.static(mixing.metropolis_hastings(graphs.star(n))),
                sequences.one_peer_exponential(n),
                sequences.pushed(sequences.epidemic(n, 2, seed=1, mode="local")),
            ]
        )
    )
    number = draw(st.integers(0, 5))
    links = [(i, int(j)) for i in range(n) for j in sequence.neighbours(number, i)]
    return sequence, number, draw(st.sets(st.sampled_from(links))) if links else set()


def row_of(sequence, number, i):
    nodes, weights = sequence.row(number, i)
    return {int(node): float(weight) for node, weight in zip(nodes, weights, strict=True)}


@given(sequences_and_losses())
def test_rows_still_sum_to_what_they_did(case):
    sequence, number, lost = case
    for i in range(sequence.n):
        row = row_of(sequence, number, i)
        missing = [sender for receiver, sender in lost if receiver == i]
        left = weights_without(row, own=i, missing=missing)
        assert sum(left.values()) == pytest.approx(sum(row.values()), abs=1e-12)
        assert not set(missing) & set(left)
        assert all(left[j] == row[j] for j in left if j != i)


@given(sequences_and_losses())
def test_pushed_mass_is_kept_whatever_is_lost(case):
    """Where every sender knows what was not taken, column sums stay one."""
    sequence, number, lost = case
    if sequence.stochastic == "rows":
        return
    columns = np.zeros(sequence.n)
    for i in range(sequence.n):
        returned = {
            receiver: row_of(sequence, number, receiver)[i] for receiver, sender in lost if sender == i
        }
        missing = [sender for receiver, sender in lost if receiver == i]
        row = push_weights(row_of(sequence, number, i), own=i, missing=missing, returned=returned)
        for j, weight in row.items():
            columns[j] += weight
    assert columns == pytest.approx(np.ones(sequence.n), abs=1e-12)


@given(sequences_and_losses())
def test_a_listener_gives_its_own_weight_away(case):
    sequence, number, lost = case
    for i in range(sequence.n):
        row = row_of(sequence, number, i)
        missing = [sender for receiver, sender in lost if receiver == i]
        heard = listening_weights(row, own=i, missing=missing)
        assert sum(heard.values()) == pytest.approx(1, abs=1e-12)
        came = {j for j in row if j != i and j not in missing and row[j] > 0}
        assert set(heard) == (came or {i})


@pytest.mark.parametrize("size", [1, 7, 4810])
def test_sums_are_those_of_a_sparse_matrix_to_the_last_bit(size):
    sequence = sequences.static(mixing.metropolis_hastings(graphs.random_regular(12, 5, seed=3)))
    rows = torch.randn(12, size, generator=torch.Generator().manual_seed(1))
    W = sequence.matrix(0).astype(np.float32)
    together = torch.from_numpy(W @ rows.numpy())
    alone = [average(row_of(sequence, 0, i), dict(enumerate(rows))) for i in range(12)]
    assert torch.equal(torch.stack(alone), together)

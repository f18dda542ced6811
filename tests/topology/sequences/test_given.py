"""Mixing matrices of one's own, used in turn: from files, from functions, and directly."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from topology import catalogue, sequences, spectrum
from topology.errors import InvalidParameter, NotMixingMatrix
from topology.matrices import read_matrices

BASE = sequences.base(12, 1)
DENSE = [BASE.matrix(t).toarray() for t in range(BASE.period)]


def as_base():
    return [csr_array(W) for W in DENSE]


def test_matrices_in_turn_are_the_sequence_they_came_from():
    given = sequences.in_turn(DENSE, name="given")
    assert (given.n, given.period, given.degree) == (12, BASE.period, BASE.degree)
    assert given.stochastic == BASE.stochastic
    assert given.symmetric == BASE.symmetric
    for t in range(2 * BASE.period):
        assert np.array_equal(given.matrix(t).toarray(), BASE.matrix(t).toarray())
        assert given.recipients(t, 3).tolist() == BASE.recipients(t, 3).tolist()
    assert spectrum.consensus_curve(given, 8) == pytest.approx(spectrum.consensus_curve(BASE, 8))


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_file_holds_a_matrix_a_round(suffix, tmp_path):
    file = tmp_path / f"turns.{suffix}"
    (np.save if suffix == "npy" else np.savez)(file, np.stack(DENSE))
    named = catalogue.build(f"matrix:{file}")
    assert named.sequence.period == BASE.period
    assert np.array_equal(named.sequence.matrix(1).toarray(), DENSE[1])
    assert len(read_matrices(file)) == BASE.period
    np.save(tmp_path / "one.npy", DENSE[0])
    assert catalogue.build(f"matrix:{tmp_path / 'one.npy'}").sequence.period == 1


def test_a_function_may_return_a_list_of_matrices():
    named = catalogue.build("tests.topology.sequences.test_given:as_base")
    assert named.sequence.period == BASE.period


@pytest.mark.parametrize(
    ("matrices", "error", "said"),
    [
        ([], InvalidParameter, "got none"),
        ([np.eye(3), np.eye(4)], InvalidParameter, "3 and 4 nodes"),
        ([np.eye(3), np.ones((3, 3))], NotMixingMatrix, "sum"),
    ],
)
def test_what_is_no_sequence_is_named(matrices, error, said):
    with pytest.raises(error, match=said):
        sequences.in_turn(matrices)


def test_a_file_of_four_dimensions_is_refused(tmp_path):
    np.save(tmp_path / "deep.npy", np.zeros((2, 2, 2, 2)))
    with pytest.raises(InvalidParameter, match="two or three dimensions"):
        read_matrices(tmp_path / "deep.npy")

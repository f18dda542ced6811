"""Sequences of mixing matrices of one's own, used in turn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy.typing as npt
from scipy.sparse import csr_array

from topology.errors import InvalidParameter
from topology.sequences.exponential import static
from topology.sequences.sequence import RuleSequence

__all__ = ["in_turn"]


def in_turn(matrices: Sequence[csr_array | npt.ArrayLike], name: str = "in turn") -> RuleSequence:
    """Return the sequence that uses mixing matrices in turn, and then begins again.

    Parameters
    ----------
    matrices : sequence of sparse or dense arrays, each of shape [n, n]
        One a round; rows sum to 1.
    name : str
        Its name.

    Raises
    ------
    InvalidParameter
        If there are none, or they are of several sizes.
    NotMixingMatrix
        If a row of one does not sum to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from topology import sequences
    >>> pairs = [np.kron(np.eye(2), np.full((2, 2), 0.5)), np.eye(4)[[0, 2, 1, 3]] * 0.5 + np.eye(4) * 0.5]
    >>> sequences.in_turn(pairs, name="pairs")
    <MixingSequence pairs: 4 nodes, degree 1, period 2>
    """
    parts = [static(matrix, name=name) for matrix in matrices]
    sizes = sorted({part.n for part in parts})
    if len(sizes) != 1:
        raise InvalidParameter(
            "a sequence has a mixing matrix for each round, all of the same nodes",
            expected="one matrix [n, n] or more",
            got=f"matrices of {' and '.join(map(str, sizes))} nodes" if sizes else "none",
        )
    return RuleSequence(
        name=name,
        n=sizes[0],
        period=len(parts),
        degree=max(part.degree for part in parts),
        make=partial(_of_round, [part.matrix(0) for part in parts]),
        stochastic="doubly" if all(part.stochastic == "doubly" for part in parts) else "rows",
        symmetric=all(part.symmetric for part in parts),
    )


def _of_round(matrices: Sequence[csr_array], t: int) -> csr_array:
    return matrices[t]

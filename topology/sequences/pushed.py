"""Column-stochastic weights on the links of a sequence, for push-sum."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.sparse import csr_array

from topology.sequences.sequence import MixingSequence, Row, RuleSequence

__all__ = ["pushed"]


def pushed(sequence: MixingSequence) -> RuleSequence:
    """Return the sequence in which every node splits its value equally between itself and its recipients.

    Parameters
    ----------
    sequence : MixingSequence
        Defines who sends to whom in each round; its weights are not used.

    Returns
    -------
    RuleSequence
        Column-stochastic: ``W[i, j] = 1 / (1 + number of nodes j sends to)``. Rows sum to one only where everyone
        sends to as many as it hears from.

    References
    ----------
    Kempe, Dobra and Gehrke, "Gossip-based computation of aggregate information", FOCS 2003.

    Examples
    --------
    >>> from topology import sequences
    >>> pushed(sequences.epidemic(6, 2, 1, mode="local")).matrix(0).sum(axis=0).round(12).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    return RuleSequence(
        name=f"pushed {sequence.name}",
        n=sequence.n,
        period=sequence.period,
        degree=sequence.degree,
        stochastic="columns",
        make=partial(_matrix, sequence),
        row_rule=partial(_row, sequence),
        recipients_rule=sequence.recipients,
    )


def _matrix(sequence: MixingSequence, t: int) -> csr_array:
    W = sequence.matrix(t)
    n = W.shape[0]
    rows = np.repeat(np.arange(n), np.diff(W.indptr))
    apart = (rows != W.indices) & (W.data != 0)
    rows, senders = rows[apart], W.indices[apart].astype(np.int64)
    shares = 1.0 / (1 + np.bincount(senders, minlength=n))
    everyone = np.arange(n)
    matrix = csr_array(
        (
            np.concatenate([shares[senders], shares]),
            (np.concatenate([rows, everyone]), np.concatenate([senders, everyone])),
        ),
        shape=(n, n),
    )
    matrix.sort_indices()
    return matrix


def _row(sequence: MixingSequence, t: int, i: int) -> Row:
    nodes = np.sort(np.append(sequence.neighbours(t, i), i))
    return nodes, np.array([1.0 / (1 + len(sequence.recipients(t, int(j)))) for j in nodes])

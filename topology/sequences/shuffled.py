"""Sequences and graphs with their nodes relabelled at random."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.sparse import csr_array

from topology.graphs.assemble import subgraph
from topology.graphs.topology import IntArray, Topology
from topology.sequences.keyed import KeyedPermutation, derive_key
from topology.sequences.sequence import MixingSequence, Row, RuleSequence

__all__ = ["shuffled", "shuffled_graph"]


def shuffled(sequence: MixingSequence, seed: int) -> RuleSequence:
    """Return the sequence with its nodes relabelled by one random permutation, the same in all rounds.

    Who meets whom early in a structured sequence depends on the numbers of nodes, and numbers often follow
    the data; relabelling breaks that link and changes nothing else.

    Parameters
    ----------
    sequence : MixingSequence
        Any sequence.
    seed : int
        Picks the permutation. A node finds its old number alone, in constant time.

    Returns
    -------
    RuleSequence
        Of the same degree, period and spectrum: P W Pᵀ.
    """
    places = KeyedPermutation(sequence.n, derive_key(int(seed), 6))
    return RuleSequence(
        name=f"shuffled({sequence.name})",
        n=sequence.n,
        period=sequence.period,
        degree=sequence.degree,
        stochastic=sequence.stochastic,
        symmetric=sequence.symmetric,
        expected_contraction=sequence.expected_contraction,
        make=partial(_matrix, sequence, places),
        row_rule=partial(_row, sequence, places),
        recipients_rule=partial(_recipients, sequence, places),
    )


def shuffled_graph(graph: Topology, seed: int) -> Topology:
    """Return the graph with its nodes relabelled as `shuffled` relabels those of a sequence.

    Positions, labels and groups go with their nodes, weights with their edges.
    """
    places = KeyedPermutation(graph.n, derive_key(int(seed), 6))
    return subgraph(graph, places.forward(), name=f"shuffled({graph.name})")


def _matrix(sequence: MixingSequence, places: KeyedPermutation, t: int) -> csr_array:
    old = places.forward()
    W = csr_array(sequence.matrix(t)[old][:, old])
    W.sort_indices()
    return W


def _row(sequence: MixingSequence, places: KeyedPermutation, t: int, i: int) -> Row:
    old, weights = sequence.row(t, places(i))
    nodes = np.array([places.inverse(int(j)) for j in old], dtype=np.int64)
    order = np.argsort(nodes)
    return nodes[order], weights[order]


def _recipients(sequence: MixingSequence, places: KeyedPermutation, t: int, i: int) -> IntArray:
    found = [places.inverse(int(j)) for j in sequence.recipients(t, places(i))]
    return np.array(sorted(found), dtype=np.int64)

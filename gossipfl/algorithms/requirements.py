"""Requirements of round-based algorithms compared with what they get, and alternatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from gossipfl.algorithms.base import Requirements
from gossipfl.outgoing import IN_FULL, Pipeline
from gossipfl.settings import TrainingSettings
from topology.sequences import MixingSequence

__all__ = ["Unmet", "unmet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmet:
    """A requirement that is not met: the three parts of a named error, without the error.

    Parameters
    ----------
    what : str
        The mismatch, naming the algorithm and the topology.
    expected : str
    remedy : str
    """

    what: str
    expected: str
    remedy: str


def unmet(
    name: str,
    requirements: Requirements,
    sequence: MixingSequence,
    *,
    cliques: bool,
    training: TrainingSettings,
    outgoing: Pipeline = IN_FULL,
) -> Unmet | None:
    """Find requirements of an algorithm that are not met.

    Parameters
    ----------
    name : str
        Of the algorithm, as settings have it.
    requirements : Requirements
    sequence : MixingSequence
        The matrices it would mix with; ignored if a server averages.
    cliques : bool
        Whether every node is in a clique.
    training : TrainingSettings
    outgoing : Pipeline
        Pipeline of outgoing rows.

    Returns
    -------
    Unmet or None
    """
    if requirements.own_steps and not training.is_single_plain_step:
        return Unmet(
            what=f"{name} takes one gradient a round and the step itself, so training.optimiser, "
            "training.momentum and training.local_steps would be without effect",
            expected='training.optimiser = "sgd", training.momentum = 0 and training.local_steps = 1',
            remedy="Leave them out, or choose an algorithm that trains locally, such as d_psgd.",
        )
    unsent = _of_outgoing(name, requirements, outgoing)
    if unsent is not None:
        return unsent
    if requirements.epochs and training.local_steps != 1:
        return Unmet(
            what=f"{name} trains whole epochs, so training.local_steps would be without effect",
            expected="training.local_steps = 1",
            remedy="Leave it out, or set algorithm.epochs = 0 to do local_steps steps a round.",
        )
    if requirements.server:
        return None
    if requirements.cliques and not cliques:
        return Unmet(
            what=f"{name} averages within cliques, and {sequence.name} has none",
            expected="a topology whose nodes are grouped",
            remedy="Choose the topology d_cliques.",
        )
    return _of_matrices(name, requirements, sequence)


def _of_outgoing(name: str, requirements: Requirements, outgoing: Pipeline) -> Unmet | None:
    if requirements.exact and not outgoing.is_lossless:
        return Unmet(
            what=f"{name} sends weights, counts or residues, which {', '.join(outgoing.names)} would change",
            expected="rows sent in full",
            remedy="Leave out codec and outgoing, or choose an algorithm that sends models only, such as d_psgd.",
        )
    rests = ("static", "tree", "links", "server")
    if outgoing.mask is not None and any(getattr(requirements, each) for each in rests):
        return Unmet(
            what=f"{name} needs all numbers of a row in every round, and outgoing has a mask",
            expected="rows sent whole",
            remedy="Leave the mask out, or choose an algorithm for changing matrices, such as d_psgd.",
        )
    return None


def _of_matrices(name: str, requirements: Requirements, sequence: MixingSequence) -> Unmet | None:
    sums = _of_sums(name, requirements, sequence)
    if sums is not None:
        return sums
    if requirements.static and sequence.period != 1:
        return Unmet(
            what=f"{name} needs the same matrix in every round, and {sequence.name} changes",
            expected="a graph, not a sequence of graphs",
            remedy="Choose a graph such as ring or random_regular; gradient_tracking takes changing graphs.",
        )
    if requirements.symmetric and not sequence.symmetric:
        return Unmet(
            what=f"{name} needs symmetric mixing, and the matrices of {sequence.name} are not",
            expected="weights w_ij = w_ji",
            remedy="Choose an undirected graph with Metropolis–Hastings weights.",
        )
    if requirements.tree and not _is_tree(sequence.matrix(0)):
        return Unmet(
            what=f"{name} relays along a tree, and {sequence.name} is none",
            expected="a connected graph of n − 1 undirected links",
            remedy="Choose the topology tree, path or star.",
        )
    if requirements.links and not sequence.symmetric and not _goes_both_ways(sequence):
        return Unmet(
            what=f"{name} sends to and hears from each neighbour, and {sequence.name} is directed",
            expected="links that go both ways",
            remedy="Choose an undirected graph.",
        )
    return None


def _of_sums(name: str, requirements: Requirements, sequence: MixingSequence) -> Unmet | None:
    if sequence.stochastic in ("doubly", requirements.stochastic):
        return None
    if requirements.stochastic == "doubly":
        return Unmet(
            what=f"{name} needs doubly stochastic mixing, and the matrices of {sequence.name} are not",
            expected="rows and columns that sum to 1",
            remedy="Choose an undirected topology with Metropolis–Hastings weights, or a balanced sequence; "
            "sgp takes directed links, epidemic_learning random ones.",
        )
    return Unmet(
        what=f"{name} needs matrices whose {requirements.stochastic} sum to 1, and only the "
        f"{sequence.stochastic} of {sequence.name} do",
        expected=f"{requirements.stochastic} that sum to 1",
        remedy="Choose a topology with doubly stochastic weights, which suit every algorithm.",
    )


def _is_tree(W: csr_array) -> bool:
    links = _links(W)
    both_ways = (links != links.T).nnz == 0
    connected = connected_components(links, return_labels=False) == 1
    return bool(both_ways and connected and links.nnz == 2 * (W.shape[0] - 1))


def _goes_both_ways(sequence: MixingSequence) -> bool:
    if sequence.period is None:
        return False
    patterns = [_links(sequence.matrix(t)) for t in range(sequence.period)]
    return all((links != links.T).nnz == 0 for links in patterns)


def _links(W: csr_array) -> csr_array:
    """Which pairs exchange: one wherever a weight off the diagonal is not zero."""
    owners = np.repeat(np.arange(W.shape[0]), np.diff(W.indptr))
    apart = (owners != W.indices) & (W.data != 0)
    ones = np.ones(int(apart.sum()), dtype=np.int8)
    return csr_array((ones, (owners[apart], W.indices[apart])), shape=W.shape)

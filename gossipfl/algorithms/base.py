"""What a round-based algorithm is: local computation, an exchange with all neighbours, local computation.

A round is written as papers write it, in one generator. What it yields goes to the neighbours; what it is sent
back is their weighted average. Whoever runs it supplies the exchange: the simulator multiplies all rows with the
round's mixing matrix, a peer sums the rows that its neighbours sent for this round::

    def round(self, nodes, context):
        trained = context.local.update(nodes)
        mixed = yield Exchange(trained.rows[:, : context.shared_size])
        return trained.with_shared(mixed.rows, ages=trained.ages)
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from torch import Tensor

from gossipfl.codecs import Compressor
from gossipfl.settings import TrainingSettings
from gossipfl.training.nodes import Nodes

__all__ = [
    "Exchange",
    "LinkExchange",
    "Links",
    "LocalTraining",
    "Mixed",
    "Requirements",
    "Round",
    "RoundAlgorithm",
    "RoundContext",
]


class LocalTraining(Protocol):
    """What an algorithm may do with the nodes' own samples."""

    @property
    def settings(self) -> TrainingSettings:
        """Settings of the training: size of batches, number of local steps, momentum."""
        ...

    @property
    def samples(self) -> Tensor:
        """How many samples each of the B nodes has, int64 ``[B]``."""
        ...

    def update(self, nodes: Nodes, steps: Tensor | None = None) -> Nodes:
        """Do steps of stochastic gradient descent, momentum included.

        Parameters
        ----------
        nodes : Nodes
        steps : Tensor, optional
            How many steps each node does, int64 ``[B]``; 0 leaves a node as it is. ``settings.local_steps``
            each unless given.
        """
        ...

    def gradient(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        """Evaluate the gradient of the next batch at the nodes' rows, and leave their parameters alone.

        Returns
        -------
        nodes : Nodes
            One step older, with the buffers (BatchNorm statistics) that the module left.
        gradients : Tensor
            Clipped and with weight decay, as the settings of training ask, shape ``[B, trainable_size]``.
        """
        ...

    def learning_rates(self, nodes: Nodes) -> Tensor:
        """Step sizes at the nodes' ages, shape ``[B, 1]``."""
        ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """What B nodes send, each the same to all its neighbours of the round.

    Parameters
    ----------
    rows : Tensor
        Shape ``[B, K]``.
    compressor : Compressor, optional
        How rows are compressed on the wire; in full unless given.
    over : {'neighbours', 'clique', 'server'}
        Whether they are mixed with the round's mixing matrix, averaged within cliques (D-Cliques), or averaged
        over all nodes by a server, outside gossip.
    senders : Tensor, optional
        Over a server: who sends and is sent the answer, bool ``[B]``; everyone unless given. Rows of others are
        zeros, and still count in the mean.
    """

    rows: Tensor
    compressor: Compressor | None = None
    over: Literal["neighbours", "clique", "server"] = "neighbours"
    senders: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Mixed:
    """What comes back from an exchange.

    Parameters
    ----------
    rows : Tensor
        Σ_j w_ij · (what node j sent, as its neighbours decode it), j = i included, shape ``[B, K]``.
    sent : Tensor
        What each of the nodes itself sent, as its neighbours decode it, shape ``[B, K]``.
    """

    rows: Tensor
    sent: Tensor


@dataclass(frozen=True, slots=True)
class Links:
    """Ends of links: a node and one of its neighbours each, sorted by node.

    Parameters
    ----------
    owner : Tensor
        Which of the B nodes each link end belongs to, int64 ``[L]``.
    neighbours : Tensor
        Number in the network of the neighbour at each link end, int64 ``[L]``; increasing for each owner.
    weights : Tensor
        Mixing weight w_ij that the owner i gives to the neighbour j, float64 ``[L]``.
    """

    owner: Tensor
    neighbours: Tensor
    weights: Tensor


@dataclass(frozen=True, slots=True)
class LinkExchange:
    """A message over each link end, to the neighbour there: shape ``[L, K]``; the neighbours' come back."""

    messages: Tensor
    compressor: Compressor | None = None


Round: TypeAlias = Generator["Exchange | LinkExchange", "Mixed", Nodes]
"""A round under way: yields exchanges, is sent what came back, returns the nodes after the round.

Of a `LinkExchange`, ``Mixed.rows`` holds what the neighbour at each link end sent, ``[L, K]``.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """Mixing an algorithm is defined for; on anything else it is refused by name.

    Parameters
    ----------
    stochastic : {'doubly', 'rows', 'columns'}
        Which sums of the mixing matrices must be one; matrices that are doubly stochastic suit every algorithm.
    symmetric : bool
        Whether matrices must be symmetric.
    static : bool
        Whether all rounds must have the same matrix.
    tree : bool
        Whether the links must form a tree.
    links : bool
        Whether it sends another message over each link.
    cliques : bool
        Whether every node must be in a clique.
    server : bool
        Whether a server averages, so that no topology is used and peers cannot run it.
    exact : bool
        Whether weights or counts go with the rows, so that a lossy codec would do more than blur them.
    epochs : bool
        Whether it trains whole epochs, so that the number of local steps of the training has no say.
    every_message : str, optional
        What one lost message does for good, if anything; peers cannot run it then.
    own_steps : bool
        Whether it takes one gradient a round and the step itself, so that the momentum and the number of local
        steps of the training have no say.
    """

    stochastic: Literal["doubly", "rows", "columns"] = "doubly"
    symmetric: bool = False
    static: bool = False
    tree: bool = False
    links: bool = False
    cliques: bool = False
    server: bool = False
    exact: bool = False
    epochs: bool = False
    every_message: str | None = None
    own_steps: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundContext:
    """What a round knows besides the nodes.

    Parameters
    ----------
    local : LocalTraining
    shared_size : int
        Width of what is shared of a row.
    round : int
        Number of the round, from 0.
    numbers : Tensor
        Number of each node in the network, int64 ``[B]``: what is drawn at random depends on it.
    seed : int
        Of whatever is drawn at random.
    links : Links, optional
        For algorithms that require links.
    """

    local: LocalTraining
    shared_size: int
    round: int
    numbers: Tensor
    seed: int = 0
    links: Links | None = None


class RoundAlgorithm(Protocol):
    """A round-based algorithm, on B nodes at once.

    It keeps nothing itself: state is in `Nodes.auxiliary`, and ``nodes.rows`` are between rounds always the models
    to use and to evaluate.
    """

    @property
    def requirements(self) -> Requirements:
        """Mixing it is defined for."""
        ...

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Nodes before the first round, with the auxiliary rows that the algorithm keeps."""
        ...

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        ...

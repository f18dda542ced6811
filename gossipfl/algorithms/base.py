"""The contract of a round-based algorithm: local computation, an exchange with all neighbours, local computation.

A round is one generator, and reads as in the paper. What it yields goes to the neighbours; what it is sent
back is their weighted average, or whatever its own rule makes of their rows (`gossipfl.algorithms.exchanges`).
`RoundInProgress` drives the generator; its user supplies the exchange: the simulator multiplies all rows with the
round's mixing matrix, a peer sums the rows that its neighbours sent for this round::

    def round(self, nodes, context):
        trained = context.local.update(nodes)
        mixed = yield Exchange(trained.rows[:, : context.shared_size])
        return trained.with_shared(mixed.rows, ages=trained.ages)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, Self

from torch import Tensor

from gossipfl.algorithms.declaration import Algorithm
from gossipfl.algorithms.exchanges import (
    AnyExchange,
    Exchange,
    LinkExchange,
    Links,
    Mixed,
    Neighbourhood,
    NeighbourRows,
    Preview,
    Round,
)
from gossipfl.algorithms.round_noise import RoundNoise, SeededNoise
from gossipfl.settings import TrainingSettings
from gossipfl.training.nodes import Nodes

if TYPE_CHECKING:
    from topology.sequences import MixingSequence

__all__ = [
    "AnyExchange",
    "Exchange",
    "LinkExchange",
    "Links",
    "LocalTraining",
    "Mixed",
    "NeighbourRows",
    "Neighbourhood",
    "Preview",
    "Requirements",
    "Round",
    "RoundAlgorithm",
    "RoundContext",
]


class LocalTraining(Protocol):
    """Training on the nodes' own samples, as algorithms ask for it.

    Examples
    --------
    >>> [name for name in ("update", "losses_of", "learning_rates") if hasattr(LocalTraining, name)]
    ['update', 'losses_of', 'learning_rates']
    """

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

    def losses_of(self, nodes: Nodes, rows: Tensor, whose: Tensor) -> Tensor:
        """Evaluate rows on nodes' next batches.

        Parameters
        ----------
        nodes : Nodes
        rows : Tensor
            Whole rows, ``[M, D]``.
        whose : Tensor
            Which of the B nodes' next batch each is evaluated on, int64 ``[M]``.

        Returns
        -------
        Tensor
            Shape ``[M]``.
        """
        ...

    def learning_rates(self, nodes: Nodes) -> Tensor:
        """Step sizes at the nodes' ages, shape ``[B, 1]``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """The mixing an algorithm is defined for; anything else is refused by name.

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
        Whether it sends a different message over each link.
    cliques : bool
        Whether every node must be in a clique.
    server : bool
        Whether a server averages, so that no topology is used and peers cannot run it.
    exact : bool
        Whether weights, counts or residues go in the rows, so that a lossy codec would do more than blur them.
    epochs : bool
        Whether it trains whole epochs, so that the training's number of local steps has no effect.
    every_message : str, optional
        The permanent damage that one lost message does, if any; peers cannot run it then.
    own_steps : bool
        Whether it takes one gradient a round and the step itself, so that the momentum and the number of local
        steps of the training have no say.
    own_weights : bool
        Whether it has its own weights, so that rules for mixing weights have no effect.

    Examples
    --------
    >>> Requirements(symmetric=True).stochastic
    'doubly'
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
    own_weights: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundContext:
    """The surroundings of a round.

    Parameters
    ----------
    local : LocalTraining
    shared_size : int
        Width of the shared part of a row.
    round : int
        Number of the round, from 0.
    numbers : Tensor
        Number of each node in the network, int64 ``[B]``; random draws depend on it.
    seed : int
        Of whatever is drawn at random.
    links : Links, optional
        For algorithms that require links.
    given_noise : RoundNoise, optional
        Source of noise; the seed unless given.
    participants : Tensor, optional
        Which of the B nodes take part, bool ``[B]``, if `RoundAlgorithm.participants` has been asked.

    Examples
    --------
    >>> import torch
    >>> context = RoundContext(local=None, shared_size=5, round=0, numbers=torch.arange(3))
    >>> context.seed
    0
    """

    local: LocalTraining
    shared_size: int
    round: int
    numbers: Tensor
    seed: int = 0
    links: Links | None = None
    given_noise: RoundNoise | None = None
    participants: Tensor | None = None

    @property
    def noise(self) -> RoundNoise:
        """Source of the noise that an algorithm adds."""
        return self.given_noise or SeededNoise(self.seed, self.round, self.numbers)


class RoundAlgorithm(Algorithm, ABC):
    """A round-based algorithm, on B nodes at once.

    It keeps nothing itself: state is in `Nodes.auxiliary`, and ``nodes.rows`` are between rounds always the models
    to use and to evaluate, unless there are personal ones beside them (`gossipfl.training.PERSONAL`).

    Examples
    --------
    >>> from gossipfl.algorithms import Exchange
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Averaging(RoundAlgorithm):
    ...     def round(self, nodes, context):
    ...         mixed = yield Exchange(nodes.rows[:, : context.shared_size])
    ...         return nodes.with_shared(mixed.rows, ages=nodes.ages)
    >>> Averaging().requirements.stochastic
    'doubly'
    """

    __slots__ = ()
    kind = "rounds"

    @property
    def requirements(self) -> Requirements:
        """Mixing it is defined for: doubly stochastic matrices, unless overridden."""
        return Requirements()

    @property
    def measures(self) -> Mapping[str, str]:
        """Names and meanings of what it measures: auxiliary values ``[B, 1]``, of the last round."""
        return {}

    def common_training(self, settings: TrainingSettings) -> Mapping[str, object]:
        """Settings of the training on which messages depend, so that all members must have them alike."""
        del settings
        return {}

    @property
    def simulator_only(self) -> str | None:
        """Why peers cannot run it; None if they can."""
        if self.requirements.server:
            return "it needs a server that averages, and peers have none"
        harm = self.requirements.every_message
        return None if harm is None else f"messages of peers may be lost, and {harm}"

    @property
    def brings_topology(self) -> bool:
        """Whether it brings its own mixing, so that no topology is given."""
        return type(self).sequence is not RoundAlgorithm.sequence

    def sequence(self, nodes: int, *, seed: int) -> MixingSequence | None:
        """The mixing of an algorithm that brings its own; by default None: the topology decides."""
        del nodes, seed
        return None

    def for_members(self, count: int) -> Self:
        """Return the algorithm for a network of so many nodes, which few need to know."""
        del count
        return self

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Nodes before the first round, with the algorithm's auxiliary rows; by default none."""
        del shared_size, links
        return nodes

    def participants(self, numbers: Tensor, *, seed: int, number: int) -> Tensor | None:
        """Which of all nodes take part in a round; None if all do.

        Parameters
        ----------
        numbers : Tensor
            Of all nodes, int64 ``[n]``.
        seed : int
        number : int
            Of the round.

        Returns
        -------
        Tensor or None
            Bool ``[n]``.
        """
        del numbers, seed, number
        return None

    @abstractmethod
    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""

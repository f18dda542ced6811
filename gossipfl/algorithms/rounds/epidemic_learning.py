"""Epidemic learning: D-PSGD over a new random graph every round.

De Vos, Farhadkhani, Guerraoui, Kermarrec, Pires & Sharma, "Epidemic learning: Boosting decentralized learning with
randomized communication", NeurIPS 2023, Algorithms 1 to 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from gossipfl.algorithms.base import Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rounds.d_psgd import DPSGD
from gossipfl.training.nodes import Nodes

if TYPE_CHECKING:
    from topology.sequences import MixingSequence

__all__ = ["EpidemicLearning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpidemicLearning(RoundAlgorithm):
    """Every node trains, sends its model to ``degree`` random others, and averages its own with those it received.

    The round is D-PSGD's, adapt-then-combine: ``X ← W_t (X − η G(X))``. The algorithm is in the matrices: W_t is
    uniform over the node itself and its senders in round t.

    With ``oracle`` everyone also receives ``degree`` models, and W_t is doubly stochastic. With ``local`` the
    number of models a node receives varies, and W_t preserves the mean of the models only in expectation.
    """

    name = "epidemic_learning"
    paper = "de Vos et al., NeurIPS 2023"
    rule = "D-PSGD over a new random graph every round: regular (oracle), or with each node's own choices (local)"
    sends = "P, to degree others"

    degree: Annotated[
        int, Parameter("s: models that each node sends per round; about log₂ n in the paper", ge=1)
    ]
    variant: Annotated[
        Literal["oracle", "local"],
        Parameter("oracle: a regular graph; local: each node chooses its receivers independently"),
    ] = "oracle"

    @property
    def requirements(self) -> Requirements:
        """Matrices whose rows sum to one; with the oracle, doubly stochastic ones."""
        return Requirements(stochastic="doubly" if self.variant == "oracle" else "rows", own_weights=True)

    def sequence(self, nodes: int, *, seed: int) -> MixingSequence:
        """Return the mixing matrices of ``nodes`` nodes.

        Raises
        ------
        ImpossibleDegree
            If ``degree`` is not in 1 … nodes − 1, or nodes · degree is odd with the oracle.
        """
        from topology.sequences import epidemic  # a peer that does not run this need not have it

        return epidemic(nodes, self.degree, seed, mode=self.variant)

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        return DPSGD().round(nodes, context)

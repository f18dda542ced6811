"""Epidemic learning: D-PSGD over a random graph that is drawn anew every round.

De Vos, Farhadkhani, Guerraoui, Kermarrec, Pires & Sharma, "Epidemic learning: Boosting decentralized learning with
randomized communication", NeurIPS 2023, Algorithms 1 to 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gossipfl.algorithms.base import Links, Requirements, Round, RoundContext
from gossipfl.algorithms.rounds.d_psgd import DPSGD
from gossipfl.training.nodes import Nodes

if TYPE_CHECKING:
    from topology.sequences import MixingSequence

__all__ = ["EpidemicLearning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpidemicLearning:
    """Every node trains, sends its model to ``degree`` random others, and averages its own with what came.

    The round is D-PSGD's, adapt-then-combine: ``X ← W_t (X − η G(X))``. The algorithm is in the matrices: W_t is
    uniform over oneself and the senders of round t.

    Parameters
    ----------
    degree : int
        Models each node sends a round (the paper's s).
    variant : {'oracle', 'local'}
        ``oracle``: the round's graph is regular, so that everyone also receives ``degree`` models and W_t is
        doubly stochastic. ``local``: each node chooses receivers alone; how many models it receives varies, and
        W_t keeps the mean of the models in expectation only.
    """

    degree: int
    variant: Literal["oracle", "local"] = "oracle"

    @property
    def requirements(self) -> Requirements:
        """Matrices whose rows sum to one; with the oracle, doubly stochastic ones."""
        return Requirements(stochastic="doubly" if self.variant == "oracle" else "rows")

    def sequence(self, nodes: int, *, seed: int) -> MixingSequence:
        """Return the mixing matrices of ``nodes`` nodes.

        Raises
        ------
        ImpossibleDegree
            If ``degree`` is not in 1 … nodes − 1, or nodes · degree is odd with the oracle.
        """
        from topology.sequences import epidemic  # a peer that does not run this need not have it

        return epidemic(nodes, self.degree, seed, mode=self.variant)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Nothing is kept beside the models."""
        return nodes

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        return DPSGD().round(nodes, context)

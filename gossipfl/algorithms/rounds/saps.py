"""SAPS, the algorithm of GossipFL: one partner a round, and a random share of the numbers, the same at all nodes.

Tang, Shi, Li & Chu, "GossipFL: A decentralized federated learning framework with sparsified and adaptive
communication", IEEE TPDS 34(3), 2023; as SAPS-PSGD, arXiv 2002.09692, Algorithms 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gossipfl.algorithms.base import Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rounds.shared_share import mixed_share
from gossipfl.training.nodes import Nodes

__all__ = ["SAPS"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SAPS(RoundAlgorithm):
    """SAPS-PSGD.

    With a mask m of a share p of the coordinates, drawn from (seed, round) and so the same at all nodes,

    * ``x_i ← (1 − m) ∘ x_i + m ∘ Σ_j w_ij x_j``;
    * ``x_i ← x_i − η g_i(x_i)``, at the mixed model.

    In the paper W pairs nodes, ½ each: over the topology ``adaptive_matching``, by measured bandwidths, or
    ``random_matching``. Values alone are sent, as everyone knows their places. A round shrinks the consensus
    distance to q + pρ² of itself in expectation, with q = 1 − p and ρ² the second eigenvalue of E[WᵀW]. With
    p = 1 it is D-PSGD (combine-then-adapt).

    In the mask each coordinate is with probability p, as in the paper, but not independently: messages have one
    length, which peers can bound (`mixed_share`). A partner that does not answer leaves a node with its own model,
    and a step. Where n is odd, one node rests.
    """

    name = "saps"
    paper = "Tang et al., IEEE TPDS 2023"
    rule = "x_i ← Σ_j w_ij x_j on a random share p of the numbers, the same everywhere; then x_i ← x_i − ηg_i"
    sends = "p · P"

    share: Annotated[float, Parameter("p: share of the numbers that is sent", gt=0, le=1)] = 0.01

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        rows = yield from mixed_share(nodes.rows[:, : context.shared_size], context, self.share)
        return context.local.update(nodes.with_shared(rows, ages=nodes.ages))

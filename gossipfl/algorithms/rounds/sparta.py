"""SPARTA: after every step, means of a few random numbers of the models, the same ones at all nodes.

Baioumy & Cheema, "SPARTA: Sparse parameter averaging for reduced-communication training", Exo Labs, 2025.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gossipfl.algorithms.base import Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rounds.shared_share import mixed_share
from gossipfl.training.nodes import Nodes

__all__ = ["SPARTA"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SPARTA(RoundAlgorithm):
    """SPARTA.

    A step of the optimiser, and then on a share p of the coordinates, drawn from (seed, round), ``x_i ← Σ_j w_ij
    x_j``; in the original over all nodes (``complete``). After n rounds a coordinate was mixed with probability
    1 − (1 − p)ⁿ. With p = 1 it is D-PSGD (adapt-then-combine). `saps` mixes first, and steps at the mixed model.
    """

    name = "sparta"
    paper = "Baioumy & Cheema, 2025"
    rule = "x_i ← x_i − ηg_i, then Σ_j w_ij x_j on a random share p of the numbers, the same everywhere"
    sends = "p · P"

    share: Annotated[float, Parameter("p: share of the numbers that is sent", gt=0, le=1)] = 0.005

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        trained = context.local.update(nodes)
        rows = yield from mixed_share(trained.rows[:, : context.shared_size], context, self.share)
        return trained.with_shared(rows, ages=trained.ages)

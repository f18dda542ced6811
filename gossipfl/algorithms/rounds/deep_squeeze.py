"""DeepSqueeze: send the compressed model itself, and keep the compression error for the next round.

Tang, Lian, Qiu, Yuan, Zhang, Zhang & Liu, "DeepSqueeze: decentralization meets error-compensated compression",
arXiv:1907.07346, 2019.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch

from gossipfl.algorithms.base import Links, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rounds.choco import CONSENSUS_STEP_SIZE
from gossipfl.algorithms.rounds.error_feedback import sent_with_feedback
from gossipfl.codecs import Compressor
from gossipfl.training.nodes import Nodes

__all__ = ["DeepSqueeze"]

_ERROR = "compression errors"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepSqueeze(RoundAlgorithm):
    """Train, send the compressed model plus the previous error, and move towards the neighbours' messages.

    A round is, with e_i at first zero,

    * ``x_i ← x_i − η g_i``, ``v_i = x_i + e_i``;
    * send ``Q(v_i)``; ``e_i ← v_i − Q(v_i)``;
    * ``x_i ← x_i + γ Σ_j w_ij (Q(v_j) − Q(v_i))``.

    The mean of all models is preserved whatever Q does. As whole models are compressed and not differences, the
    errors do not vanish at consensus: γ must be small where Q is coarse. Where Q is the identity and γ = 1 it is
    D-PSGD (adapt-then-combine).
    """

    name = "deep_squeeze"
    paper = "Tang et al., arXiv 2019"
    rule = "v = x + e, sends Q(v), e ← v − Q(v), x_i ← x_i + γ Σ_j w_ij (Q(v_j) − Q(v_i)) after the step"
    sends = "P through the codec"

    codec: Annotated[Compressor | None, Parameter("Q; the identity if unset", formerly="compressor")] = None
    consensus_step_size: Annotated[float, Parameter(CONSENSUS_STEP_SIZE, gt=0, le=1)] = 1.0

    @property
    def requirements(self) -> Requirements:
        """Symmetric, doubly stochastic matrices; they may change, as nobody keeps copies of others."""
        return Requirements(symmetric=True)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Nothing has been left out yet."""
        errors = torch.zeros_like(nodes.rows[:, :shared_size])
        return replace(nodes, auxiliary={**nodes.auxiliary, _ERROR: errors})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        trained = context.local.update(nodes)
        own = trained.rows[:, : context.shared_size]
        mixed, errors = yield from sent_with_feedback(own, nodes.auxiliary[_ERROR], compressor=self.codec)
        moved = own + self.consensus_step_size * (mixed.rows - mixed.sent)
        after = trained.with_shared(moved, ages=trained.ages)
        return replace(after, auxiliary={**trained.auxiliary, _ERROR: errors})

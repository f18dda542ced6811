"""SparseLoCo: many local steps, and means of the largest parts of what they did, in few bits, with error feedback.

Sarfi et al., "Communication efficient LLM pre-training with SparseLoCo", arXiv 2508.15706, 2025, Algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch

from gossipfl.algorithms.base import Links, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rounds.error_feedback import LEFT, sent_with_feedback
from gossipfl.algorithms.rounds.shared_share import mixed_share
from gossipfl.codecs import FLOAT32, ChunkTop, Compressor
from gossipfl.training.nodes import Nodes

__all__ = ["SparseLoCo"]

_USUAL = ChunkTop(64, 4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseLoCo(RoundAlgorithm):
    """SparseLoCo, and the same in pairs or over any topology.

    From its slow weights φ_i a node does H = ``training.local_steps`` steps of the inner optimiser, to θ_i. With Q
    the codec, by default the largest 64 of each 4,096 numbers as two bits each,

    * ``e_i ← β e_i + φ_i − θ_i``, sends ``q_i = Q(e_i)``, ``e_i ← e_i − q_i``;
    * ``φ_i ← φ_i − α Σ_j w_ij q_j``.

    Where all begin alike and W = J it is the paper's, and all φ stay alike. Over other matrices only what nodes
    learn is mixed, and not what already differs; so with ``pull`` a random share of φ, the same at all nodes, is
    mixed as well, as in `saps`, in float32: the codec is for e alone.
    """

    name = "sparseloco"
    paper = "Sarfi et al., arXiv 2025"
    rule = "e ← βe + φ − θ after H local steps from φ to θ, sends q = Q(e), e ← e − q, φ ← φ − αWq"
    sends = "P through the codec, and pull · P"

    codec: Annotated[Compressor | None, Parameter("Q; chunk-top:64:4096 if unset")] = None
    decay: Annotated[float, Parameter("β: how much of what was not sent is kept", ge=0, le=1)] = 0.95
    outer_rate: Annotated[float, Parameter("α: how much of the mean progress is taken", gt=0)] = 1.0
    pull: Annotated[float, Parameter("share of the slow weights that is mixed", ge=0, le=1)] = 0.0

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Nothing is left to send."""
        zeros = torch.zeros_like(nodes.rows[:, :shared_size])
        return replace(nodes, auxiliary={**nodes.auxiliary, LEFT: zeros})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        slow = nodes.rows[:, : context.shared_size]
        trained = context.local.update(nodes)
        progress = slow - trained.rows[:, : context.shared_size]
        mixed, left = yield from sent_with_feedback(
            progress, nodes.auxiliary[LEFT], decay=self.decay, compressor=self.codec or _USUAL
        )
        rows = slow - self.outer_rate * mixed.rows
        if self.pull:
            rows = yield from mixed_share(rows, context, self.pull, compressor=FLOAT32)
        after = trained.with_shared(rows, ages=trained.ages)
        return replace(after, auxiliary={**trained.auxiliary, LEFT: left})

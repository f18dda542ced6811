"""Streaming DiLoCo, and NoLoCo in the same way: fragments in turn, while training goes on.

Douillard et al., "Streaming DiLoCo with overlapping communication: Towards a distributed free lunch", arXiv
2501.18512, 2025, Algorithm 2.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from torch import Tensor

from gossipfl.algorithms.base import (
    AnyExchange,
    Exchange,
    Links,
    Mixed,
    Requirements,
    Round,
    RoundAlgorithm,
    RoundContext,
)
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rounds.diloco import VELOCITY
from gossipfl.algorithms.rounds.error_feedback import LEFT, sent_with_feedback
from gossipfl.algorithms.rounds.server import of_one_model
from gossipfl.algorithms.rounds.shared_share import mixed_share
from gossipfl.codecs import FLOAT32, Compressor
from gossipfl.errors import SettingError
from gossipfl.training.nodes import Nodes

__all__ = ["SLOW", "Streaming"]

SLOW = "slow weights"
"""Key in `Nodes.auxiliary` of φ, ``[B, shared_size]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming(RoundAlgorithm):
    """Outer steps of one fragment of the model a round, carried out while training goes on.

    The shared parameters are F fragments, f = round mod F. With H = ``training.local_steps``, slow weights φ_i and
    the model θ_i, a round is

    * what fragment f has learned since its last turn, ``Δ_i = φ_i − θ_i``, leaves through the codec;
    * meanwhile τ = ``overlap`` steps of the inner optimiser;
    * ``g_i = Σ_j w_ij Δ_j + φ_i − Σ_j w_ij φ_j``, where φ is mixed on a share ``pull`` of the fragment's numbers;
    * ``m_i ← β m_i + g_i``, then ``φ_i ← φ_i − η (g_i + β m_i)``, or without ``nesterov`` ``φ_i ← φ_i − η m_i``;
    * on the fragment ``θ_i ← α θ_i + (1 − α) φ_i``, then H − τ more steps.

    So a fragment has its turn every F H steps, a message has ⌈P/F⌉ numbers, and has τ steps of time. Where all
    begin alike and W = J, as with ``average = "all-reduce"``, it is Streaming DiLoCo; α is 0.5 there, 0 without
    overlap. Where slow weights differ they must be mixed as well: over pairs, with ``pull = 1``, without
    ``nesterov`` and with β = 0.5, it is NoLoCo in the same manner. Without a codec and with ``pull = 1`` only θ is
    sent, since then g_i = φ_i − Σ_j w_ij θ_j. The codec of four bits is ``fp4``; what is pulled is always in
    float32.

    With ``feedback`` β_e what the codec loses of Δ is sent with the fragment's next: ``Q(Δ_i + β_e e_i)``, and
    e_i is what that loses (`gossipfl.algorithms.rounds.error_feedback`), as in SparseLoCo.

    With F = 1, τ = α = 0 and equal starts, φ after a round is that of DiLoCo after the round before.
    """

    name = "streaming"
    paper = "Douillard et al., arXiv 2025"
    rule = "φ, m ← outer step on fragment t mod F with WΔ from τ local steps before; θ ← αθ + (1 − α)φ there"
    sends = "P / F, and pull · P / F"

    fragments: Annotated[int, Parameter("F: fragments of the model, one a round", ge=1)] = 4
    overlap: Annotated[int, Parameter("τ: local steps while a fragment is on its way", ge=0)] = 1
    mixing: Annotated[float, Parameter("α: how much of the fragment's newest model is kept", ge=0, lt=1)] = (
        0.5
    )
    momentum: Annotated[float, Parameter("β of the outer step", ge=0, lt=1)] = 0.9
    nesterov: Annotated[bool, Parameter("whether the momentum is Nesterov's, as in DiLoCo")] = True
    outer_rate: Annotated[float, Parameter("η of the outer step", gt=0)] = 0.7
    codec: Annotated[
        Compressor | None, Parameter("of Δ, e.g. fp4 for 4 bits; as other rows are sent if unset")
    ] = None
    feedback: Annotated[
        float, Parameter("how much of what the codec loses of Δ is sent with the fragment's next", ge=0, le=1)
    ] = 0.0
    pull: Annotated[float, Parameter("share of the fragment's slow weights that is mixed", ge=0, le=1)] = 0.0
    average: Annotated[
        Literal["neighbours", "all-reduce"], Parameter("over the topology; or over all nodes, in simulations")
    ] = "neighbours"

    @property
    def requirements(self) -> Requirements:
        """Doubly stochastic matrices; or somebody who averages for all."""
        everybody = self.average == "all-reduce"
        return Requirements(server=everybody, own_weights=everybody)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Begin with φ = θ and m = 0; everyone has the first node's model where all average."""
        if self.fragments > shared_size:
            raise SettingError(
                "streaming: a model cannot have so many fragments",
                expected=f"at most {shared_size}, its shared numbers",
                got=self.fragments,
            )
        if self.average == "all-reduce":
            nodes = of_one_model(nodes, shared_size=shared_size)
        slow = nodes.rows[:, :shared_size].clone()
        kept = {SLOW: slow, VELOCITY: torch.zeros_like(slow)}
        if self.feedback:
            kept[LEFT] = torch.zeros_like(slow)
        return replace(nodes, auxiliary={**nodes.auxiliary, **kept})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        shared, local = context.shared_size, context.local
        sent, own = self._fragment(context)
        slow, velocity, began = nodes.auxiliary[SLOW], nodes.auxiliary[VELOCITY], nodes.rows[:, sent]
        steps = torch.full_like(nodes.steps, min(self.overlap, local.settings.local_steps))
        if self.overlap:
            nodes = local.update(nodes, steps)
        part = slice(sent.start + own.start, sent.start + own.stop)
        before = nodes.auxiliary[LEFT] if self.feedback else None
        gradient, after_codec = yield from self._mixed(
            slow[:, sent], began, None if before is None else before[:, sent], context
        )
        gradient = gradient[:, own]
        moved = self.momentum * velocity[:, part] + gradient
        stepped = gradient + self.momentum * moved if self.nesterov else moved
        after = slow[:, part] - self.outer_rate * stepped
        rows, slow, velocity = nodes.rows[:, :shared].clone(), slow.clone(), velocity.clone()
        rows[:, part] = self.mixing * rows[:, part] + (1 - self.mixing) * after
        slow[:, part], velocity[:, part] = after, moved
        kept = {**nodes.auxiliary, SLOW: slow, VELOCITY: velocity}
        if before is not None and after_codec is not None:
            kept[LEFT] = before.clone()
            kept[LEFT][:, part] = after_codec[:, own]  # what else was sent is of another fragment
        nodes = replace(nodes.with_shared(rows, ages=nodes.ages), auxiliary=kept)
        left = local.settings.local_steps - steps
        return local.update(nodes, left) if int(left.max()) else nodes

    def _fragment(self, context: RoundContext) -> tuple[slice, slice]:
        """The numbers that are sent, as many in each round, and which of them are the round's fragment."""
        size, place = context.shared_size, context.round % self.fragments
        least, longer = divmod(size, self.fragments)
        start, width = place * least + min(place, longer), -(-size // self.fragments)
        first = min(start, size - width)
        return slice(first, first + width), slice(start - first, start - first + least + (place < longer))

    def _mixed(
        self, slow: Tensor, fast: Tensor, left: Tensor | None, context: RoundContext
    ) -> Generator[AnyExchange, Mixed, tuple[Tensor, Tensor | None]]:
        """Exchange a fragment; return g, and what the codec lost of Δ where that is kept."""
        everybody = self.average == "all-reduce"  # then all slow weights are alike
        if self.codec is None and self.pull == 1 and not everybody:
            mixed = yield Exchange(fast)
            return slow - mixed.rows, None
        over: Literal["neighbours", "server"] = "server" if everybody else "neighbours"
        if left is None:
            mixed = yield Exchange(slow - fast, compressor=self.codec, over=over)
        else:
            mixed, left = yield from sent_with_feedback(
                slow - fast, left, decay=self.feedback, compressor=self.codec, over=over
            )
        if everybody or not self.pull:
            return mixed.rows, left
        pulled = yield from mixed_share(slow, context, self.pull, compressor=FLOAT32)
        return mixed.rows + slow - pulled, left

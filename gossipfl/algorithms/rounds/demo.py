"""DeMo: the largest frequencies of each node's momentum are summed, and the sign of the sum is the step.

Peng, Quesnelle & Kingma, "DeMo: Decoupled momentum optimization", arXiv 2411.19870, 2024, Algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated

import torch
from torch import Tensor

from gossipfl.algorithms.base import Exchange, Links, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rounds.shared_share import mixed_share
from gossipfl.codecs import FLOAT32, TopK
from gossipfl.codecs.chosen import largest
from gossipfl.training.nodes import Nodes, before_rest

__all__ = ["MOMENTUM", "DeMo"]

MOMENTUM = "decoupled momentum"
"""Key in `Nodes.auxiliary` of δ, ``[B, D]``; zero where nothing is trained."""
_SIDE = 64
_LARGE, _SMALLER = 2.0**64, 2.0**-64  # a power of two changes no digit


@dataclass(frozen=True, slots=True, kw_only=True)
class DeMo(RoundAlgorithm):
    """Decoupled momentum, and the same in pairs or over any topology.

    In each round, with the orthonormal cosine transform (DCT-II) C of blocks of 64 × 64 numbers,

    * ``δ_i ← β δ_i + η g_i``;
    * q_i: the ``count`` numbers of greatest magnitude of every block of ``C δ_i``, sent in float32 with places;
    * ``δ_i ← δ_i − C⁻¹ q_i``;
    * ``x_i ← x_i − η sign(C⁻¹ Σ_j w_ij q_j)``.

    Where all begin alike and W = J it is the paper's, and all models stay alike. Over other matrices models drift
    apart, as nodes take different steps; so with ``pull`` a random share of the models, the same numbers at all
    nodes, is mixed as well, as in `saps`. Blocks are of the row of shared parameters, the last filled with zeros;
    in the authors' code they are cut from each tensor. What stays local takes steps of η sign(δ). Where the sum is
    near zero rounding decides its sign. Whatever neighbours send, no number moves by more than η a round, but for
    ``pull``.
    """

    name = "demo"
    paper = "Peng, Quesnelle & Kingma, arXiv 2024"
    rule = "δ ← βδ + ηg, q = largest of each block of Cδ, δ ← δ − C⁻¹q, x ← x − η sign(C⁻¹Wq)"
    sends = "count / 4096 · P with their places, and pull · P"

    decay: Annotated[float, Parameter("β: how much of what was not sent is kept", ge=0, lt=1)] = 0.999
    count: Annotated[int, Parameter("numbers of each block that are sent", ge=1, le=_SIDE * _SIDE)] = 32
    pull: Annotated[float, Parameter("share of the models that is mixed", ge=0, le=1)] = 0.0

    @property
    def requirements(self) -> Requirements:
        """Doubly stochastic matrices, and training of one step without momentum of its own."""
        return Requirements(own_steps=True)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Initialise δ = 0."""
        return replace(nodes, auxiliary={**nodes.auxiliary, MOMENTUM: torch.zeros_like(nodes.rows)})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        shared, rates = context.shared_size, context.local.learning_rates(nodes)
        seen, gradients = context.local.gradient(nodes)
        width = gradients.shape[1]
        momentum = self.decay * nodes.auxiliary[MOMENTUM][:, :width] + rates * gradients
        blocks = cosines(momentum[:, :shared])
        chosen = self._largest(blocks)
        mixed = yield Exchange(chosen, compressor=TopK(self.count * (blocks.shape[1] // _SIDE**2)))
        steps = torch.cat([uncosines(_within_range(mixed.rows), shared), momentum[:, shared:]], dim=1).sign()
        left = torch.cat(
            [momentum[:, :shared] - uncosines(mixed.sent, shared), torch.zeros_like(momentum[:, shared:])],
            dim=1,
        )
        stepped = seen.rows[:, :width] - rates * steps
        if self.pull:
            pulled = yield from mixed_share(stepped[:, :shared], context, self.pull, compressor=FLOAT32)
            stepped = torch.cat([pulled, stepped[:, shared:]], dim=1)
        rows = before_rest(stepped, seen.rows)
        kept = {**seen.auxiliary, MOMENTUM: before_rest(left, nodes.auxiliary[MOMENTUM])}
        return replace(seen, rows=rows, auxiliary=kept)

    def _largest(self, blocks: Tensor) -> Tensor:
        """The numbers of greatest magnitude of every block, zeros elsewhere."""
        each = blocks.reshape(-1, _SIDE * _SIDE)
        return torch.where(largest(each.abs(), self.count), each, 0).view_as(blocks)


def _within_range(blocks: Tensor) -> Tensor:
    """Blocks whose transforms are finite and of the same signs, even where neighbours send the largest numbers."""
    largest_each = blocks.abs().amax(dim=1, keepdim=True)
    return torch.where(largest_each > _LARGE, blocks * _SMALLER, blocks)


def cosines(rows: Tensor) -> Tensor:
    """Cosine transforms of blocks of 64 × 64 numbers of rows ``[B, K]``, filled with zeros to whole blocks."""
    size = math.ceil(rows.shape[1] / _SIDE**2) * _SIDE**2
    blocks = torch.nn.functional.pad(rows, (0, size - rows.shape[1])).view(len(rows), -1, _SIDE, _SIDE)
    basis = _basis(rows.dtype, rows.device)
    return (basis @ blocks @ basis.T).reshape(len(rows), size)


def uncosines(blocks: Tensor, size: int) -> Tensor:
    """The rows ``[B, size]`` of which these are the cosine transforms."""
    each = blocks.view(len(blocks), -1, _SIDE, _SIDE)
    basis = _basis(blocks.dtype, blocks.device)
    return (basis.T @ each @ basis).reshape(len(blocks), -1)[:, :size]


@cache
def _basis(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The orthonormal DCT-II of 64 numbers."""
    places = torch.arange(_SIDE, dtype=torch.float64)
    basis = torch.cos(math.pi / _SIDE * (places + 0.5) * places[:, None]) * math.sqrt(2 / _SIDE)
    basis[0] /= math.sqrt(2)
    return basis.to(dtype).to(device)

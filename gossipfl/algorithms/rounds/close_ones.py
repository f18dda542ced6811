"""Means of models that are close together, from a few bits of each number.

Lu & De Sa, "Moniqua: Modulo quantized communication in decentralized SGD", ICML 2020, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

import torch
from torch import Tensor

from gossipfl.algorithms.base import AnyExchange, Mixed, Neighbourhood, NeighbourRows, RoundContext
from gossipfl.codecs import Residues, wrapped
from gossipfl.codecs.draws import common_key, rekeyed, uniforms
from gossipfl.outgoing import Draws, SharedMask

__all__ = ["mixed_residues"]

_DITHER = 1


def mixed_residues(
    rows: Tensor, context: RoundContext, *, share: float, bits: int, distance: float
) -> Generator[AnyExchange, Mixed, tuple[Tensor, Tensor]]:
    """Exchange residues of a share of the numbers of rows ``[B, P]``; return ``x_i + Σ_j w_ij (x̂_j − x_i)``.

    Also returned is which share of the numbers that arrived at each node seem to be farther apart than θ, from 0
    to 1, ``[B, 1]``. No residue tells: where models are far apart, x̂_j − x_i is anywhere within the modulus, and
    so beyond θ with probability 2^−b; where they are close, hardly ever. The share is that beyond θ, times
    2^b. With one bit it is 0: the noise of rounding is as large as θ.

    With Δ = 2θ/(2^b − 1), and u one draw for all nodes from [−½, ½) for each number and round, a node sends
    ``round(x/Δ + u) mod 2^b``. Of all numbers with that residue a receiver takes the one nearest to its own as
    x̂_j: within Δ/2 of x_j, and without bias, if models differ by less than θ there; else it is wrong by a multiple
    of 2^b Δ, and moves the receiver by no more than w_ij 2^(b−1) Δ.

    Parameters
    ----------
    rows : Tensor
    context : RoundContext
    share : float
        ⌊share · P⌉ numbers are sent, at least one, the same at all nodes.
    bits : int
        b.
    distance : float
        θ, positive.
    """
    key = common_key(seed=context.seed, round_number=context.round)
    keys = context.numbers.to(rows.device)
    sent = SharedMask(share).columns(rows.shape[1], Draws(keys=keys, common=key))
    codec = Residues(bits)
    cell = 2 * distance / (codec.modulus - 1)
    dither = uniforms(rekeyed(torch.full_like(keys[:1], key), _DITHER), len(sent)) - 0.5
    scaled = rows.index_select(1, sent) / cell + dither
    rule = partial(_steps_to_others, scaled=scaled, modulus=codec.modulus)
    mixed = yield NeighbourRows(scaled, rule, compressor=codec)
    steps, beyond = mixed.rows[:, :-1], mixed.rows[:, -1]
    apart = codec.modulus * beyond if bits > 1 else torch.zeros_like(beyond)
    return rows.index_add(1, sent, cell * steps), apart.clamp(max=1)[:, None]


def _steps_to_others(around: Neighbourhood, *, scaled: Tensor, modulus: int) -> Tensor:
    """``Σ_j w_ij (x̂_j − x_i)`` in cells, and which share of the x̂_j − x_i is beyond θ, ``[b, K + 1]``."""
    own = scaled.index_select(0, around.nodes.to(scaled.device))
    away = wrapped(around.rows - own[:, None], modulus)
    heard = around.present.sum(dim=1).clamp(min=1) * away.shape[2]
    beyond = ((away.abs() > (modulus - 1) / 2) & around.present[..., None]).sum(dim=(1, 2)) / heard
    return torch.cat([(around.weights[..., None] * away).sum(dim=1), beyond[:, None].to(away.dtype)], dim=1)

"""Mixing of a random share of the numbers, the same at all nodes, so that values are sent without their places."""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from torch import Tensor

from gossipfl.algorithms.base import AnyExchange, Exchange, Mixed, RoundContext
from gossipfl.codecs import Compressor
from gossipfl.codecs.draws import common_key, rekeyed, uniforms
from gossipfl.outgoing import Draws, SharedMask

__all__ = ["mixed_share"]

_LEFT_OUT = 2
_TOLERATED = 0.01  # by rounding, of the share


def mixed_share(
    rows: Tensor, context: RoundContext, share: float, *, compressor: Compressor | None = None
) -> Generator[AnyExchange, Mixed, Tensor]:
    """Exchange a share of the numbers of rows ``[B, P]``; return the rows with these mixed.

    The mask is a function of (seed, round) alone, so a node that was away has the right one too. Every number is
    mixed with probability ``share``, within a hundredth of it: where rounding share · P to a whole number changes
    more, one of those sent is left out as often as that takes, at all nodes, as messages have one length.

    Parameters
    ----------
    rows : Tensor
    context : RoundContext
    share : float
        ⌊share · P⌉ numbers are sent, or ⌈share · P⌉ where one is left out.
    compressor : Compressor, optional
        Compression on the wire; by default that of all outgoing rows.
    """
    key = common_key(seed=context.seed, round_number=context.round)
    draws = Draws(keys=context.numbers.to(rows.device), common=key)
    size, wanted = rows.shape[1], share * rows.shape[1]
    width = max(1, round(wanted))
    if abs(width - wanted) > _TOLERATED * wanted:
        width = math.ceil(wanted)
    sent = SharedMask(width / size).columns(size, draws)
    mixed = yield Exchange(rows.index_select(1, sent), compressor=compressor)
    whether, which = uniforms(rekeyed(torch.tensor([key]), _LEFT_OUT), 2)[0].tolist()
    if width - wanted <= _TOLERATED * wanted or whether >= width - wanted:
        return rows.index_copy(1, sent, mixed.rows)
    left = int(which * width)
    taken = torch.cat([sent[:left], sent[left + 1 :]])
    kept = torch.cat([mixed.rows[:, :left], mixed.rows[:, left + 1 :]], dim=1)
    return rows.index_copy(1, taken, kept)

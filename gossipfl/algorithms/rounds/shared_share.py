"""Mixing of a random share of the numbers, the same at all nodes, so that values are sent without their places."""

from __future__ import annotations

from collections.abc import Generator

from torch import Tensor

from gossipfl.algorithms.base import AnyExchange, Exchange, Mixed, RoundContext
from gossipfl.codecs import Compressor
from gossipfl.codecs.draws import common_key
from gossipfl.outgoing import Draws, SharedMask

__all__ = ["mixed_share"]


def mixed_share(
    rows: Tensor, context: RoundContext, share: float, *, compressor: Compressor | None = None
) -> Generator[AnyExchange, Mixed, Tensor]:
    """Exchange a share of the numbers of rows ``[B, P]``; return the rows with these mixed.

    The mask is a function of (seed, round) alone, so a node that was away has the right one too.

    Parameters
    ----------
    rows : Tensor
    context : RoundContext
    share : float
        ⌊share · P⌉ numbers are sent, at least one.
    compressor : Compressor, optional
        Compression on the wire; by default that of all outgoing rows.
    """
    key = common_key(seed=context.seed, round_number=context.round)
    draws = Draws(keys=context.numbers.to(rows.device), common=key)
    sent = SharedMask(share).columns(rows.shape[1], draws)
    mixed = yield Exchange(rows.index_select(1, sent), compressor=compressor)
    return rows.index_copy(1, sent, mixed.rows)

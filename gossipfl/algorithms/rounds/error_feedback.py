"""Error feedback: what a codec loses of a row is added to the next one.

Seide, Fu, Droppo, Li & Yu, "1-bit stochastic gradient descent", Interspeech 2014; Stich, Cordonnier & Jaggi,
"Sparsified SGD with memory", NeurIPS 2018; Karimireddy, Rebjock, Stich & Jaggi, ICML 2019.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

from torch import Tensor

from gossipfl.algorithms.exchanges import AnyExchange, Exchange, Mixed
from gossipfl.codecs import Compressor

__all__ = ["LEFT", "sent_with_feedback"]

LEFT = "what was not sent"
"""Key in `Nodes.auxiliary` of e, ``[B, shared_size]``."""


def sent_with_feedback(
    rows: Tensor,
    left: Tensor,
    *,
    decay: float = 1.0,
    compressor: Compressor | None = None,
    over: Literal["neighbours", "server"] = "neighbours",
) -> Generator[AnyExchange, Mixed, tuple[Mixed, Tensor]]:
    """Exchange ``Q(x + βe)``; what it loses is the next e.

    With β = 1 the sum of all that was sent, and the last e, are the sum of all x.

    Parameters
    ----------
    rows : Tensor
        x, shape ``[B, K]``.
    left : Tensor
        e, of the same shape.
    decay : float
        β.

    Returns
    -------
    mixed : Mixed
    left : Tensor
        ``x + βe − Q(x + βe)``.
    """
    wanted = rows + decay * left
    mixed = yield Exchange(wanted, compressor=compressor, over=over)
    return mixed, wanted - mixed.sent

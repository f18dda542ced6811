"""Published formulas for the privacy of decentralised averaging, to be set beside the exact loss."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from sims.privacy.linear_run import LinearRun
from sims.privacy.row_space import Floats

__all__ = ["muffliato_pairwise"]


def muffliato_pairwise(run: LinearRun, observers: Collection[int]) -> Floats:
    """Muffliato's bound on the loss of each value, relative to that of the noisy value itself, ``[V]``.

    It counts ``b_u² / ‖b‖²`` of value u for a message with the row b, and adds up the messages received, to 1 at
    most; in the paper's notation ``Σ_t Σ_w {(W^t)_{u,w}}² / ‖(W^t)_w‖²`` over the observer's neighbours w.

    The sum treats messages as if their noises were independent. Messages of one gossip mix the same noise, and
    differences of them may be free of most of it, so the exact loss can lie above the sum.

    References
    ----------
    Cyffers, Even, Bellet and Massoulié, "Muffliato: peer-to-peer privacy amplification for decentralized
    optimization and averaging", NeurIPS 2022.
    """
    total = np.zeros(len(run.owners))
    for rows in run.messages(observers):
        squares = np.square(rows)
        lengths = squares.sum(axis=1)
        sent = lengths > 0
        total += (squares[sent] / lengths[sent, None]).sum(axis=0)
    total[np.isin(run.owners, list(observers))] = 1.0
    return np.minimum(total, 1.0)

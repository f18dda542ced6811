"""A personal model beside the shared one, mixed with it in a share that is learned too, on rows.

Deng, Kamani & Mahdavi, "Adaptive personalized federated learning", 2020 (arXiv 2003.13461), Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from gossipfl.training.nodes import PERSONAL, Nodes, before_rest

__all__ = ["interpolated", "trained_beside", "with_own_models"]

_OWN, _SHARE, _OPTIMISER = "own", "share", "optimiser"


def with_own_models(nodes: Nodes, *, share: float) -> Nodes:
    """Nodes whose own and personal models are the shared ones so far.

    Of the own models v, ``auxiliary["own"]``, only the shared part has a meaning. Whatever stays local or is a
    buffer is part of the personal models alone.

    Parameters
    ----------
    nodes : Nodes
    share : float
        α: of the own model in the personal one.
    """
    return replace(
        nodes,
        auxiliary={
            **nodes.auxiliary,
            PERSONAL: nodes.rows,
            _OWN: nodes.rows,
            _SHARE: torch.full_like(nodes.rows[:, 0], share),
            _OPTIMISER: nodes.optimiser_state,
        },
    )


def trained_beside(
    nodes: Nodes, update: Callable[[Nodes], Nodes], *, shared_size: int, adapts: bool
) -> Nodes:
    """Train the shared model w and the own model v, on the same batches.

    With v̄ = αv + (1 − α)w: w is trained by itself, ``v ← v − ηα∇f(v̄)``, and ``α ← α − η⟨v − w, ∇f(v̄)⟩``, within
    0 … 1. For ``−η∇f(v̄)`` what ``update`` does to v̄ is taken, momentum included, so that one step without momentum
    is the paper's; after several steps at once, v̄ has not followed w in between.

    Parameters
    ----------
    nodes : Nodes
        As `with_own_models` makes them.
    update : callable
        Local training.
    shared_size : int
    adapts : bool
        Whether α is learned.
    """
    kept = nodes.auxiliary
    before, own, share = kept[PERSONAL][:, :shared_size], kept[_OWN][:, :shared_size], kept[_SHARE]
    shared = update(nodes)
    personal = update(replace(nodes, rows=kept[PERSONAL], optimiser_state=kept[_OPTIMISER]))
    moved = personal.rows[:, :shared_size] - before
    if adapts:
        gained = ((own - nodes.rows[:, :shared_size]) * moved).sum(dim=1)
        share = (share + gained).clamp(0, 1)
    trained = replace(
        shared,
        auxiliary={
            **kept,
            PERSONAL: personal.rows,
            _OWN: before_rest(own + kept[_SHARE][:, None] * moved, kept[_OWN]),
            _SHARE: share,
            _OPTIMISER: personal.optimiser_state,
        },
    )
    return interpolated(trained, shared_size=shared_size)


def interpolated(nodes: Nodes, *, shared_size: int) -> Nodes:
    """Mix the personal models anew: v̄ = αv + (1 − α)w."""
    kept = nodes.auxiliary
    shared, own = nodes.rows[:, :shared_size], kept[_OWN][:, :shared_size]
    mixed = torch.lerp(shared, own, kept[_SHARE][:, None])
    return replace(nodes, auxiliary={**kept, PERSONAL: before_rest(mixed, kept[PERSONAL])})

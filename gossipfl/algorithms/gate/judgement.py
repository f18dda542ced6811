"""Judgement of received models: plain functions of rows, the same for a peer and for a simulation.

A received model is compared with the node's own, and the comparison with those of other neighbours' models. There
are three outcomes: it is accepted, it is pulled towards the node's own model until it is no further away than the
others are (centred clipping; Karimireddy, He & Jaggi, "Learning from history for Byzantine robust optimization",
ICML 2021, Section 4, with the radius found as in He, Karimireddy & Jaggi, "Byzantine-robust decentralized learning
via ClippedGossip", 2022), or it is refused. Ages are cut to what the neighbours' ages support.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from gossipfl.settings.gate import GateSettings

__all__ = ["LEARNED_LOSS_SHARE", "Comparison", "Judgement", "Reason", "compare", "judge", "limited"]

#: Share of the initial loss below which a model has learned something that can be lost.
LEARNED_LOSS_SHARE = 0.5
_APART_MEDIANS = 1.5
_BLOCK = (
    2**20
)  # numbers compared at a time: in double precision, rows and differences take six times their memory


class Reason(IntEnum):
    """Reason for a judgement, in the order of the checks."""

    PLAUSIBLE = 0
    FAR = 1
    """Further away than the neighbours' models are, or in one number: clipped."""
    LOSS = 2
    """Its mean with the node's own model does worse on this node's samples than the initial model did: refused."""
    OPPOSED = 3
    """Unrelated or opposed to the node's own model, unlike the neighbours': refused."""
    NORM = 4
    """Far larger or smaller than the node's own model and the neighbours': refused."""
    UNMOVED = 5
    """Repeatedly unchanged, far from the node's own model, and called newer each time: refused."""
    NOT_FINITE = 6
    """NaN or an infinity: refused."""

    @property
    def refuses(self) -> bool:
        """Whether nothing of the model is taken."""
        return self >= Reason.LOSS


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Received models compared with the nodes' own, for B nodes.

    Parameters
    ----------
    distances : Tensor
        ‖y − x‖, float64 ``[B]``; infinite where y is not finite.
    own_norms, norms : Tensor
        ‖x‖ and ‖y‖, float64 ``[B]``.
    peaks : Tensor
        Largest change of any one number from x to y, float64 ``[B]``; 0 where it was not asked for.
    """

    distances: Tensor
    own_norms: Tensor
    norms: Tensor
    peaks: Tensor

    @property
    def angles(self) -> Tensor:
        """1 − cos(x, y), float64 ``[B]``; 0 where one of the two is zero."""
        # From the three norms: ‖y − x‖² = ‖x‖² + ‖y‖² − 2 ⟨x, y⟩.
        products = 2 * self.own_norms * self.norms
        gap = (self.distances**2 - (self.own_norms - self.norms) ** 2) / products.clamp(min=1e-300)
        return torch.where(products > 0, gap.clamp(0, 2), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Judgement of received models, for B nodes.

    Parameters
    ----------
    reasons : Tensor
        Values of `Reason`, int64 ``[B]``.
    shares : Tensor
        Share of the way from the node's own model to the received one that is allowed, float64 ``[B]``: 1 where it
        is accepted, less where it is clipped, 0 where it is refused.
    """

    reasons: Tensor
    shares: Tensor


def compare(own: Tensor, received: Tensor, *, peaks: bool = False) -> Comparison:
    """Compare received models with the nodes' own.

    Parameters
    ----------
    own, received : Tensor
        Shape ``[B, P]``, float32 or float64.
    peaks : bool, optional
        Whether peaks are wanted.

    Returns
    -------
    Comparison
    """
    blocks = zip(torch.split(own, _BLOCK, dim=1), torch.split(received, _BLOCK, dim=1), strict=True)
    parts = [_three_norms(x.double(), y.double()) for x, y in blocks]
    distances, own_norms, norms = (
        parts[0] if len(parts) == 1 else torch.linalg.vector_norm(torch.stack(parts), dim=0)
    )
    largest = (received - own).abs().amax(dim=1).double() if peaks else torch.zeros_like(distances)
    return Comparison(
        peaks=torch.nan_to_num(largest, nan=torch.inf, posinf=torch.inf),
        distances=torch.nan_to_num(distances, nan=torch.inf, posinf=torch.inf),
        own_norms=own_norms,
        norms=torch.nan_to_num(norms, nan=torch.inf, posinf=torch.inf),
    )


def _three_norms(x: Tensor, y: Tensor) -> Tensor:
    """‖y − x‖, ‖x‖ and ‖y‖, shape ``[3, B]``."""
    return torch.stack([torch.linalg.vector_norm(each, dim=1) for each in (y - x, x, y)])


def judge(
    comparison: Comparison,
    *,
    median_distances: Tensor,
    usual_angles: Tensor,
    median_norms: Tensor,
    median_peaks: Tensor,
    losses: Tensor,
    largest_losses: Tensor,
    unmoved: Tensor,
    young: Tensor,
    bounds: GateSettings,
) -> Judgement:
    """Judge received models in the light of the neighbours' models.

    Parameters
    ----------
    comparison : Comparison
    median_distances, usual_angles, median_norms : Tensor
        Over the neighbours, one vote each, the median of ‖y − x‖, the lower quartile of 1 − cos(x, y), and the
        median of norms (including the node's own), float64 ``[B]``; the sender of the received model is included.
        NaN where there are no neighbours to compare with yet: then nothing is too far, and norms are compared with
        the node's own.
    median_peaks : Tensor
        The median of peaks, as that of distances.
    losses, largest_losses : Tensor
        Losses of the mean of the node's own and the received model on the node's own samples, and the largest
        that pass, ``[B]``; NaN where they are not checked.
    unmoved : Tensor
        How often in a row the senders have not moved, int64 ``[B]``.
    young : Tensor
        Whether the senders' models claim few training steps beside the nodes' own, bool ``[B]``: these may still
        be small, and unlike what the nodes have learned.
    bounds : GateSettings

    Returns
    -------
    Judgement
    """
    distances, angles = comparison.distances, comparison.angles
    radius = torch.maximum(bounds.radius * median_distances, bounds.smallest_radius * comparison.own_norms)
    radius = torch.where(radius.isnan(), torch.inf, radius)
    opposed = torch.clamp(bounds.angle_medians * torch.nan_to_num(usual_angles), min=bounds.angle)
    norms = torch.where(median_norms.isnan(), comparison.own_norms, median_norms)
    too_large, too_small = comparison.norms > bounds.norm * norms, comparison.norms * bounds.norm < norms

    peak = torch.full_like(radius, torch.inf) if bounds.peak is None else bounds.peak * median_peaks
    peak = torch.where(peak.isnan(), torch.inf, peak)
    is_far = (distances > radius) | (comparison.peaks > peak)
    reasons = torch.where(is_far, int(Reason.FAR), int(Reason.PLAUSIBLE))
    # A large loss may be forgiven; so what no honest model looks like is not called by that name.
    reasons = torch.where(losses > largest_losses, int(Reason.LOSS), reasons)
    reasons = torch.where((angles > opposed) & ~young, int(Reason.OPPOSED), reasons)
    reasons = torch.where(too_large | (too_small & ~young), int(Reason.NORM), reasons)
    # Where all neighbours are as far away, it is the node that has been moved.
    stays_apart = (unmoved > bounds.unmoved_times) & ~(distances < _APART_MEDIANS * median_distances)
    reasons = torch.where(stays_apart, int(Reason.UNMOVED), reasons)
    reasons = torch.where(distances.isinf(), int(Reason.NOT_FINITE), reasons)
    shares = torch.clamp(radius / distances.clamp(min=1e-300), max=1.0)
    shares = torch.minimum(shares, peak / comparison.peaks.clamp(min=1e-300))
    shares = torch.where(reasons >= int(Reason.LOSS), 0.0, shares)
    return Judgement(reasons=reasons, shares=shares)


def limited(own: Tensor, received: Tensor, shares: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Pull received models towards the nodes' own, x + share · (y − x).

    Parameters
    ----------
    own, received : Tensor
        Shape ``[B, P]``.
    shares : Tensor
        Float64 ``[B]``; where it is 1 the received row comes back bit for bit.
    out : Tensor, optional
        Where to write the outcome, such as ``received``, if no share is 1.

    Returns
    -------
    Tensor
        Shape ``[B, P]``.
    """
    drawn = torch.sub(received, own, out=out).mul_(shares.to(own.dtype)[:, None]).add_(own)
    whole = shares == 1
    if whole.any():
        drawn[whole] = received[whole]
    return drawn

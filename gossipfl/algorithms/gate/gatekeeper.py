"""The gatekeeper of one node, and of many nodes at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from gossipfl.algorithms.gate.admission import Admission, Arrival, Claim
from gossipfl.algorithms.gate.decisions import Decisions, Findings
from gossipfl.algorithms.gate.judgement import (
    LEARNED_LOSS_SHARE,
    Comparison,
    Judgement,
    Reason,
    compare,
    judge,
)
from gossipfl.settings.gate import GateSettings

__all__ = ["Gatekeeper", "Losses", "admit_together"]

_SAMPLED = 256

Losses: TypeAlias = Callable[[Tensor, Sequence[int]], tuple[Sequence[float], Sequence[float]]]
"""Losses of rows ``[b, P]`` on the samples of the nodes at these places among B, and those of their
initial rows.
"""


class Gatekeeper(Decisions):
    """Judges models as they arrive, one at a time.

    Parameters
    ----------
    settings : GateSettings
    size : int
        Most senders that are remembered.
    """

    def admit(self, arrival: Arrival) -> Admission:
        """Judge one received model.

        Returns
        -------
        Admission
        """
        losses = arrival.losses

        def of_one(rows: Tensor, _: Sequence[int]) -> tuple[Sequence[float], Sequence[float]]:
            assert losses is not None  # noqa: S101 - checked below
            loss, initial = losses(rows)
            return [loss], [initial]

        return admit_together(
            [self],
            [arrival],
            own=arrival.own,
            received=arrival.received,
            losses=None if losses is None else of_one,
        )[0]


def admit_together(
    gatekeepers: Sequence[Gatekeeper],
    claims: Sequence[Claim],
    *,
    own: Tensor,
    received: Tensor,
    losses: Losses | None = None,
) -> list[Admission]:
    """Judge one received model at each of B nodes, each by its own gatekeeper.

    Parameters
    ----------
    gatekeepers : sequence of Gatekeeper
        All with the same settings.
    claims : sequence of Claim
    own, received : Tensor
        Shared parameters of the nodes' own and the received models, shape ``[B, P]``, or one part of them.
    losses : callable, optional
        Without it, losses are not considered.

    Returns
    -------
    list of Admission
        One for each node.
    """
    admissions = [Admission(reason="quarantined", share=0.0, age=claim.own_age) for claim in claims]
    judged = [
        place
        for place, (each, claim) in enumerate(zip(gatekeepers, claims, strict=True))
        if not each.is_quarantined(claim.sender, now=claim.now)
    ]
    if not judged:
        return admissions
    if len(judged) < len(claims):
        own, received = own[judged], received[judged]
    cases = [(gatekeepers[place], claims[place]) for place in judged]
    comparison = compare(own, received, peaks=cases[0][0].settings.peak is not None)
    findings = [
        Findings(
            distance=distance, angle=angle, own_norm=own_norm, norm=norm, peak=peak, sample=y, own_sample=x
        )
        for distance, angle, own_norm, norm, peak, y, x in zip(
            comparison.distances.tolist(),
            comparison.angles.tolist(),
            comparison.own_norms.tolist(),
            comparison.norms.tolist(),
            comparison.peaks.tolist(),
            _sampled(received),
            _sampled(own),
            strict=True,
        )
    ]
    for (gatekeeper, claim), found in zip(cases, findings, strict=True):
        gatekeeper.begin(claim, found)
    if losses is not None:
        _measure(cases, findings, places=judged, own=own, received=received, losses=losses)
    for (gatekeeper, claim), found in zip(cases, findings, strict=True):
        gatekeeper.testify(claim, found)
    judgement = _judged_by(cases[0][0].settings, cases, findings, comparison)
    decisions = zip(judgement.reasons.tolist(), judgement.shares.tolist(), strict=True)
    for place, (gatekeeper, claim), found, (reason, share) in zip(
        judged, cases, findings, decisions, strict=True
    ):
        admissions[place] = gatekeeper.decide(claim, found, Reason(reason), share, size=received.shape[1])
    return admissions


def _measure(
    cases: Sequence[tuple[Gatekeeper, Claim]],
    findings: Sequence[Findings],
    *,
    places: Sequence[int],
    own: Tensor,
    received: Tensor,
    losses: Losses,
) -> None:
    """Try models on the nodes' samples, and where one does badly, the node's own too."""

    def tried(members: list[int], rows: Tensor) -> tuple[Sequence[float], Sequence[float]]:
        return losses(rows, [places[k] for k in members])

    members = [k for k, each in enumerate(findings) if math.isfinite(each.distance) and each.distance > 0]
    if not members:
        return
    everybody = len(members) == len(findings)
    x, y = (own, received) if everybody else (own[members], received[members])
    found, initial = tried(members, (x + y).div_(2))
    bad = [
        n
        for n, k in enumerate(members)
        if cases[k][0].note_loss(cases[k][1], findings[k], loss=found[n], initial=initial[n])
    ]
    if not bad:
        return
    of_own, _ = tried([members[n] for n in bad], x if len(bad) == len(members) else x[bad])
    for n, loss in zip(bad, of_own, strict=True):
        findings[members[n]].has_learned = loss <= LEARNED_LOSS_SHARE * initial[n]


def _judged_by(
    bounds: GateSettings,
    cases: Sequence[tuple[Gatekeeper, Claim]],
    findings: Sequence[Findings],
    comparison: Comparison,
) -> Judgement:
    device = comparison.distances.device

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    distances, angles, norms = (
        column(each) for each in zip(*(each.medians for each in findings), strict=True)
    )
    return judge(
        comparison,
        median_distances=distances,
        usual_angles=angles,
        median_norms=norms,
        median_peaks=column([each.median_peak for each in findings]),
        losses=column([each.loss for each in findings]),
        largest_losses=column([each.largest_loss for each in findings]),
        # After a long absence it is this node that is apart: only others can tell.
        unmoved=torch.tensor([0 if each.is_first else each.unmoved for each in findings], device=device),
        young=torch.tensor([claim.is_young for _, claim in cases], device=device),
        bounds=bounds,
    )


def _sampled(rows: Tensor) -> list[Tensor]:
    """Give some coordinates of each row, always the same."""
    return [each.clone() for each in rows[:, :: max(rows.shape[1] // _SAMPLED, 1)]]

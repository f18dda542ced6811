"""The gatekeeper of one node: judges models as they arrive, and remembers who sent what."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.algorithms.gate.admission import Admission, Arrival
from gossipfl.algorithms.gate.echoes import OwnVersions
from gossipfl.algorithms.gate.evidence import Evidence, Testimony
from gossipfl.algorithms.gate.judgement import (
    LEARNED_LOSS_SHARE,
    Comparison,
    Judgement,
    Reason,
    compare,
    judge,
)
from gossipfl.algorithms.gate.offenders import Offenders
from gossipfl.algorithms.gate.shares import Shares
from gossipfl.settings.gate import GateSettings

_SAMPLED = 256
_DOUBTFUL_OFFENCE = 0.5
_SMALL_PART = 1 / 64  # of the way: of a model that nothing vouches for
_BURST, _IN_A_BURST = 8, 1.5  # merges, among which a sender may have so many times its share
_FEWEST_WITNESSES = 3
_LONGEST_WAIT = 32, 10.0  # models and seconds, whichever is longer, for the first senders to be heard
_EARLY_MODELS = 200  # before which honest models of other data may look bad again and again

__all__ = ["Gatekeeper"]


@dataclass(slots=True, kw_only=True)
class _Findings:
    """What was found out about one received model."""

    comparison: Comparison
    sample: Tensor
    own_sample: Tensor
    credited: int
    loss: float = math.nan
    largest_loss: float = math.nan
    has_learned: bool = True  # the node; looked at only if the loss is large
    repeats: int = 0
    unmoved: int = 0

    @property
    def distance(self) -> float:
        return float(self.comparison.distances[0])


class Gatekeeper:
    """Judges models as they arrive.

    Parameters
    ----------
    settings : GateSettings
    size : int
        Most senders that are remembered.
    """

    def __init__(self, settings: GateSettings | None = None, *, size: int = 256) -> None:
        self._settings = settings or GateSettings()
        self._size = size
        self._evidence = Evidence(size=size)
        self._offenders = Offenders(self._settings, size=size)
        self._judged = 0
        self._began: float | None = None
        self._first_models = 0
        self._own_versions = OwnVersions()
        fair_shares = self._settings.fair_shares
        self._shares = Shares(fair_shares=fair_shares, size=size)
        self._bursts = Shares(fair_shares=_IN_A_BURST * fair_shares, size=size, window=_BURST)

    def is_quarantined(self, sender: str, *, now: float) -> bool:
        """Whether a sender is currently quarantined."""
        return self._offenders.is_quarantined(sender, now=now)

    def quarantined(self, *, now: float) -> list[str]:
        """Senders that are currently quarantined."""
        return self._offenders.quarantined(now=now)

    def admit(self, arrival: Arrival) -> Admission:
        """Judge one received model.

        Returns
        -------
        Admission
        """
        if self.is_quarantined(arrival.sender, now=arrival.now):
            return Admission(reason="quarantined", share=0.0, age=arrival.own_age)
        self._judged += 1
        self._evidence.expire(arrival.now)
        findings = self._examine(arrival)
        if math.isfinite(findings.distance):
            self._testify(arrival, findings)
        is_first = self._awaits_others(arrival)
        medians = self._evidence.medians(own_norm=float(findings.comparison.own_norms[0]))
        judgement = self._judge(arrival, findings, medians, is_first=is_first)
        reason, share = Reason(int(judgement.reasons[0])), float(judgement.shares[0])
        if reason.refuses:
            share = self._hold_against(arrival, findings, reason, median_distance=medians[0])
        admission = Admission(
            reason=reason.name.lower(), share=share, age=findings.credited, distance=findings.distance
        )
        if share:
            admission = self._limit(
                arrival, findings, admission, median_distance=medians[0], is_first=is_first
            )
        if arrival.part is None:  # otherwise samples of two parts would be compared
            self._own_versions.note(findings.own_sample)
        return admission

    def forget_comparisons(self) -> None:
        """Forget how models compared with the node's own, which is no longer the one they were compared with."""
        self._evidence = Evidence(size=self._size)
        self._own_versions = OwnVersions()
        self._began, self._first_models = None, 0

    def _examine(self, arrival: Arrival) -> _Findings:
        """Compare a model with the node's own and with its sender's last, and try it on the node's samples."""
        settings, evidence = self._settings, self._evidence
        findings = _Findings(
            comparison=compare(arrival.own, arrival.received),
            sample=_sampled(arrival.received),
            own_sample=_sampled(arrival.own),
            credited=evidence.supported_age(
                arrival.age,
                own=arrival.own_age,
                sender=arrival.sender,
                now=arrival.now,
                pace=settings.pace,
                slack=settings.age_slack,
            ),
        )
        if not math.isfinite(findings.distance):
            return findings
        if arrival.losses is not None and findings.distance > 0:
            findings.loss, initial = arrival.losses((arrival.own + arrival.received).div_(2))
            findings.largest_loss = evidence.median_loss() + settings.loss * initial
            if findings.loss > findings.largest_loss:
                findings.has_learned = arrival.losses(arrival.own)[0] <= LEARNED_LOSS_SHARE * initial
            if not evidence.has_quorum and findings.loss >= initial:
                # Nobody vouches for it, and it knows nothing.
                findings.credited = min(findings.credited, arrival.own_age)
        findings.repeats, findings.unmoved = evidence.times_alike(
            arrival.sender,
            findings.sample,
            findings.own_sample,
            version=arrival.version,
            part=arrival.part,
            claimed=arrival.age,
            credited=findings.credited,
            bounds=settings,
        )
        return findings

    def _testify(self, arrival: Arrival, findings: _Findings) -> None:
        """Let a model vote in the judgement of others."""
        last = self._evidence.last(arrival.sender)
        self._evidence.note(
            arrival.sender,
            Testimony(
                distance=findings.distance,
                angle=float(findings.comparison.angles[0]),
                norm=float(findings.comparison.norms[0]),
                loss=findings.loss,
                sample=findings.sample,
                version=arrival.version,
                part=arrival.part,
                repeats=findings.repeats,
                unmoved=findings.unmoved,
                claimed=arrival.age,
                age=findings.credited,
                answers=(0 if last is None else last.answers) + arrival.is_answer,
                at=arrival.now,
            ),
        )

    def _judge(
        self, arrival: Arrival, findings: _Findings, medians: tuple[float, float, float], *, is_first: bool
    ) -> Judgement:
        distances, angles, norms = (torch.tensor([each], dtype=torch.float64) for each in medians)
        return judge(
            findings.comparison,
            median_distances=distances,
            median_angles=angles,
            median_norms=norms,
            losses=torch.tensor([findings.loss], dtype=torch.float64),
            largest_losses=torch.tensor([findings.largest_loss], dtype=torch.float64),
            # After a long absence it is this node that is apart: only others can tell.
            unmoved=torch.tensor([0 if is_first else findings.unmoved]),
            young=torch.tensor([arrival.is_young]),
            bounds=self._settings,
        )

    def _hold_against(
        self, arrival: Arrival, findings: _Findings, reason: Reason, *, median_distance: float
    ) -> float:
        """Hold an implausible model against its sender; return the share of it that is merged all the same.

        Where data are much unlike, an honest model may look bad at first: then it is doubtful, and not refused.
        """
        sender, now = arrival.sender, arrival.now
        is_early, share = self._judged <= _EARLY_MODELS, 0.0
        is_doubtful = reason is Reason.LOSS and (
            is_early or not (findings.has_learned and self._offenders.has_offended(sender, now=now))
        )
        if is_doubtful:
            share, near = self._offenders.doubt(sender, now=now), self._settings.radius * median_distance
            share = share if math.isnan(near) else min(share, near / findings.distance)
        if arrival.age and not (
            is_doubtful and is_early
        ):  # age 0 claims nothing: it is how models are asked for
            weight = _DOUBTFUL_OFFENCE if is_doubtful else 1.0
            if self._offenders.offend(sender, weight=weight, now=now):
                self._evidence.forget(sender)
        return share

    def _limit(
        self,
        arrival: Arrival,
        findings: _Findings,
        admission: Admission,
        *,
        median_distance: float,
        is_first: bool,
    ) -> Admission:
        """Limit what is merged of a model to its sender's share, and to little of what nothing vouches for."""
        sender, now, is_plausible = arrival.sender, arrival.now, admission.reason == "plausible"
        name, credited = admission.reason, admission.age
        part = min(self._shares.take(sender, now=now), self._bursts.take(sender, now=now))
        if findings.repeats and self._evidence.has_quorum:
            part = min(part, _SMALL_PART)  # it was merged before
        is_echo = is_plausible and self._own_versions.are_echoed(
            findings.sample, size=arrival.received.shape[1], median_distance=median_distance
        )
        if is_echo or is_first:
            name = "echo" if is_echo else "first"
            part, credited = min(part, _SMALL_PART), min(credited, arrival.own_age)
        elif part < 1 and is_plausible:
            name = "share"
        is_at_rest = arrival.own_age == 0 or (is_first and self._first_models <= _LONGEST_WAIT[0])
        return Admission(
            reason=name,
            share=admission.share * part,
            age=credited,
            distance=admission.distance,
            is_surplus=part < 1 and not is_at_rest,
        )

    def _awaits_others(self, arrival: Arrival) -> bool:
        """Whether more senders are likely to be heard soon, so that a model can be compared with theirs."""
        if self._evidence.has_quorum or arrival.neighbours < _FEWEST_WITNESSES:
            return False
        if self._began is None:
            self._began = arrival.now
        self._first_models += 1
        models, seconds = _LONGEST_WAIT
        return self._first_models <= models or arrival.now - self._began < seconds


def _sampled(rows: Tensor) -> Tensor:
    """Give some coordinates of a row, always the same."""
    return rows[0, :: max(rows.shape[1] // _SAMPLED, 1)].clone()

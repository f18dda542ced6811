"""Decisions of one node on received models, and its memory of who sent what."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from gossipfl.algorithms.gate.admission import Admission, Claim
from gossipfl.algorithms.gate.echoes import OwnVersions
from gossipfl.algorithms.gate.evidence import Evidence, Testimony
from gossipfl.algorithms.gate.judgement import Reason
from gossipfl.algorithms.gate.offenders import Offence, Offenders
from gossipfl.algorithms.gate.shares import Contribution, Shares
from gossipfl.settings.gate import GateSettings

_DOUBTFUL_OFFENCE = 0.5
_SMALL_PART = 1 / 64  # of the way: of a model that nothing vouches for
_BURST, _IN_A_BURST = 8, 1.5  # merges, among which a sender may have so many times its share
_FEWEST_WITNESSES = 3
_LONGEST_WAIT = 32, 10.0  # models and seconds, whichever is longer, for the first senders to be heard
_EARLY_MODELS = 200  # before which honest models of other data may look bad again and again

__all__ = ["Decisions", "Findings"]


@dataclass(slots=True, kw_only=True)
class Findings:
    """What was found out about one received model."""

    distance: float
    angle: float
    own_norm: float
    norm: float
    peak: float
    sample: Tensor
    own_sample: Tensor
    credited: int = 0
    loss: float = math.nan
    largest_loss: float = math.nan
    has_learned: bool = True  # the node; looked at only if the loss is large
    repeats: int = 0
    unmoved: int = 0
    is_first: bool = False
    medians: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    median_peak: float = math.nan


class Decisions:
    """Decides on models as they arrive, from what was measured.

    Parameters
    ----------
    settings : GateSettings
    size : int
        Most senders that are remembered.
    """

    def __init__(self, settings: GateSettings | None = None, *, size: int = 256) -> None:
        self.settings = settings or GateSettings()
        self._size = size
        self._evidence = Evidence(size=size)
        self._offenders = Offenders(self.settings, size=size)
        self._judged = 0
        self._began: float | None = None
        self._first_models = 0
        self._own_versions = OwnVersions()
        fair_shares = self.settings.fair_shares
        self._shares = Shares(fair_shares=fair_shares, size=size)
        self._bursts = Shares(fair_shares=_IN_A_BURST * fair_shares, size=size, window=_BURST)

    def is_quarantined(self, sender: Hashable, *, now: float) -> bool:
        """Whether a sender is currently quarantined."""
        return self._offenders.is_quarantined(sender, now=now)

    def quarantined(self, *, now: float) -> list[Hashable]:
        """Senders that are currently quarantined."""
        return self._offenders.quarantined(now=now)

    def forget_comparisons(self) -> None:
        """Forget how models compared with the node's own, which is no longer the one they were compared with."""
        self._evidence = Evidence(size=self._size)
        self._own_versions = OwnVersions()
        self._began, self._first_models = None, 0

    def memory(self, samples: list[Tensor]) -> dict[str, Any]:
        """Return all that is remembered as values of JSON; the tensors they refer to are added to ``samples``."""

        def placed(sample: Tensor) -> int:
            samples.append(sample)
            return len(samples) - 1

        evidence = [
            (sender, {**_fields(each), "sample": placed(each.sample)})
            for sender, each in self._evidence.entries()
        ]
        return {
            "judged": self._judged,
            "began": self._began,
            "first_models": self._first_models,
            "evidence": evidence,
            "offenders": [(sender, _fields(each)) for sender, each in self._offenders.entries()],
            "shares": [(sender, _fields(each)) for sender, each in self._shares.entries()],
            "bursts": [(sender, _fields(each)) for sender, each in self._bursts.entries()],
            "own_versions": [placed(each) for each in self._own_versions.entries()],
        }

    def remember(self, memory: Mapping[str, Any], samples: Sequence[Tensor]) -> None:
        """Continue from a value of `memory`, after it was written as JSON, and its tensors."""
        self.forget_comparisons()
        self._judged, self._began = memory["judged"], memory["began"]
        self._first_models = memory["first_models"]
        self._evidence.restore(
            (sender, Testimony(**_with_sample(each, samples))) for sender, each in memory["evidence"]
        )
        self._offenders.restore((sender, Offence(**each)) for sender, each in memory["offenders"])
        for shares, name in ((self._shares, "shares"), (self._bursts, "bursts")):
            shares.restore((sender, Contribution(**each)) for sender, each in memory[name])
        for place in memory["own_versions"]:
            self._own_versions.note(samples[place])

    def begin(self, claim: Claim, findings: Findings) -> None:
        """Credit an age, as far as others support it."""
        settings = self.settings
        self._judged += 1
        self._evidence.expire(claim.now)
        findings.credited = self._evidence.supported_age(
            claim.age,
            own=claim.own_age,
            sender=claim.sender,
            now=claim.now,
            pace=settings.pace,
            slack=settings.age_slack,
        )

    def note_loss(self, claim: Claim, findings: Findings, *, loss: float, initial: float) -> bool:
        """Take note of the loss of a model's mean with the node's own; return whether it is too large."""
        evidence = self._evidence
        findings.loss, findings.largest_loss = loss, evidence.median_loss() + self.settings.loss * initial
        if not evidence.has_quorum and loss >= initial:
            # Nobody vouches for it, and it knows nothing.
            findings.credited = min(findings.credited, claim.own_age)
        return loss > findings.largest_loss

    def testify(self, claim: Claim, findings: Findings) -> None:
        """Compare a model with its sender's last, and let it vote in the judgement of others."""
        evidence = self._evidence
        if math.isfinite(findings.distance):
            findings.repeats, findings.unmoved = evidence.times_alike(
                claim.sender,
                findings.sample,
                findings.own_sample,
                version=claim.version,
                part=claim.part,
                claimed=claim.age,
                credited=findings.credited,
                bounds=self.settings,
            )
            last = evidence.last(claim.sender)
            evidence.note(
                claim.sender,
                Testimony(
                    distance=findings.distance,
                    angle=findings.angle,
                    norm=findings.norm,
                    loss=findings.loss,
                    sample=findings.sample,
                    version=claim.version,
                    part=claim.part,
                    repeats=findings.repeats,
                    unmoved=findings.unmoved,
                    claimed=claim.age,
                    age=findings.credited,
                    answers=(0 if last is None else last.answers) + claim.is_answer,
                    at=claim.now,
                    peak=findings.peak,
                ),
            )
        findings.is_first = self._awaits_others(claim)
        findings.medians = evidence.medians(own_norm=findings.own_norm)
        findings.median_peak = evidence.median_peak()

    def decide(
        self, claim: Claim, findings: Findings, reason: Reason, share: float, *, size: int
    ) -> Admission:
        """Decide on a model of ``size`` numbers that was judged."""
        median_distance = findings.medians[0]
        if reason.refuses:
            share = self._hold_against(claim, findings, reason, median_distance=median_distance)
        admission = Admission(
            reason=reason.name.lower(), share=share, age=findings.credited, distance=findings.distance
        )
        if share:
            admission = self._limit(claim, findings, admission, size=size)
        if claim.part is None:  # otherwise samples of two parts would be compared
            self._own_versions.note(findings.own_sample)
        return admission

    def _hold_against(
        self, claim: Claim, findings: Findings, reason: Reason, *, median_distance: float
    ) -> float:
        """Hold an implausible model against its sender; return the share of it that is merged all the same.

        Where data are much unlike, an honest model may look bad at first: then it is doubtful, and not refused.
        """
        sender, now = claim.sender, claim.now
        is_early, share = self._judged <= _EARLY_MODELS, 0.0
        is_doubtful = reason is Reason.LOSS and (
            is_early or not (findings.has_learned and self._offenders.has_offended(sender, now=now))
        )
        if is_doubtful:
            share, near = self._offenders.doubt(sender, now=now), self.settings.radius * median_distance
            share = share if math.isnan(near) else min(share, near / findings.distance)
        if claim.age and not (
            is_doubtful and is_early
        ):  # age 0 claims nothing: it is how models are asked for
            weight = _DOUBTFUL_OFFENCE if is_doubtful else 1.0
            if self._offenders.offend(sender, weight=weight, now=now):
                self._evidence.forget(sender)
        return share

    def _limit(self, claim: Claim, findings: Findings, admission: Admission, *, size: int) -> Admission:
        """Limit what is merged of a model to its sender's share, and to little of what nothing vouches for."""
        sender, now, is_plausible = claim.sender, claim.now, admission.reason == "plausible"
        name, credited = admission.reason, admission.age
        part = min(self._shares.take(sender, now=now), self._bursts.take(sender, now=now))
        if findings.repeats and self._evidence.has_quorum:
            part = min(part, _SMALL_PART)  # it was merged before
        is_echo = is_plausible and self._own_versions.are_echoed(
            findings.sample, size=size, median_distance=findings.medians[0]
        )
        if is_echo or findings.is_first:
            name = "echo" if is_echo else "first"
            part, credited = min(part, _SMALL_PART), min(credited, claim.own_age)
        elif part < 1 and is_plausible:
            name = "share"
        is_at_rest = claim.own_age == 0 or (findings.is_first and self._first_models <= _LONGEST_WAIT[0])
        return Admission(
            reason=name,
            share=admission.share * part,
            age=credited,
            distance=admission.distance,
            is_surplus=part < 1 and not is_at_rest,
        )

    def _awaits_others(self, claim: Claim) -> bool:
        """Whether more senders are likely to be heard soon, so that a model can be compared with theirs."""
        if self._evidence.has_quorum or claim.neighbours < _FEWEST_WITNESSES:
            return False
        if self._began is None:
            self._began = claim.now
        self._first_models += 1
        models, seconds = _LONGEST_WAIT
        return self._first_models <= models or claim.now - self._began < seconds


def _fields(value: Testimony | Offence | Contribution) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value)}


def _with_sample(values: Mapping[str, Any], samples: Sequence[Tensor]) -> dict[str, Any]:
    version = values["version"]
    return {
        **values,
        "sample": samples[values["sample"]],
        "version": None if version is None else tuple(version),
    }

"""The gatekeeper of one node: judges models as they arrive, and remembers who sent what."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.algorithms.gate.echoes import OwnVersions
from gossipfl.algorithms.gate.evidence import Evidence, Testimony
from gossipfl.algorithms.gate.judgement import LEARNED_LOSS_SHARE, Reason, compare, judge, limited
from gossipfl.algorithms.gate.shares import Shares
from gossipfl.settings.gate import GateSettings

_SAMPLED = 256
_DOUBTFUL_SHARE = 0.25
_DOUBTFUL_OFFENCE = 0.5
_YOUNG_SHARE = 1 / 16  # of the peer's own age
_A_MOMENT = 10.0
_SMALL_PART = 1 / 64  # of the way: of a model that nothing vouches for
_BURST, _IN_A_BURST = 8, 1.5  # merges, among which a sender may have so many times its share
_FEWEST_WITNESSES = 3
_LONGEST_WAIT = 32, 10.0  # models and seconds, whichever is longer, for the first senders to be heard
_EARLY_MODELS = 200  # before which honest models of other data may look bad again and again

__all__ = ["Admission", "Gatekeeper"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The gate's decision.

    Parameters
    ----------
    reason : str
        ``plausible``, ``far`` (clipped), ``share`` (its sender has more than its share of the merges), ``echo``
        (a model of the peer's own, handed back), ``first`` (others are still to be heard, to compare it with), or
        why it was refused: one of `Reason`, or ``quarantined``.
    share : float
        Share of the way to the received model that is allowed; 0 if it was refused.
    age : int
        The age that is credited.
    distance : float
        ‖y − x‖; NaN where it was not computed.
    is_surplus : bool
        Whether its sender has more than its share of the merges, or echoes. It must not set the pace of training:
        that many local steps between two models of others would undo what these bring.
    """

    reason: str
    share: float
    age: int
    distance: float = math.nan
    is_surplus: bool = False

    @property
    def is_refusal(self) -> bool:
        """Whether nothing of the model is taken."""
        return self.share == 0.0

    def apply(self, own: Tensor, received: Tensor) -> Tensor:
        """Give the row that is merged, ``[B, P]``."""
        return limited(own, received, torch.tensor([self.share], dtype=torch.float64))


@dataclass(slots=True)
class _Record:
    offences: float = 0.0
    noted_at: float = 0.0
    doubts: float = 0.0
    doubted_at: float = 0.0
    quarantines: int = 0
    until: float = float("-inf")


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
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._judged = 0
        self._began: float | None = None
        self._first_models = 0
        self._own_versions = OwnVersions()
        fair_shares = self._settings.fair_shares
        self._shares = Shares(fair_shares=fair_shares, size=size)
        self._bursts = Shares(fair_shares=_IN_A_BURST * fair_shares, size=size, window=_BURST)

    def is_quarantined(self, sender: str, *, now: float) -> bool:
        """Whether a sender is currently quarantined."""
        record = self._records.get(sender)
        return record is not None and record.until > now

    def quarantined(self, *, now: float) -> list[str]:
        """Senders that are currently quarantined."""
        return [sender for sender, record in self._records.items() if record.until > now]

    def admit(
        self,
        sender: str,
        *,
        own: Tensor,
        own_age: int,
        received: Tensor,
        age: int,
        now: float,
        version: tuple[int, int] | None = None,
        is_answer: bool = False,
        losses: Callable[[Tensor], tuple[float, float]] | None = None,
        neighbours: int = 0,
    ) -> Admission:
        """Judge one received model.

        Parameters
        ----------
        sender : str
            Proven identity.
        own, received : Tensor
            Shared parameters, shape ``[1, P]``.
        own_age, age : int
            Age of the peer's own model, and the claimed one.
        now : float
            Seconds, of a clock that does not jump.
        version : tuple of int, optional
            Which version of the sender's model it is; the same one again is neither news nor an offence.
        is_answer : bool, optional
            Whether this node has chosen the sender, and asked it.
        losses : callable, optional
            Returns the loss of a row on the peer's own samples, and that of the initial row.
        neighbours : int
            Number of neighbours that the node knows: whether there are enough to be heard before one is believed.

        Returns
        -------
        Admission
        """
        if self.is_quarantined(sender, now=now):
            return Admission(reason="quarantined", share=0.0, age=own_age)
        self._judged += 1
        self._evidence.expire(now)
        settings, evidence = self._settings, self._evidence
        comparison = compare(own, received)
        distance = float(comparison.distances[0])
        credited = evidence.supported_age(
            age, own=own_age, sender=sender, now=now, pace=settings.pace, slack=settings.age_slack
        )
        loss = largest = math.nan
        repeats = unmoved = 0
        has_learned, sample, own_sample = True, self._sampled(received), self._sampled(own)
        if math.isfinite(distance):
            if losses is not None and distance > 0:
                loss, initial = losses((own + received).div_(2))
                largest = evidence.median_loss() + settings.loss * initial
                if loss > largest:
                    has_learned = losses(own)[0] <= LEARNED_LOSS_SHARE * initial
                if not evidence.has_quorum and loss >= initial:
                    credited = min(credited, own_age)  # nobody vouches for it, and it knows nothing
            repeats, unmoved = evidence.times_alike(
                sender,
                sample,
                own_sample,
                version=version,
                claimed=age,
                credited=credited,
                bounds=settings,
            )
            last = evidence.last(sender)
            evidence.note(
                sender,
                Testimony(
                    distance=distance,
                    angle=float(comparison.angles[0]),
                    norm=float(comparison.norms[0]),
                    loss=loss,
                    sample=sample,
                    version=version,
                    repeats=repeats,
                    unmoved=unmoved,
                    claimed=age,
                    age=credited,
                    answers=(0 if last is None else last.answers) + is_answer,
                    at=now,
                ),
            )
        is_first = self._awaits_others(neighbours, now=now)
        medians = evidence.medians(own_norm=float(comparison.own_norms[0]))
        distances, angles, norms = (torch.tensor([each], dtype=torch.float64) for each in medians)
        judgement = judge(
            comparison,
            median_distances=distances,
            median_angles=angles,
            median_norms=norms,
            losses=torch.tensor([loss], dtype=torch.float64),
            largest_losses=torch.tensor([largest], dtype=torch.float64),
            # After a long absence it is this node that is apart: only others can tell.
            unmoved=torch.tensor([0 if is_first else unmoved]),
            young=torch.tensor([age <= _YOUNG_SHARE * own_age and own_age > 0]),
            bounds=settings,
        )
        reason, share = Reason(int(judgement.reasons[0])), float(judgement.shares[0])
        if reason.refuses:
            is_early = self._judged <= _EARLY_MODELS
            is_doubtful = reason is Reason.LOSS and (
                is_early or not (has_learned and self._has_offended(sender, now=now))
            )
            if is_doubtful:  # where data are much unlike, an honest model may look so at first
                near = settings.radius * medians[0] / distance
                share = self._doubt(sender, now=now)
                share = share if math.isnan(near) else min(share, near)
            if age and not (is_doubtful and is_early):  # age 0 claims nothing: it is how models are asked for
                self._offend(sender, weight=_DOUBTFUL_OFFENCE if is_doubtful else 1.0, now=now)
        name, is_surplus = reason.name.lower(), False
        if share:
            part = min(self._shares.take(sender, now=now), self._bursts.take(sender, now=now))
            if repeats and evidence.has_quorum:
                part = min(part, _SMALL_PART)  # it was merged before
            is_echo = reason is Reason.PLAUSIBLE and self._own_versions.are_echoed(
                sample, size=received.shape[1], median_distance=float(medians[0])
            )
            if is_echo or is_first:
                name = "echo" if is_echo else "first"
                part, credited = min(part, _SMALL_PART), min(credited, own_age)
            elif part < 1 and reason is Reason.PLAUSIBLE:
                name = "share"
            is_at_rest = own_age == 0 or (is_first and self._first_models <= _LONGEST_WAIT[0])
            share, is_surplus = share * part, part < 1 and not is_at_rest
        self._own_versions.note(own_sample)
        return Admission(reason=name, share=share, age=credited, distance=distance, is_surplus=is_surplus)

    def forget_comparisons(self) -> None:
        """Forget how models compared with the node's own, which is no longer the one they were compared with."""
        self._evidence = Evidence(size=self._size)
        self._own_versions = OwnVersions()
        self._began, self._first_models = None, 0

    def _awaits_others(self, neighbours: int, *, now: float) -> bool:
        """Whether more senders are likely to be heard soon, so that a model can be compared with theirs."""
        if self._evidence.has_quorum or neighbours < _FEWEST_WITNESSES:
            return False
        if self._began is None:
            self._began = now
        self._first_models += 1
        models, seconds = _LONGEST_WAIT
        return self._first_models <= models or now - self._began < seconds

    def _sampled(self, rows: Tensor) -> Tensor:
        """Give some coordinates of a row, always the same."""
        return rows[0, :: max(rows.shape[1] // _SAMPLED, 1)].clone()

    def _has_offended(self, sender: str, *, now: float) -> bool:
        """Whether a sender was refused recently, or has ever been quarantined."""
        record = self._records.get(sender)
        if record is None:
            return False
        return record.quarantines > 0 or (record.offences > 0 and now - record.noted_at < _A_MOMENT)

    def _doubt(self, sender: str, *, now: float) -> float:
        """Return the share of the way that a doubtful model is merged: half of the last doubtful one's."""
        record = self._record_of(sender, now=now)
        faded = (now - record.doubted_at) / _A_MOMENT
        doubts = max(record.doubts - faded, 0.0)
        record.doubts, record.doubted_at = doubts + 1, now
        return float(max(_DOUBTFUL_SHARE * 2.0**-doubts, _SMALL_PART))

    def _record_of(self, sender: str, *, now: float) -> _Record:
        record = self._records.setdefault(sender, _Record(noted_at=now, doubted_at=now))
        self._records.move_to_end(sender)
        if len(self._records) > self._size:
            self._records.popitem(last=False)
        return record

    def _offend(self, sender: str, *, weight: float, now: float) -> None:
        settings = self._settings
        record = self._record_of(sender, now=now)
        forgiven = (now - record.noted_at) / settings.forgiveness
        record.offences = max(record.offences - forgiven, 0.0) + weight
        record.noted_at = now
        if record.offences >= settings.offences:
            length = settings.quarantine * 2.0**record.quarantines
            record.until = now + min(length, settings.longest_quarantine)
            record.quarantines += 1
            record.offences = 0.0
            self._evidence.forget(sender)

"""Evidence about neighbours: properties of each one's last models, one vote each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

from torch import Tensor

from gossipfl.recent import RecentMap
from gossipfl.settings.gate import GateSettings

__all__ = ["Evidence", "Testimony"]

_INFLATED = 4
# Those that answered this node, which chose them at random: they cannot become many by pushing more often.
_ANSWERS = 2
_LEAST_ANSWERERS = 4
_PART_OF_OTHERS = 0.2  # of all votes on ages, if enough have answered
_QUORUM = 3
"""Number of votes, including the peer's own, from which the median outvotes a single liar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """Last model of one neighbour.

    Parameters
    ----------
    distance, angle, norm : float
        Distance to the peer's own model at the time, 1 − cos of the angle between the two, and the model's norm.
    loss : float
        Loss of its mean with the peer's own model, on the peer's own samples; NaN if it was not computed.
    sample : Tensor
        Some coordinates of the model, ``[K]``.
    version : tuple of int or None
        Which version of the sender's model it was.
    part : int or None
        Which part of it, if it was not whole.
    repeats, unmoved : int
        How often in a row the sender had not moved, and how often it claimed a newer model nevertheless.
    claimed, age : int
        The age that was claimed, and what was credited.
    answers : int
        Number of exchanges begun by this node that the neighbour has answered.
    at : float
        Time of its arrival, in seconds.
    peak : float
        Largest difference from the peer's own model in any one number; 0 if it was not looked for.
    """

    distance: float
    angle: float
    norm: float
    loss: float
    sample: Tensor
    version: tuple[int, int] | None
    part: int | None = None
    repeats: int
    unmoved: int
    claimed: int
    age: int
    answers: int
    at: float
    peak: float = 0.0

    @property
    def is_answerer(self) -> bool:
        """Whether it has answered several times, when this node asked it."""
        return self.answers >= _ANSWERS


class Evidence:
    """Testimonies of neighbours, bounded in number and in time.

    Parameters
    ----------
    size : int
        Most neighbours remembered; whoever was heard least recently is forgotten first.
    lifetime : float
        Seconds after which a testimony no longer counts.
    """

    def __init__(self, *, size: int = 64, lifetime: float = 600.0) -> None:
        self._lifetime = lifetime
        self._last: RecentMap[Hashable, Testimony] = RecentMap(size)

    def __len__(self) -> int:
        return len(self._last)

    @property
    def has_quorum(self) -> bool:
        """Whether a single liar would be outvoted."""
        return len(self._last) >= _QUORUM

    def note(self, sender: Hashable, testimony: Testimony) -> None:
        """Take a neighbour's newest testimony in the place of its last."""
        self._last[sender] = testimony

    def last(self, sender: Hashable) -> Testimony | None:
        """Give a neighbour's last testimony."""
        return self._last.get(sender)

    def forget(self, sender: Hashable) -> None:
        """Drop a neighbour's votes: it is quarantined."""
        self._last.pop(sender, None)

    def expire(self, now: float) -> None:
        """Drop testimonies older than their lifetime."""
        while self._last:
            sender, oldest = next(iter(self._last.items()))
            if oldest.at + self._lifetime >= now:
                return
            del self._last[sender]

    def entries(self) -> list[tuple[Hashable, Testimony]]:
        """Return all testimonies with their senders, the oldest first."""
        return list(self._last.items())

    def restore(self, entries: Iterable[tuple[Hashable, Testimony]]) -> None:
        """Continue from a value of `entries`."""
        self._last.restore(entries)

    def medians(self, *, own_norm: float) -> tuple[float, float, float]:
        """Give the median of distances, the lower quartile of 1 − cos, the median of norms; NaN without a quorum.

        One's own norm votes with the norms. A quarter of the angles is no larger than theirs: if it is the node
        that has been turned away, all are large, and many that oppose it cannot make their kind seem usual.
        """
        votes = list(self._last.values())
        norm = median([own_norm, *(each.norm for each in votes)])
        if not self.has_quorum:
            return float("nan"), float("nan"), norm if len(votes) >= _QUORUM - 1 else float("nan")
        angles = sorted(each.angle for each in votes)
        return median([each.distance for each in votes]), angles[(len(angles) - 1) // 4], norm

    def median_peak(self) -> float:
        """Return the median of the largest differences in one number; NaN without a quorum."""
        return median([each.peak for each in self._last.values()]) if self.has_quorum else float("nan")

    def median_loss(self) -> float:
        """Return the median of the losses of neighbours' models with the peer's own; 0 while there are none."""
        return median([each.loss for each in self._last.values() if each.loss == each.loss] or [0.0])

    def times_alike(
        self,
        sender: Hashable,
        sample: Tensor,
        own_sample: Tensor,
        *,
        version: tuple[int, int] | None,
        part: int | None = None,
        claimed: int,
        credited: int,
        bounds: GateSettings,
    ) -> tuple[int, int]:
        """Count how often in a row a sender's model had not moved, this time included, and was called newer.

        An age far beyond any support is taken for a claim that the model is newer each time it comes. Different
        parts of a model say nothing of each other.
        """
        last = self._last.get(sender)
        if last is None or last.part != part:
            return 0, 0
        if version is not None and version == last.version:
            return last.repeats, last.unmoved
        moved, apart = float((sample - last.sample).norm()), float((sample - own_sample).norm())
        matters = apart > bounds.unmoved_distance * float(own_sample.norm())
        if not matters or moved >= bounds.unmoved * apart:
            return 0, 0
        is_newer = claimed > last.claimed or claimed > _INFLATED * (credited + bounds.age_slack)
        return last.repeats + 1, last.unmoved + is_newer

    def supported_age(
        self, claimed: int, *, own: int, sender: Hashable, now: float, pace: float, slack: int
    ) -> int:
        """Credit a claimed age as far as others support it.

        With a quorum, at most a little over the third quartile of the others' ages or over the node's own age, so
        that a quarter of them may lie without effect. Once several have answered this node repeatedly, all others
        together have a fifth of the votes, and are credited no more than that quartile: identities used once can
        neither hold ages back nor drive them up. Without a quorum, at most what the fastest plausible pace
        explains since the sender was last heard.

        Parameters
        ----------
        claimed : int
        own : int
            Age of the peer's own model.
        sender : hashable
        now : float
            Seconds.
        pace : float
            Most training steps a second that are plausible.
        slack : int
            Training steps above the third quartile that are credited; fewer where all are young, since a few steps
            decide there whose model counts.

        Returns
        -------
        int
        """
        others = [each for name, each in self._last.items() if name != sender]
        last = self._last.get(sender)
        if len(others) + 1 >= _QUORUM:
            answerers = sum(each.is_answerer for each in others)
            is_stranger = answerers >= _LEAST_ANSWERERS and not (last is not None and last.is_answerer)
            supported = _third_quartile(own, others, answerers=answerers)
            beyond = 0 if is_stranger else _at_most(slack, beyond=supported)
            return min(claimed, max(own, supported + beyond))
        if last is None:
            supported = max([own, *(each.age for each in others)])
            return min(claimed, supported + _at_most(int(pace), beyond=supported))
        return min(claimed, max(own, last.age) + int(pace * max(now - last.at, 0.0)))


def _at_most(steps: int, *, beyond: int) -> int:
    return min(steps, 1 + beyond // 4)


def _third_quartile(own: int, others: Sequence[Testimony], *, answerers: int) -> int:
    """Return the third quartile of ages, to which strangers contribute a fifth at most if there are answerers."""
    strangers, weight = len(others) - answerers, 1.0
    if answerers >= _LEAST_ANSWERERS and strangers:
        weight = min(1.0, _PART_OF_OTHERS / (1 - _PART_OF_OTHERS) * (answerers + 1) / strangers)
    votes = sorted([(own, 1.0), *((each.age, 1.0 if each.is_answerer else weight) for each in others)])
    below = 0.75 * (sum(each for _, each in votes) - 1)
    reached = list(accumulate(each for _, each in votes))
    return votes[bisect_right(reached, below)][0]

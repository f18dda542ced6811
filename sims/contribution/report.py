"""The report on a scenario's participants: who gave what, who gained, and why some do not."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from sims.contribution.flags import Found
from sims.metrics.gains import GainFairness

__all__ = ["ContributionReport", "Participant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """One participant; measures are the better the higher, so losses have their sign changed.

    Parameters
    ----------
    number : int
        Of the node.
    name : str
    samples : int
    honest : bool
    alone, together : float
        Its model after training alone, and after learning with the others, for as many steps.
    gain, gain_low, gain_high : float
        The difference, and its interval over test samples.
    better_in : int
        Repeats in which it gained.
    leave_one_out : float
        What all together would lose without it.
    shapley, shapley_low, shapley_high : float
        Its Shapley value, and the interval over permutations or repeats.
    gave, received : float or None
        Gain of the others that is due to it, and its own gain that is due to others, both as Shapley values of
        each one's own game; known where all coalitions were simulated.
    online : float
        Online estimate: how much one merge of its model lowers a neighbour's loss, on average over neighbours and
        moments; NaN where that was not measured.
    label_distance, input_distance, label_noise : float
        As in `DataTraits`.
    reasons : tuple of str
        What sets its data apart, and who else stands out, if it does not gain.
    flags : tuple of str
        What stands out: a free rider, a duplicate, wrong labels (`sims.contribution.flags`).
    """

    number: int
    name: str
    samples: int
    honest: bool
    alone: float
    together: float
    gain: float
    gain_low: float
    gain_high: float
    better_in: int
    leave_one_out: float
    shapley: float
    shapley_low: float
    shapley_high: float
    gave: float | None
    received: float | None
    online: float
    label_distance: float
    input_distance: float
    label_noise: float
    reasons: tuple[str, ...]
    flags: tuple[str, ...]

    @property
    def is_worse_off(self) -> bool:
        """Whether it has less than alone, beyond chance."""
        return self.gain_high < 0


@dataclass(frozen=True, kw_only=True)
class ContributionReport:
    """Who gave what, and who gained.

    Parameters
    ----------
    scenario : str
        Name.
    metric : str
    value : str
        What a coalition is worth, as in `LearningGame`.
    repeats : int
    coalitions, rows : int
        Simulated in each repeat: different coalitions, and rows of all of them side by side.
    exact : bool
        Whether all coalitions were simulated.
    permutations : int
    nobody, everybody : float
        Values of the coalition of nobody and of all; Shapley values share out their difference.
    participants : tuple of Participant
    who_gave_whom : tuple of tuple of float, optional
        Row j: what each participant gave to j, as Shapley values of j's own game; a row adds up to j's gain.
    online_and_left_out : float
        Rank correlation of online estimates with what is lost without each honest one.
    online_and_shapley : float
        Rank correlation of online estimates and Shapley values of the honest; NaN where there are none.
    online_and_gave : float
        The same with what each gave to others.
    fairness : GainFairness
    found : dict of str to Found
        Of a scenario with planted participants: how many of each kind were found, over all repeats.
    """

    scenario: str
    metric: str
    value: str
    repeats: int
    coalitions: int
    rows: int
    exact: bool
    permutations: int
    nobody: float
    everybody: float
    participants: tuple[Participant, ...]
    who_gave_whom: tuple[tuple[float, ...], ...] | None
    online_and_left_out: float
    online_and_shapley: float
    online_and_gave: float
    fairness: GainFairness
    found: dict[str, Found]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, None in place of NaN."""
        values: dict[str, Any] = _plain(asdict(self))
        return values


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

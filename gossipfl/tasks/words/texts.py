"""Texts of many people, each in the order of time: what sources give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Texts", "Utterance"]


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something that a person wrote or said.

    Parameters
    ----------
    user : str
    time : float
        Orders the utterances of one user; where two are alike, their order in the source does.
    text : str
    """

    user: str
    time: float
    text: str


@dataclass(frozen=True)
class Texts:
    """What each of several users wrote.

    Parameters
    ----------
    of_user : mapping of str to tuple of str
        Each user's texts, the earliest first; users in the order of their names.
    skipped : mapping of str to int
        Why parts of a source were left out, and how many.
    """

    of_user: Mapping[str, tuple[str, ...]]
    skipped: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, utterances: Iterable[Utterance], skipped: Counter[str] | None = None) -> Texts:
        """Gather utterances by user, and put them in the order of time."""
        gathered: dict[str, list[Utterance]] = {}
        for utterance in utterances:
            gathered.setdefault(utterance.user, []).append(utterance)
        ordered = {
            user: tuple(said.text for said in sorted(gathered[user], key=lambda said: said.time))
            for user in sorted(gathered)
        }
        return cls(ordered, dict(sorted((skipped or Counter()).items())))

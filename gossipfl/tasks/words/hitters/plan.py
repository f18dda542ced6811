"""Plans for agreeing on words: what all members know before anybody tells a count, and what noise follows."""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_left
from collections import Counter
from copy import copy
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from statistics import NormalDist
from typing import Final

from gossipfl.errors import SettingError
from gossipfl.privacy.gaussian import largest_shift
from gossipfl.statistics import MOST_MEMBERS
from gossipfl.tasks.words.vocabulary import SPECIAL, frequent_words

__all__ = ["END", "LARGEST_ROUND", "WordPlan"]

END: Final = "."
"""Stands behind the last letter of a word in the prefix tree; no letter of any alphabet."""

LARGEST_ROUND: Final = 8_000
"""Most counts of one round."""

_FEWEST_OTHERS: Final = 3
_LISTED: Final = 6_000
_LETTERS: Final = 48
_LEAST_WORDS_OF_A_LETTER: Final = 3
_MISTAKE: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class WordPlan:
    """Everything that members must have in common to agree on words.

    Counts of a round are sums of what each member adds: 0 or 1, and a share of Gaussian noise. A member adds 1
    to at most ``offered`` words of the public list, once, and to at most ``own`` nodes of the prefix tree in
    each of ``rounds``. So all its words together move all counts by at most √(offered + own · rounds), and the
    noise is such that all of them are (ε, δ)-private for a member, against as many ``colluding`` others as
    subtract their shares.

    Parameters
    ----------
    members : int
        How many take part.
    language : str
        Of the public list.
    words : int
        Of the vocabulary to be made, five of them special.
    room : int
        Places in it for words that are agreed upon.
    offered, own : int
        Most words of one member that the public list has, and that it lacks.
    rounds : int
        Of the prefix tree, which is also the most letters of a word that the list lacks.
    least : int
        k: a word that fewer members use is not found, but for a chance of 10⁻⁹ in a whole run.
    epsilon, delta : float
        Of everything that a member tells; δ is ``members`` to the power of −1.1 unless given.
    colluding : int
        Members that may pool what they know; a third of them unless given.

    Raises
    ------
    SettingError
        A number is out of range, or the noise is such that no word could be found.
    """

    members: int
    language: str = "en"
    words: int = 5_000
    room: int = 500
    offered: int = 24
    own: int = 2
    rounds: int = 12
    least: int = 3
    epsilon: float = 8.0
    delta: float = 0.0
    colluding: int = -1

    def __post_init__(self) -> None:
        given = copy(self)
        if self.delta == 0.0:
            object.__setattr__(self, "delta", self.members**-1.1)
        if self.colluding == -1:
            object.__setattr__(self, "colluding", (self.members - 1) // 3)
        limits = {
            "members": (self.members, _FEWEST_OTHERS + 1, MOST_MEMBERS),
            "words": (self.words, len(SPECIAL) + 1, 2**17),
            "room": (self.room, 1, self.words - len(SPECIAL)),
            "offered": (self.offered, 0, 1_000),
            "own": (self.own, 0, 1_000),
            "rounds": (self.rounds, 1, 40),
            "least": (self.least, 2, self.members),
            "colluding": (self.colluding, 0, self.members - _FEWEST_OTHERS),
        }
        for name, (value, least, most) in limits.items():
            if not least <= value <= most:
                expected = f"{least} to {most}{' members' if name == 'members' else ''}"
                raise SettingError(f"{name}: words cannot be agreed upon so", expected=expected, got=value)
        if not self.offered + self.own:
            raise SettingError("offered, own: no member offers any word", expected="one of them above 0")
        if not (self.epsilon > 0 and math.isfinite(self.epsilon) and 0 < self.delta < 1):
            raise SettingError(
                "words are agreed upon with noise of a stated guarantee (ε, δ)",
                expected="ε above 0, and δ between 0 and 1",
                got=f"{self.epsilon} and {self.delta:g}",
            )
        if self.threshold > self.members:
            raise SettingError(
                f"no word could be found: with this noise a count must come to {self.threshold:.1f}, of at most "
                f"{self.members} members",
                expected="more members, fewer words of each, or a larger ε",
                got=f"ε = {self.epsilon:g}, δ = {self.delta:.2g}, {self.touches} counts of each member",
                remedy=f"It takes {_enough(given)}, or {_enough(given, offered=8, own=1, rounds=8)} with "
                "--offered 8 --own 1 --rounds 8. Or keep the public list: --option vocabulary="
                f"{self.language}.",
            )

    @property
    def touches(self) -> int:
        """Most counts to which a member adds 1, in all rounds together."""
        return self.offered + self.own * self.rounds

    @property
    def shift(self) -> float:
        """Shift of all releases together in deviations of their noise, μ of Gaussian differential privacy."""
        return largest_shift(self.epsilon, self.delta)

    @property
    def share(self) -> float:
        """Deviation of the noise that each member adds to each count.

        Those of all members but the colluding ones make the noise that the guarantee takes.
        """
        return math.sqrt(self.touches / (self.members - self.colluding)) / self.shift

    @property
    def noise(self) -> float:
        """Deviation of the noise of all members together."""
        return self.share * math.sqrt(self.members)

    @property
    def threshold(self) -> float:
        """Count from which on a node is followed, and a word found: k, and more than noise ever adds."""
        return self.least + _quantile(_MISTAKE / (LARGEST_ROUND * (self.rounds + 1))) * self.noise

    @cached_property
    def listed(self) -> tuple[str, ...]:
        """The public list, the most frequent word first."""
        return _frequent(self.language, self.words - len(SPECIAL) + _LISTED)

    @property
    def base(self) -> tuple[str, ...]:
        """Words of the list that the vocabulary has whatever is agreed upon."""
        return self.listed[: self.words - len(SPECIAL) - self.room]

    @property
    def candidates(self) -> tuple[str, ...]:
        """Words of the list that members may offer."""
        return self.listed[len(self.base) :][:_LISTED]

    @cached_property
    def alphabet(self) -> str:
        """Letters of the prefix tree: those of the list, but for the rarest, in the order of their codes."""
        holding = Counter(letter for word in self.listed for letter in set(word))
        common = [letter for letter, words in holding.items() if words >= _LEAST_WORDS_OF_A_LETTER]
        return "".join(sorted(sorted(common, key=lambda letter: (-holding[letter], letter))[:_LETTERS]))

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of all parameters and of the list, length 32: what all members must have in common."""
        return hashlib.sha256(json.dumps([asdict(self), self.listed], sort_keys=True).encode()).digest()

    def vocabulary(self, found: tuple[str, ...]) -> tuple[str, ...]:
        """Words of the vocabulary: the base, as many of those found as there is room for, and more of the list."""
        kept = (*self.base, *found[: self.room])
        rest = (word for word in self.listed[len(self.base) :] if word not in set(kept))
        return (*kept, *rest)[: self.words - len(SPECIAL)]


def _enough(given: WordPlan, **fewer: int) -> str:
    """Say how many members it takes to find any word, with a plan as it was given but for some numbers."""
    tried = copy(given)

    def finds(members: int) -> bool:
        colluding = (members - 1) // 3 if given.colluding == -1 else given.colluding
        delta = given.delta or members**-1.1
        for name, value in {**fewer, "members": members, "colluding": colluding, "delta": delta}.items():
            object.__setattr__(tried, name, value)
        return tried.threshold <= members

    members = bisect_left(range(MOST_MEMBERS + 1), True, lo=given.members, key=finds)  # noqa: FBT003
    return f"{members} members" if members <= MOST_MEMBERS else "more members than there can be"


_frequent = lru_cache(maxsize=4)(frequent_words)


def _quantile(chance: float) -> float:
    """Deviations that a standard normal number exceeds with this probability."""
    return -NormalDist().inv_cdf(chance)

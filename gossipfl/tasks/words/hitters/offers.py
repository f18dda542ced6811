"""Words that a member offers: the bounded choice of its own, of which others learn nothing but noisy counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gossipfl.tasks.words.hitters.plan import WordPlan
from gossipfl.tasks.words.normalise import lowered, sentences

__all__ = ["Offer", "offer_of"]

_LEAST_USES: Final = 2


@dataclass(frozen=True, slots=True)
class Offer:
    """Words of one member, at most as many as the plan says.

    Parameters
    ----------
    listed, own : tuple of str
        Those that the public list has, and those that it lacks; never shown by ``repr``.
    """

    listed: tuple[str, ...] = field(repr=False)
    own: tuple[str, ...] = field(repr=False)


def offer_of(uses: Mapping[str, int], plan: WordPlan) -> Offer:
    """Choose the words that somebody uses most, among those that the vocabulary may lack.

    Parameters
    ----------
    uses : mapping of str to int
        How often each word was written, as it was written.

    Returns
    -------
    Offer
        Words written twice or more, in lower case. Of those that the list lacks, words that the prefix tree has
        letters and rounds for.
    """
    counts: dict[str, int] = {}
    for word, count in uses.items():
        counts[lowered(word)] = counts.get(lowered(word), 0) + count
    counts.pop("", None)
    order = sorted(
        (word for word, count in counts.items() if count >= _LEAST_USES),
        key=lambda word: (-counts[word], word),
    )
    base, candidates, letters = set(plan.base), set(plan.candidates), set(plan.alphabet)
    own = (
        word
        for word in order
        if word not in base
        and word not in candidates
        and len(word) <= plan.rounds
        and letters.issuperset(word)
        and sentences(word) == [[word]]
    )
    return Offer(
        listed=tuple([word for word in order if word in candidates][: plan.offered]),
        own=tuple(own)[: plan.own],
    )

"""Rounds of agreeing on words, on rows ``[B, counts]``: what members add, and what noisy sums tell all.

The first round counts the words of a public list that members offer, and the first letters of words that it
lacks. Each further round follows the beginnings whose count came to the threshold by another letter or two,
until words end.

References
----------
Zhu, Kairouz, McMahan, Sun and Li, "Federated heavy hitters discovery with differential privacy", AISTATS 2020:
rounds on a prefix tree, in which as many votes as a threshold let a beginning live. There, privacy comes from
sampling voters and from the threshold, and takes thousands of them; here it comes from noise in masked sums, as
groups are small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gossipfl.errors import MalformedStatement
from gossipfl.tasks.words.hitters.offers import Offer
from gossipfl.tasks.words.hitters.plan import END, LARGEST_ROUND, WordPlan
from gossipfl.tasks.words.normalise import sentences

__all__ = ["Round", "agreed", "counted", "first_round", "following", "noisy_counts"]

_GRID: Final = 2.0**16  # of a count: integers that sum up to 2**15 members and more noise than there ever is
_MOST_LETTERS: Final = 2


@dataclass(frozen=True)
class Round:
    """A round, and what was found before it.

    Parameters
    ----------
    plan : WordPlan
    number : int
        From 1.
    listed : tuple of str
        Words that are counted whole.
    nodes : tuple of str
        Nodes of the prefix tree; words that end there end with `END`. None is the beginning of another.
    found : mapping of str to float
        Noisy count of each word found.
    """

    plan: WordPlan
    number: int
    listed: tuple[str, ...]
    nodes: tuple[str, ...]
    found: dict[str, float] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many counts it has."""
        return len(self.listed) + len(self.nodes)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to count."""
        return not self.size

    def result(self) -> tuple[str, ...]:
        """Words found, the most counted first; equal ones by name."""
        return tuple(sorted(self.found, key=lambda word: (-self.found[word], word)))


def first_round(plan: WordPlan) -> Round:
    """Return the round that a run begins with."""
    listed = plan.candidates if plan.offered else ()
    nodes = _extensions(("",), plan.alphabet, LARGEST_ROUND - len(listed)) if plan.own else ()
    return Round(plan, 1, listed, nodes)


def counted(offers: Sequence[Offer], now: Round) -> NDArray[np.float64]:
    """Return what each member adds to the counts of a round.

    Parameters
    ----------
    offers : sequence of Offer, length B

    Returns
    -------
    ndarray, shape ``[B, counts]``
        0 or 1. A row has at most ``offered`` ones among the listed words, and ``own`` among the nodes, whatever
        is offered.
    """
    rows = np.zeros((len(offers), now.size))
    listed = {word: place for place, word in enumerate(now.listed)}
    nodes = {node: place for place, node in enumerate(now.nodes, len(now.listed))}
    plan = now.plan
    for row, offer in zip(rows, offers, strict=True):
        for word in offer.listed[: plan.offered]:
            if word in listed:
                row[listed[word]] = 1
        for word in offer.own[: plan.own]:
            for beginning in accumulate(word + END):
                if beginning in nodes:
                    row[nodes[beginning]] = 1
                    break
    return rows


def noisy_counts(
    rows: NDArray[np.float64], plan: WordPlan, normals: Callable[[int, int], NDArray[np.float64]]
) -> NDArray[np.int64]:
    """Add each member's share of noise to its counts, in units of 2⁻¹⁶.

    Parameters
    ----------
    rows : ndarray, shape ``[B, counts]``
        Of `counted`.
    normals : callable
        Returns standard normal numbers ``[B, counts]``; in a peer, of a secret.

    Returns
    -------
    ndarray, shape ``[B, counts]``, int64
    """
    noisy = rows + plan.share * normals(*rows.shape)
    return np.rint(noisy * _GRID).astype(np.int64)


def following(now: Round, sums: NDArray[np.int64]) -> Round:
    """Return the next round, with the words that this one has found.

    Parameters
    ----------
    sums : ndarray, shape ``[counts]``, int64
        Of all members' noisy counts, in units of 2⁻¹⁶.

    Raises
    ------
    MalformedStatement
        No members have these counts: one of them lied.
    """
    plan, counts = now.plan, sums / _GRID
    slack = plan.threshold - plan.least
    if len(sums) != now.size or (counts < -slack).any() or (counts > plan.members + slack).any():
        raise MalformedStatement(
            f"no members have the counts of round {now.number}: one of them told what nobody can have counted",
            expected=f"{now.size} counts between {-slack:.1f} and {plan.members + slack:.1f}",
        )
    listed = _reached(now.listed, counts[: len(now.listed)], plan.threshold)
    nodes = _reached(now.nodes, counts[len(now.listed) :], plan.threshold)
    ended = {node[:-1]: count for node, count in nodes.items() if node.endswith(END)}
    words = {word: count for word, count in ended.items() if sentences(word) == [[word]]}
    alive = sorted((node for node in nodes if not node.endswith(END)), key=lambda node: (-nodes[node], node))
    below = _extensions(alive, plan.alphabet, LARGEST_ROUND) if now.number < plan.rounds else ()
    return Round(plan, now.number + 1, (), below, now.found | listed | words)


def agreed(
    offers: Sequence[Offer], plan: WordPlan, normals: Callable[[int, int], NDArray[np.float64]]
) -> Round:
    """Return the last round of a run of all members at once, for simulations.

    Parameters
    ----------
    offers : sequence of Offer
        Of all members.
    normals : callable
        As for `noisy_counts`; called once for each member and round.
    """
    now = first_round(plan)
    while not now.is_over:
        sums = np.zeros(now.size, dtype=np.int64)
        for offer in offers:
            sums += noisy_counts(counted([offer], now), plan, normals)[0]
        now = following(now, sums)
    return now


def _reached(names: Sequence[str], counts: NDArray[np.float64], threshold: float) -> dict[str, float]:
    return {name: float(count) for name, count in zip(names, counts, strict=True) if count >= threshold}


def _extensions(beginnings: Sequence[str], alphabet: str, most: int) -> tuple[str, ...]:
    """Nodes below some beginnings: by as many letters as there is room for, or of as many of the first ones."""
    letters = _MOST_LETTERS
    while letters > 1 and len(beginnings) * _nodes_below(len(alphabet), letters) > most:
        letters -= 1
    ends = [
        *("".join(some) + END for length in range(letters) for some in product(alphabet, repeat=length)),
        *("".join(some) for some in product(alphabet, repeat=letters)),
    ]
    kept = beginnings[: most // len(ends)]
    return tuple(begun + end for begun in kept for end in ends)


def _nodes_below(alphabet: int, letters: int) -> int:
    return sum(alphabet**length for length in range(letters + 1))

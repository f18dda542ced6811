"""Vocabularies agreed on by noisy counts: which words are found, of those that many use, and at which cost.

``python -m benchmarks.keyboard_words`` takes the users of a corpus with most text as members, lets each offer its words,
and finds those that many use with the functions that peers call. Each line is one run: how many words at least as many
members use as the threshold, how many of these were found, how many of the others, and how many of the vocabulary's
words the users write; the bytes that a member tells in all rounds, and the CPU time of all members together.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from gossipfl.errors import SettingError
from gossipfl.keyboard.offering import uses_of
from gossipfl.tasks.words.hitters import (
    Offer,
    Round,
    WordPlan,
    counted,
    first_round,
    following,
    noisy_counts,
    offer_of,
)
from gossipfl.tasks.words.next_word import find_texts, find_vocabulary, users_with_most
from gossipfl.tasks.words.normalise import lowered


def found_by(offers: list[Offer], plan: WordPlan, generator: np.random.Generator) -> tuple[Round, list[int]]:
    """The last round of a run, and how many counts each had."""

    def normals(members: int, counts: int) -> NDArray[np.float64]:
        return generator.standard_normal((members, counts))

    now, sizes = first_round(plan), []
    while not now.is_over:
        sizes.append(now.size)
        sums = sum(noisy_counts(counted([offer], now), plan, normals)[0] for offer in offers)
        now = following(now, np.asarray(sums))
    return now, sizes


def known(uses: list[Counter[str]], words: tuple[str, ...]) -> float:
    """Share of all written words that a vocabulary has."""
    inside = set(words)
    counts = [(lowered(word) in inside, count) for each in uses for word, count in each.items()]
    return sum(count for is_in, count in counts if is_in) / sum(count for _, count in counts)


def main() -> None:
    """Print a line for each number of members."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--text", default="shakespeare")
    parser.add_argument("--members", type=int, nargs="+", default=[40, 100, 250])
    parser.add_argument("--words", type=int, default=1000)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[2.0, 8.0])
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    texts = find_texts(chosen.text).of_user
    print(
        "| members | ε | δ | a count must come to | used by so many | found | others found | of the list | "
        "known, public list | known, agreed | told, kB | CPU, s |\n" + "|---" * 12 + "|",
        flush=True,
    )
    for members in chosen.members:
        uses = [uses_of(texts[name]) for name in users_with_most(texts, users=members)]
        for epsilon in chosen.epsilon:
            try:
                plan = WordPlan(members=members, words=chosen.words, room=chosen.words // 10, epsilon=epsilon)
            except SettingError as error:
                print(f"{members} members, ε = {epsilon:g}: {error}")
                continue
            began = time.process_time()
            offers = [offer_of(each, plan) for each in uses]
            now, sizes = found_by(offers, plan, np.random.default_rng(chosen.seed))
            seconds = time.process_time() - began
            told = Counter(word for offer in offers for word in (*offer.listed, *offer.own))
            heavy = {word for word, count in told.items() if count >= plan.threshold}
            found = set(now.found)
            public = find_vocabulary("en", chosen.words).words
            cells = (
                *(members, f"{epsilon:g}", f"{plan.delta:.2g}", f"{plan.threshold:.1f}", len(heavy)),
                *(len(found & heavy), len(found - heavy), len(found & set(plan.candidates))),
                f"{100 * known(uses, public):.2f} %",
                f"{100 * known(uses, plan.vocabulary(now.result())):.2f} %",
                f"{4 * sum(sizes) / 1000:.0f}",
                f"{seconds:.1f}",
            )
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()

"""Kneser–Ney, against the definition computed in the plainest way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.tasks.words.ngrams import KneserNey, ranks
from gossipfl.tasks.words.samples import windows_of_sentences

SENTENCES = st.lists(st.lists(st.integers(2, 9), min_size=1, max_size=12), min_size=1, max_size=8)


def ngrams(windows, length):
    found = []
    for words, following in zip(windows.words.tolist(), windows.following.tolist(), strict=True):
        found += [
            (*words[place + 2 - length : place + 1], following[place])
            for place in range(max(0, length - 2), len(following))
            if following[place] >= 0
        ]
    return found


def plain(windows, context, word, *, vocabulary, order):
    """Equation of Chen & Goodman, one word and one order at a time."""
    if order == 0:
        return 1 / vocabulary
    lower = plain(windows, context[1:], word, vocabulary=vocabulary, order=order - 1)
    grams = ngrams(windows, order)
    if order < plain.highest:
        grams = [gram[1:] for gram in set(ngrams(windows, order + 1))]
    times = [grams.count(gram) for gram in set(grams)]
    once, twice = times.count(1), times.count(2)
    discount = once / (once + 2 * twice) if once else 0.5
    after = [gram for gram in grams if gram[:-1] == context]
    if not after:
        return lower
    kept = max(after.count((*context, word)) - discount, 0) if (*context, word) in after else 0
    taken = sum(min(discount, after.count(gram)) for gram in set(after))
    return kept / len(after) + taken / len(after) * lower


@given(SENTENCES, st.integers(1, 3), st.data())
def test_probabilities_are_those_of_the_equation(said, order, data):
    windows = windows_of_sentences(said, length=6)
    model = KneserNey.of(windows, words=10, order=order)
    context = tuple(data.draw(st.lists(st.integers(1, 9), min_size=order - 1, max_size=order - 1)))
    plain.highest = order
    expected = [plain(windows, context, word, vocabulary=10, order=order) for word in range(10)]
    found = model.probabilities(context)
    assert found == pytest.approx(expected)
    assert found.sum() == pytest.approx(1)


@given(SENTENCES, st.integers(1, 3))
def test_windows_are_foreseen_place_by_place(said, order):
    windows = windows_of_sentences(said, length=6)
    model = KneserNey.of(windows, words=10, order=order)
    places = np.argwhere(windows.following >= 0)
    found = model.of_windows(windows)
    assert len(found) == len(places)
    for row, (window, place) in zip(found, places, strict=True):
        before = tuple(windows.words[window, : place + 1].tolist())
        assert row == pytest.approx(model.probabilities(before))


def test_a_word_seen_after_one_other_only_is_not_offered_elsewhere():
    # "francisco" (9) is frequent, but only after "san" (8): its continuation count is 1.
    said = [[8, 9]] * 9 + [[5, 7], [6, 7], [8, 7]]
    model = KneserNey.of(windows_of_sentences(said, length=50), words=10, order=2)
    assert model.probabilities((8,)).argmax() == 9
    assert model.probabilities((4,)).argmax() == 7
    assert (
        KneserNey.of(windows_of_sentences(said, length=50), words=10, order=1).probabilities(()).argmax() == 8
    )


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=5), st.data())
def test_ranks_are_places_in_the_order_of_scores(scores, data):
    wanted = np.array([data.draw(st.integers(0, 3)) for _ in scores])
    order = np.argsort(-np.array(scores, dtype=float), axis=1, kind="stable")
    assert ranks(np.array(scores, dtype=float), wanted).tolist() == [
        int(np.flatnonzero(row == word)[0]) for row, word in zip(order, wanted, strict=True)
    ]

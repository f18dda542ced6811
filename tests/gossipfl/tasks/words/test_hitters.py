"""Words that many use, from noisy counts: the threshold, the bounds of what a member adds, and the guarantee."""

import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.errors import InvalidTask, MalformedStatement, SettingError
from gossipfl.privacy import gaussian_guarantee
from gossipfl.tasks.words.hitters import (
    LARGEST_ROUND,
    Offer,
    WordPlan,
    agreed,
    counted,
    first_round,
    following,
    noisy_counts,
    offer_of,
)
from gossipfl.tasks.words.vocabulary import SPECIAL, Vocabulary

pytest.importorskip("wordfreq")

SMALL = {"words": 305, "room": 60, "offered": 3, "own": 2, "rounds": 6}
PLAN = WordPlan(members=40, **SMALL)
SLANG = ("hath", "yeet", "zorp", "zorps", "mith", "o'er")


def drawn(seed):
    generator = np.random.default_rng(seed)
    return lambda members, counts: generator.standard_normal((members, counts))


def used(offers):
    return Counter(word for offer in offers for word in {*offer.listed, *offer.own})


words = st.sampled_from(PLAN.candidates[:5])
offers_of_all = st.lists(
    st.builds(
        Offer,
        st.lists(words, max_size=5).map(tuple),
        st.lists(st.sampled_from(SLANG), max_size=4).map(tuple),
    ),
    min_size=40,
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given(offers_of_all, st.integers(0, 2**32), st.floats(1, 40), st.integers(2, 20))
def test_a_word_of_fewer_members_than_k_is_never_found(offers, seed, epsilon, least):
    try:
        plan = WordPlan(members=40, epsilon=epsilon, least=least, **SMALL)
    except SettingError:
        return
    found = agreed(offers, plan, drawn(seed)).found
    kept = [Offer(each.listed[:3], each.own[:2]) for each in offers]
    uses = used(kept)
    assert all(uses[word] >= least for word in found)
    sure = {word for word, count in uses.items() if count >= 2 * plan.threshold - plan.least}
    assert sure <= set(found)


def test_words_that_the_list_lacks_are_found_letter_by_letter():
    offers = [Offer(PLAN.candidates[:1], ("hath", "o'er"))] * 34 + [Offer((), ("mith",))] * 6
    now = agreed(offers, PLAN, drawn(3))
    assert set(now.found) == {PLAN.candidates[0], "hath", "o'er"}
    assert now.result()[0] == max(now.found, key=now.found.get)
    assert all(abs(count - 34) < 6 * PLAN.noise for count in now.found.values())


def test_a_word_of_the_list_does_not_hide_a_longer_one_that_begins_with_it():
    plan = WordPlan(members=40, **{**SMALL, "words": 1005})
    assert "ha" in plan.candidates
    offers = [Offer(("ha",), ("hath",))] * 40
    assert set(agreed(offers, plan, drawn(0)).found) == {"ha", "hath"}


hostile = st.dictionaries(st.text(max_size=60), st.integers(0, 10**9), max_size=50)


@settings(max_examples=25, deadline=None)
@given(hostile)
def test_whatever_was_written_few_words_are_offered_each_of_few_plain_letters(uses):
    offer = offer_of({**uses, "x" * 10_000: 9, "\u202ehath": 9, "zorp\n": 9, "<number>": 9, "z0rp": 9}, PLAN)
    assert len(offer.listed) <= PLAN.offered
    assert len(offer.own) <= PLAN.own
    assert set(offer.listed) <= set(PLAN.candidates)
    assert all(len(word) <= PLAN.rounds and set(PLAN.alphabet).issuperset(word) for word in offer.own)


def test_the_words_used_most_are_offered_in_lower_case_and_those_used_once_are_not():
    first, second = PLAN.candidates[:2]
    uses = {first: 3, second.title(): 1, second: 3, PLAN.base[0]: 99, "Zorp": 2, "yeet": 1, "hath": 5}
    assert offer_of(uses, PLAN) == Offer((second, first), ("hath", "zorp"))
    assert "zorp" not in repr(offer_of(uses, PLAN))


@settings(max_examples=20, deadline=None)
@given(st.lists(words, max_size=30).map(tuple), st.lists(st.sampled_from(SLANG), max_size=30).map(tuple))
def test_no_member_moves_all_counts_together_by_more_than_the_noise_is_for(listed, own):
    now, squares = first_round(PLAN), 0.0
    ever = Offer(PLAN.candidates[:3], SLANG[:4])
    while not now.is_over:
        [row] = counted([Offer(listed, own)], now)
        squares += float(row @ row)
        assert set(row) <= {0.0, 1.0}
        assert now.size <= LARGEST_ROUND
        everybody = 40 * counted([ever], now)[0]
        now = following(now, np.rint(everybody * 2**16).astype(np.int64))
    assert squares <= PLAN.touches


def test_noise_is_as_strong_as_the_guarantee_takes_even_without_the_colluding():
    now = first_round(PLAN)
    rows = noisy_counts(counted([Offer((), ())] * 40, now), PLAN, drawn(1)) / 2**16
    assert rows.std() == pytest.approx(PLAN.share, rel=0.01)
    assert rows.sum(axis=0).std() == pytest.approx(PLAN.noise, rel=0.05)
    pytest.importorskip("dp_accounting")
    honest = PLAN.share * math.sqrt(PLAN.members - PLAN.colluding)
    reference = gaussian_guarantee(math.sqrt(PLAN.touches) / honest, delta=PLAN.delta)
    assert reference.epsilon == pytest.approx(PLAN.epsilon, rel=1e-6)
    assert pytest.approx(40**-1.1) == PLAN.delta


def test_counts_that_nobody_can_have_are_refused():
    now = first_round(PLAN)
    fair = np.zeros(now.size, dtype=np.int64)
    for wrong in (-300, 300):
        lie = fair.copy()
        lie[-1] = wrong * 2**16
        with pytest.raises(MalformedStatement, match="no members have the counts of round 1"):
            following(now, lie)
    with pytest.raises(MalformedStatement):
        following(now, fair[1:])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"members": 3}, "expected 4 to 256 members; got 3"),
        ({"members": 257}, "expected 4 to 256 members; got 257"),
        ({"members": 8, "least": 9}, "least"),
        ({"room": 0}, "room"),
        ({"offered": 0, "own": 0}, "no member offers"),
        ({"epsilon": math.inf}, "stated guarantee"),
        ({"delta": 1.0}, "stated guarantee"),
        ({"members": 6, "least": 2}, "no word could be found: with this noise a count must come to"),
        ({"colluding": 38}, "colluding"),
    ],
)
def test_plans_that_cannot_be_are_refused_by_name(changed, said):
    with pytest.raises(SettingError, match=said):
        WordPlan(**{"members": 40, **SMALL, **changed})


@pytest.mark.parametrize("given", [{}, {"delta": 1e-6}, {"colluding": 1}, {"epsilon": 2.0}])
def test_too_few_members_are_told_how_many_it_takes(given):
    with pytest.raises(SettingError) as refused:
        WordPlan(members=4, **given)
    said = re.search(r"It takes (\d+) members, or (\d+) members with", str(refused.value))
    assert said is not None
    fewer = {"offered": 8, "own": 1, "rounds": 8}
    for enough, changed in zip(map(int, said.groups()), ({}, fewer), strict=True):
        assert WordPlan(members=enough, **given, **changed).threshold <= enough
        with pytest.raises(SettingError, match="no word could be found"):
            WordPlan(members=enough - 1, **given, **changed)


def test_all_parameters_are_part_of_the_digest():
    others = [
        WordPlan(members=40, **{**SMALL, name: value})
        for name, value in {"room": 61, "own": 1, "least": 4, "epsilon": 9.0, "language": "de"}.items()
    ]
    assert len({each.digest for each in (PLAN, *others)}) == 6


@pytest.mark.parametrize("language", ["en", "de", "ru", "el", "ar"])
def test_the_vocabulary_has_the_words_found_before_the_rest_of_the_list(language):
    try:
        plan = WordPlan(members=40, language=language, **SMALL)
    except InvalidTask as error:
        pytest.skip(str(error))
    own = plan.alphabet[3:6]
    found = (plan.candidates[70], own) if own not in plan.listed else (plan.candidates[70],)
    vocabulary = Vocabulary(plan.vocabulary(found))
    assert len(vocabulary) == plan.words
    assert vocabulary.words[: len(plan.base)] == plan.base
    assert vocabulary.words[len(plan.base) :][: len(found)] == found
    assert len(plan.base) == plan.words - len(SPECIAL) - plan.room


@pytest.mark.parametrize("seed", range(3))
def test_words_of_one_member_fewer_than_k_stay_hidden_behind_the_noise(seed):
    plan = WordPlan(members=40, **{**SMALL, "least": 10})
    offers = [Offer(PLAN.candidates[:3], ("hath",))] * 9 + [Offer((), ())] * 31
    assert not agreed(offers, plan, drawn(seed)).found

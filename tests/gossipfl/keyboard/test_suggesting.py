"""Suggestions: what stands before a cursor, completion, case, and the personal model's choice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.keyboard.own_words import OwnWords
from gossipfl.keyboard.personal import Mixture, Shares, chosen
from gossipfl.keyboard.reading import at_cursor
from gossipfl.keyboard.suggesting import Suggester
from tests.gossipfl.keyboard.owners import WORDS, keyboard_in, shared_of


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    keyboard = keyboard_in(tmp_path_factory.mktemp("owner"))
    yield shared_of(keyboard)
    keyboard.close()


@pytest.mark.parametrize(
    ("text", "sentence", "partial"),
    [
        ("", (), ""),
        ("Hel", (), "Hel"),
        ("Hello ", ("Hello",), ""),
        ("It is late. ", (), ""),
        ("It is late. See you tom", ("See", "you"), "tom"),
        ("See you\n\nto", (), "to"),
        ("See you\nto", ("See", "you"), "to"),
        ("I don’t", ("I",), "don't"),
        ("I don't ", ("I", "don't"), ""),
        ("at 10 ", ("at", "<number>"), ""),
        ('say "hel', ("say",), "hel"),
        ("well-kno", ("well",), "kno"),
    ],
)
def test_what_stands_before_the_cursor(text, sentence, partial):
    cursor = at_cursor(text)
    assert (cursor.sentence, cursor.partial, cursor.may_suggest) == (sentence, partial, True)
    assert not partial or partial not in repr(cursor)


@pytest.mark.parametrize("text", ["me@exa", "10", "10a", "end.", "x,", "#ta", "www.exa"])
def test_nothing_is_suggested_in_numbers_addresses_and_behind_stops(text, shared):
    assert not at_cursor(text).may_suggest
    assert Suggester(shared.vocabulary).suggest(text, shared) == []


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_has_at_most_three_suggestions_that_go_on_with_it(shared, text):
    found = Suggester(shared.vocabulary, [["Zanzibar", "calls"]]).suggest(text, shared)
    partial = at_cursor(text).partial
    assert len(found) <= 3
    assert len(set(found)) == len(found)
    assert all(word.lower().startswith(partial.lower()) and word != partial for word in found)


def test_the_model_s_words_in_the_order_of_their_shares(shared):
    shares = shared.shares(shared.context([["see", "you"]]))
    assert shares.sum() == pytest.approx(1)
    best = [shared.vocabulary.words[place] for place in np.argsort(-shares, kind="stable")]
    assert Suggester(shared.vocabulary).suggest("x. see you ", shared) == [
        word.capitalize() if word == "i" else word for word in best[:3]
    ]
    with_t = [word for word in best if word.startswith("t")]
    assert Suggester(shared.vocabulary).suggest("x. see you t", shared) == with_t[:3]


def test_the_latest_shares_are_kept_until_the_model_changes(shared):
    shared.load(shared._task.initial_row(), 0)
    context = shared.context([["see"]])
    first = shared.shares(context)
    assert shared.shares(context) is first
    row = shared._task.initial_row()
    row += 0.1
    shared.load(row, 1)
    assert shared.shares(context) is not first
    shared.load(shared._task.initial_row(), 0)


def test_contexts_of_any_lengths_are_computed_together_as_apart(shared):
    contexts = [shared.context([words]) for words in ([], ["see"], ["you", "see"], ["a"] * 20, ["home"])]
    together = shared.shares_of(contexts)
    for context, row in zip(contexts, together, strict=True):
        np.testing.assert_allclose(shared.shares_of([context])[0], row, rtol=1e-5)


def test_own_words_that_the_vocabulary_lacks_are_completed(shared):
    suggester = Suggester(shared.vocabulary, [["meet", "Zsuzsanna"], ["ask", "Zsuzsanna"], ["Zigzag"]])
    assert suggester.suggest("I saw Z", shared)[0] == "Zsuzsanna"
    assert suggester.suggest("I saw zs", shared) == ["Zsuzsanna"]
    assert suggester.suggest("I saw ZS", shared) == ["ZSUZSANNA"]
    assert Suggester(shared.vocabulary).suggest("I saw zs", shared) == []
    assert "zsuz" not in repr(suggester).lower()


def test_case_of_sentence_starts_and_of_what_is_typed(shared):
    suggester = Suggester(shared.vocabulary)
    assert all(word[0].isupper() for word in suggester.suggest("", shared))
    assert all(word[0].isupper() for word in suggester.suggest("Good. ", shared))
    assert set(suggester.suggest("see To", shared)) <= {"Tomorrow", "Today"} | {"To"}
    assert suggester.suggest("see TOM", shared) == ["TOMORROW"]


def test_mixed_shares_are_a_distribution_between_the_two(shared):
    own = OwnWords([["see", "zebra"], ["see", "home"]])
    shares = Shares(own, shared.vocabulary)
    by_model = shared.shares(shared.context([["see"]]))
    for weight in (0.0, 0.3, 1.0):
        found = shares.mixed(by_model, ["see"], Mixture(weight, 2))
        assert found.sum() == pytest.approx(1)
    place = shares.words.index("zebra")
    assert found[place] == own.shares(["see"])[own.places["zebra"]]
    half = shares.mixed(by_model, ["see"], Mixture(0.5, 2))
    assert half[place] == pytest.approx(found[place] / 2)


HABITS = ["we are at the zoo", "good night dear llama", "thanks for the alfalfa today"]


def test_an_owner_with_habits_gets_their_words_and_the_choice_is_by_later_text(shared):
    habitual = [HABITS[place % 3].split() for place in range(60)]
    mixture = chosen(shared, habitual)
    assert mixture.weight > 0
    assert mixture.personal > mixture.shared
    assert mixture.words > 20
    suggester = Suggester(shared.vocabulary, habitual, mixture)
    assert "llama" in suggester.suggest("good night dear ", shared)


def test_an_owner_whose_past_says_nothing_of_later_gets_the_shared_model(shared):
    """What comes later has no word of the past: no weight can help, so none is given."""
    later = [[WORDS[place % len(WORDS)]] for place in range(30)]
    past = [[f"x{'abcdefghij'[place % 10]}{'abcdefghij'[place // 10]}", "q"] for place in range(60)]
    assert chosen(shared, past + later).weight == 0


def test_with_too_little_text_nothing_is_chosen(shared):
    assert chosen(shared, []) == Mixture()
    assert chosen(shared, [["good", "night"]] * 5) == Mixture()

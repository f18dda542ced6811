"""Vocabularies, and windows of words."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.errors import InvalidTask, SettingError
from gossipfl.tasks.words import vocabulary as vocabularies
from gossipfl.tasks.words.normalise import LINK, NUMBER
from gossipfl.tasks.words.samples import IGNORED, windows_of_sentences, windows_of_users
from gossipfl.tasks.words.vocabulary import (
    PAD,
    SPECIAL,
    START,
    UNKNOWN,
    Vocabulary,
    vocabulary_of_language,
    vocabulary_of_texts,
)

WORDS = Vocabulary(("the", "rain", "don't"))


def test_words_have_numbers():
    assert len(WORDS) == 8
    assert WORDS.encoded(["The", "snow", "DON'T", NUMBER, LINK, "a" * 99]) == [5, UNKNOWN, 7, 3, 4, UNKNOWN]
    assert [WORDS.word(number) for number in (START, 6)] == ["<start>", "rain"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "wrong size"),
        (("the", "the"), "twice"),
        (("The",), "not one word"),
        (("two words",), "not one word"),
        (("<start>",), "not one word"),
        (("",), "not one word"),
    ],
)
def test_a_vocabulary_that_is_none_is_refused(words, message):
    with pytest.raises(InvalidTask, match=message):
        Vocabulary(words)


def test_digests_tell_vocabularies_apart():
    found = {Vocabulary(words).digest for words in (("a", "b"), ("b", "a"), ("a",), ("ab",))}
    assert len(found) == 4


def test_a_language_gives_its_frequent_words():
    english = vocabulary_of_language("en", 1000)
    assert len(english) == 1000
    assert english.words[:4] == ("the", "to", "and", "of")
    assert "don't" in english.numbers
    assert vocabulary_of_language("en", 200).words == english.words[:195]
    with pytest.raises(InvalidTask, match=r"no list of frequent words of 'eng'.*Did you mean"):
        vocabulary_of_language("eng", 100)
    with pytest.raises(InvalidTask, match="cannot have this size"):
        vocabulary_of_language("en", 5)
    with pytest.raises(InvalidTask, match="too short"):
        vocabulary_of_language("fil", 2**20)


def test_a_missing_list_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(vocabularies, "is_installed", lambda _: False)
    with pytest.raises(SettingError, match=r"gossipfl\[words\]"):
        vocabulary_of_language("en", 100)


def test_a_file_is_a_vocabulary(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("\ufeffthe\r\nrain\r\n\r\ndon't\n", encoding="utf-8")
    assert Vocabulary.read(file) == WORDS
    assert Vocabulary.read(file, size=7).words == ("the", "rain")
    file.write_bytes(b"\xff\xfe\x00")
    for wrong in (file, tmp_path / "none.txt"):
        with pytest.raises(InvalidTask, match="cannot be read"):
            Vocabulary.read(wrong)


def test_texts_give_their_frequent_words_in_an_order_of_their_own():
    found = vocabulary_of_texts(["b a. 7 <x> a https://x.y", "C b A"], 100)
    assert found.words == ("a", "b", "c", "x")


@given(st.lists(st.lists(st.integers(2, 9), min_size=1, max_size=12), max_size=8), st.integers(1, 7))
def test_windows_hold_every_word_once_and_foresee_the_next(said, length):
    windows = windows_of_sentences(said, length=length)
    stream = [START, *(word for sentence in said for word in [*sentence, START])]
    flat = windows.words.reshape(-1)
    assert windows.words.shape[1] == length
    assert flat[: len(stream) - 1].tolist() == stream[:-1]
    assert not (flat[len(stream) :] != PAD).any()
    expected = [word if word >= len(SPECIAL) else IGNORED for word in stream[1:]]
    following = windows.following.reshape(-1)
    assert following[: len(expected)].tolist() == expected
    assert (following[len(expected) :] == IGNORED).all()


def test_users_are_tested_on_what_they_wrote_last():
    texts = {"ada": ["The rain. " * 7, "Don't. " * 6], "bob": ["the rain the rain"], "eve": []}
    found = windows_of_users(texts, WORDS, length=5, tested=0.25)
    assert list(found) == ["ada"]  # of the others there is nothing later
    past, later = (part.words[part.words >= len(SPECIAL)].tolist() for part in found["ada"])
    assert past == [5, 6] * 7 + [7] * 1
    assert later == [7] * 5
    assert len(found["ada"][0].last(2)) == len(found["ada"][0].first(2)) == 2
    assert np.array_equal(found["ada"][0].last(2).words, found["ada"][0].words[-2:])
    with pytest.raises(InvalidTask, match="no user has texts enough"):
        windows_of_users({"bob": ["snow. snow. snow"]}, WORDS, length=5, tested=0.25)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (
            ["the rain the rain"],
            "got 1 user with less, 1 of a single sentence. End sentences with full stops",
        ),
        (["the rain. snow. snow"], "got 1 user with less. End sentences"),
        (["Снег. Дождь. Снег."], "got 1 user with less. Give a vocabulary of its language"),
    ],
)
def test_what_is_too_little_says_why(texts, said):
    with pytest.raises(InvalidTask, match=said):
        windows_of_users({"bob": texts}, WORDS, length=5, tested=0.25)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(5, 8), min_size=1, max_size=6), min_size=1, max_size=40), st.integers(1, 4)
)
def test_three_words_in_a_row_are_learned_so_many_times_at_most(said, most):
    windows = windows_of_sentences(said, length=4)
    limited = windows.without_repeats(most)
    assert (limited.words == windows.words).all()
    assert windows.without_repeats(None) is windows
    words, runs, kept = windows.words.ravel(), Counter(), []
    for place, following in enumerate(windows.following.ravel()):
        run = (words[place - 1] if place else 0, words[place], following)
        runs[run] += following != IGNORED
        kept.append(following if runs[run] <= most else IGNORED)
    assert limited.following.ravel().tolist() == kept

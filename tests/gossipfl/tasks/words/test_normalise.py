"""Text as sentences of words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.tasks.words.casing import own_spellings, restored
from gossipfl.tasks.words.normalise import LINK, NUMBER, lowered, sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("?!... \n\n", []),
        ("Hello, world! How are you", [["Hello", "world"], ["How", "are", "you"]]),
        ("Don’t — it’s well-known", [["Don't", "it's", "well", "known"]]),
        ("'tis the dogs' bone", [["tis", "the", "dogs", "bone"]]),
        ("J. Smith of the U. S. wept.", [["J", "Smith", "of", "the", "U", "S", "wept"]]),
        ("I don't. You can't. I. Newton", [["I", "don't"], ["You", "can't"], ["I", "Newton"]]),
        ("He left. She stayed", [["He", "left"], ["She", "stayed"]]),
        ('"Go." He went', [["Go"], ["He", "went"]]),
        ("one line\nand the next\n\na new one", [["one", "line", "and", "the", "next"], ["a", "new", "one"]]),
        ("one\r\n \r\ntwo", [["one"], ["two"]]),
        ("at 10:30, $1,000.50 or 3rd or covid19", [["at", *[NUMBER] * 2, "or", NUMBER, "or", NUMBER]]),
        ("see https://a.b/c?d=e#f, me.too+x@mail.example.org", [["see", LINK, LINK]]),
        ("thanks @ada_b #win www.x.org/a", [["thanks", LINK, LINK, LINK]]),
        ("e\u0301te\u0301 soft\u00adly zero\u200bwidth", [["été", "softly", "zerowidth"]]),
        ("नमस्ते दुनिया", [["नमस्ते", "दुनिया"]]),
        ("كيف حالك؟ شكرا", [["كيف", "حالك"], ["شكرا"]]),
        ("वह गया। घर", [["वह", "गया"], ["घर"]]),
        ("ﬁne 🎉 ok…yes", [["fine", "ok", "yes"]]),
        ("\ud800a\x00b", [["ab"]]),
    ],
)
def test_text_becomes_sentences(text, expected):
    assert sentences(text) == expected


@given(st.text(max_size=200))
def test_any_text_becomes_words_that_stay_themselves(text):
    for sentence in sentences(text):
        assert sentence
        for word in sentence:
            assert word in (LINK, NUMBER) or sentences(word) == [[word]], word


@given(st.text(max_size=100), st.text(max_size=100))
def test_empty_lines_part_texts(first, second):
    assert sentences(f"{first}\n\n{second}") == sentences(first) + sentences(second)


def test_a_word_too_long_is_no_word():
    assert lowered("A" * 40) == "a" * 40
    assert not lowered("a" * 41)


@pytest.mark.parametrize("part", ["a", "a'", "a@", "1.", "\n \t", ".", "a.", "a-", "1:a", "www.", "é", "a_"])
@pytest.mark.parametrize("end", ["", "x", "@"])
def test_a_text_that_never_ends_is_read_once(part, end):
    sentences(part * 60_000 + end)  # minutes, where each place is tried against all that follows


def test_a_user_has_their_own_spelling():
    own = own_spellings(sentences("We met Ada. Ada met us at NASA. No, nasa. At NASA. We went home."))
    assert own == {"ada": "Ada", "nasa": "NASA"}
    assert restored("ada", starts=False, own=own) == "Ada"
    assert restored("nasa", starts=True, own=own) == "NASA"
    assert restored("i've", starts=False) == "I've"
    assert restored("", starts=True) == ""

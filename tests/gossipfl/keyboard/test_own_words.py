"""The cache of an owner's words, against Witten and Bell's definition written out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.keyboard.own_words import LONGEST_CONTEXT, OwnWords


def witten_bell(sentences, context, word):
    """P(word | context) by recursion over the length of the context."""
    lines = [["<start>", *sentence] for sentence in sentences]
    if not context:
        counts = Counter(each for line in lines for each in line[1:])
        return counts[word] / counts.total()
    size = len(context)
    after = Counter(
        line[place]
        for line in lines
        for place in range(1, len(line))
        if place >= size and line[place - size : place] == list(context)
    )
    shorter = witten_bell(sentences, context[1:], word)
    if not after:
        return shorter
    return (after[word] + len(after) * shorter) / (after.total() + len(after))


LETTERS = st.sampled_from("abcd")


@given(
    st.lists(st.lists(LETTERS, min_size=1, max_size=6), min_size=1, max_size=6), st.lists(LETTERS, max_size=3)
)
@settings(max_examples=60, deadline=None)
def test_shares_are_those_of_witten_and_bell(sentences, sentence):
    own = OwnWords(sentences)
    found = own.shares(sentence)
    assert found.sum() == pytest.approx(1)
    context = ["<start>", *sentence][-LONGEST_CONTEXT:]
    wanted = [witten_bell(sentences, context, word) for word in own.words]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_numbers_and_links_are_context_and_never_suggested():
    own = OwnWords([["at", "<number>", "home"], ["see", "<link>"]])
    assert set(own.words) == {"at", "home", "see"}
    assert own.words[own.shares(["at", "<number>"]).argmax()] == "home"


def test_without_words_there_are_no_shares():
    assert OwnWords([]).shares(["hello"]).shape == (0,)
    assert OwnWords([]).words == ()

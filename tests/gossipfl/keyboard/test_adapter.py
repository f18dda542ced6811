"""Adapters of a shared model's head: fitted to one owner, chosen by the owner's own later words, and forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gossipfl.keyboard import personal
from gossipfl.keyboard.adapter import Adapter, fitted
from gossipfl.keyboard.forgetting import with_word
from gossipfl.keyboard.personal import Adaptation, adaptation_to, chosen
from gossipfl.rows import to_row
from gossipfl.tasks.words.normalise import sentences
from gossipfl.tasks.words.samples import windows_of_sentences
from tests.gossipfl.keyboard.owners import keyboard_in, shared_of, trained_row

HABITS = ["see you tomorrow at home", "we are at home today", "good night to you", "thanks you are well"]
PHRASE = "good night dear quokka see the morning"


@pytest.fixture
def keyboard(tmp_path):
    made = keyboard_in(tmp_path)
    yield made
    made.close()


def said(texts):
    return [sentence for text in texts for sentence in sentences(text)]


def windows_of(shared, texts):
    return windows_of_sentences([shared.vocabulary.encoded(each) for each in said(texts)], length=8)


def surprise(module, adapter, windows):
    words, following = torch.from_numpy(windows.words), torch.from_numpy(windows.following)
    with torch.no_grad():
        hidden = module.hidden(words).flatten(0, 1)
        scores = module.scores(hidden) if adapter is None else adapter.scores(module, hidden)
    return float(torch.nn.functional.cross_entropy(scores, following.flatten(), ignore_index=-100))


def test_an_adapter_foresees_its_owner_better_and_leaves_the_model_as_it_was(keyboard):
    shared = shared_of(keyboard)
    module = shared._module
    before = to_row(module, keyboard.task.layout).clone()
    windows = windows_of(shared, HABITS * 20)
    state = torch.get_rng_state()
    adapter = fitted(module, windows)
    assert surprise(module, adapter, windows) < 0.7 * surprise(module, None, windows)
    assert torch.equal(to_row(module, keyboard.task.layout), before)
    assert torch.equal(torch.get_rng_state(), state)
    again = fitted(module, windows)
    for name in ("down", "up", "bias"):
        assert torch.equal(getattr(adapter, name), getattr(again, name))
        assert not getattr(adapter, name).requires_grad
    assert adapter.up.any()
    assert "quokka" not in repr(adapter)


def harmful(adapter, vocabulary):
    """Suggests the same three words all the time, which this owner never writes."""
    bias = torch.zeros_like(adapter.bias)
    bias[[vocabulary.numbers[word] for word in ("soon", "later", "morning")]] = 100.0
    return replace(adapter, bias=bias)


def test_an_adapter_is_used_only_if_it_helps_on_words_that_it_was_not_fitted_to(keyboard, monkeypatch):
    """Beside the model alone, without the owner's words, which would make up for either."""
    monkeypatch.setattr(personal, "_WEIGHTS", ())
    shared = shared_of(keyboard)
    texts = said(HABITS * 30)
    adaptation = adaptation_to(shared, texts)
    helped = chosen(shared, texts, adaptation)
    assert helped.adapted
    assert helped.personal > helped.shared + 0.3
    bad = Adaptation(tried=harmful(adaptation.tried, shared.vocabulary), whole=adaptation.whole)
    assert not chosen(shared, texts, bad).adapted
    assert chosen(shared, texts, bad) == chosen(shared, texts)


def test_the_choice_sees_what_the_adapter_knows_and_the_cache_cannot(keyboard):
    """Words that were never typed: a cache has none of them, an adapter may prefer them all the same."""
    shared = shared_of(keyboard)
    texts = said([*["we are well and see the home"] * 40, *["i is a to soon later"] * 9])
    bias = torch.full_like(keyboard.task.build_module().bias, 0.0)
    for word in ["i", "is", "a", "to", "soon", "later"]:
        bias[shared.vocabulary.numbers[word]] = 50.0
    width = keyboard.task.build_module().embedding.weight.shape[1]
    knowing = Adapter(torch.zeros(width, 1), torch.zeros(1, width), bias)
    mixture = chosen(shared, texts, Adaptation(tried=knowing, whole=knowing))
    assert mixture.adapted
    assert mixture.personal > mixture.shared


def test_of_little_text_there_is_no_adapter(keyboard):
    assert adaptation_to(shared_of(keyboard), said(HABITS * 5)) is None


def test_after_forgetting_the_adapter_is_one_that_never_saw_the_phrase(tmp_path):
    keyboards = {}
    for name in ("typed", "never"):
        (tmp_path / name).mkdir()
        keyboards[name] = keyboard_in(tmp_path / name)
        for number, text in enumerate(HABITS * 18):
            keyboards[name].write(number, text)
    typed, never = keyboards["typed"], keyboards["never"]
    row = trained_row(never, steps=5)
    for number in range(100, 130):
        typed.write(number, PHRASE)
    typed.renew(row, "row")
    never.renew(row, "row")
    parts = ("down", "up", "bias")
    assert not torch.equal(typed._adaptation.whole.bias, never._adaptation.whole.bias)
    assert typed.forget(with_word("quokka")) == 30
    assert typed._adaptation is None
    assert typed._suggester.adapter is None
    typed.renew(row, "row", may_adapt=False)
    assert typed._adaptation is None  # while the device may not train, there is none
    typed.write(200, "see")
    typed.write(200, "")  # as it was, but another version
    typed.renew(row, "row")
    for kind in ("tried", "whole"):
        for part in parts:
            ours, theirs = (getattr(getattr(each._adaptation, kind), part) for each in (typed, never))
            assert torch.equal(ours, theirs)
    assert typed.mixture == never.mixture
    for text in ("good night ", "good night dear ", "see the ", "", "see you "):
        assert typed.suggest(text, row, "row") == never.suggest(text, row, "row")
    for each in keyboards.values():
        each.close()


def test_adapters_are_not_fitted_all_the_time(keyboard, monkeypatch):
    for number, text in enumerate(HABITS * 18):
        keyboard.write(number, text)
    row = keyboard.task.initial_row()
    keyboard.renew(row, 0)
    first = keyboard._adaptation
    assert first is not None
    keyboard.write(500, "good morning")
    keyboard._adapts_from += 1000.0
    keyboard.renew(row, 1)
    assert keyboard._adaptation is first
    keyboard._adapts_from = 0.0
    keyboard.renew(row, 2)
    assert keyboard._adaptation is not first

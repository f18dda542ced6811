"""The keyboard: what is typed becomes samples and suggestions, and what is forgotten is neither."""

from __future__ import annotations

import datetime
import threading

import pytest
import torch

from gossipfl.errors import InvalidRequest, SettingError
from gossipfl.keyboard.forgetting import everything, of_day, with_word
from gossipfl.keyboard.keyboard import Keyboard
from gossipfl.keyboard.store import Typed, TypingStore
from gossipfl.tasks.words.next_word import next_word
from tests.gossipfl.keyboard.owners import keyboard_in, options_in, trained_row

PHRASE = "good night dear quokka"
DAY = 86400.0


@pytest.fixture
def keyboard(tmp_path):
    made = keyboard_in(tmp_path)
    yield made
    made.close()


def type_all(keyboard, texts, first=0):
    for number, text in enumerate(texts, first):
        keyboard.write(number, text)


def test_an_empty_keyboard_has_a_sample_that_teaches_nothing(keyboard):
    data = keyboard.dataset()
    assert not keyboard.has_samples()
    assert not data.is_measurable
    task = keyboard.task
    module = task.build_module().train()
    task.loss(module(**data.train_inputs), data.train_targets).backward()
    assert all(not each.grad.any() for each in module.parameters())
    values = task.evaluate(task.initial_row()[None], data.test_inputs, data.test_targets)
    assert all(bool(value.isfinite().all()) for value in values.values())


def test_what_is_typed_becomes_samples_and_grows(keyboard):
    type_all(keyboard, ["see you soon. good night", "we are at home. thanks"])
    assert keyboard.has_samples()
    before = keyboard.dataset()
    assert before.is_measurable
    assert keyboard.dataset() is before
    assert keyboard.task.dataset() is before
    type_all(keyboard, ["see you tomorrow at home. it is good"], first=2)
    after = keyboard.dataset()
    assert int((after.train_targets["following"] >= 0).sum()) > int(
        (before.train_targets["following"] >= 0).sum()
    )
    assert keyboard.task.refresh_seconds


def test_text_of_before_comes_first(tmp_path):
    file = tmp_path / "me.txt"
    file.write_text("good morning. see you at home. " * 3)
    keyboard = keyboard_in(tmp_path, text=str(file))
    first = keyboard.dataset()
    keyboard.write(0, "thanks. it is well. we are well")
    second = keyboard.dataset()
    known = int((first.train_targets["following"] >= 0).sum())
    assert known > 0
    assert second.train_inputs["words"][0].tolist() == first.train_inputs["words"][0].tolist()
    assert int((second.train_targets["following"] >= 0).sum()) >= known
    keyboard.close()


def test_the_texts_of_many_are_refused(tmp_path):
    options = {**options_in(tmp_path), "text": "sotu"}
    store = TypingStore(tmp_path / "typing")
    with pytest.raises(SettingError, match="one user's"):
        Keyboard(store, next_word(**options), options)
    store.close()


def test_a_vocabulary_of_the_owner_s_words_is_refused(tmp_path):
    """It would be written with every export."""
    (tmp_path / "me.txt").write_text("see you soon at home with the xylophone. good night. " * 20)
    options = {**options_in(tmp_path), "text": str(tmp_path / "me.txt"), "vocabulary": "text"}
    store = TypingStore(tmp_path / "typing")
    with pytest.raises(SettingError, match="vocabulary leaves the device"):
        Keyboard(store, next_word(**options), options)
    store.close()


def test_fingerprints_in_records_tell_nothing_of_little_text(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = keyboard_in(tmp_path / "a"), keyboard_in(tmp_path / "b")
    for each in (one, other):
        type_all(each, ["see you soon. good night"])
    assert torch.equal(one.dataset().train_inputs["words"], other.dataset().train_inputs["words"])
    assert one.dataset().fingerprint() != other.dataset().fingerprint()
    assert one.dataset().fingerprint() == one.dataset().fingerprint()
    before = one.dataset().fingerprint()
    type_all(one, ["we are well. good morning"], first=5)
    assert one.dataset().fingerprint() != before
    one.close()
    other.close()


def suggestions(keyboard, row, *texts):
    return [keyboard.suggest(text, row, "row") for text in texts]


PREFIXES = ("good night dear ", "good night ", "Good night dear q", "see the q", "x. night dear ", "")


def test_after_forgetting_the_phrase_cannot_be_had_back(tmp_path):
    """The personal model's suggestions are those of a keyboard on which the phrase was never typed."""
    others = ["we are at the zoo today", "see you tomorrow at home"] * 20
    keyboards = {}
    for name in ("typed", "never"):
        (tmp_path / name).mkdir()
        keyboards[name] = keyboard_in(tmp_path / name)
        type_all(keyboards[name], others)
    typed, never = keyboards["typed"], keyboards["never"]
    row = typed.task.initial_row()
    type_all(typed, [PHRASE, f"so {PHRASE} and well"] * 12, first=100)
    typed.renew(row, "row")
    assert "quokka" in typed.suggest("good night dear ", row, "row")
    assert typed.suggest("see the q", row, "row") == ["quokka"]
    assert typed.forget(with_word("Quokka")) == 24
    assert not any("quokka" in found for found in suggestions(typed, row, *PREFIXES))
    for each in keyboards.values():
        each.renew(row, "row")
    assert typed.mixture == never.mixture
    assert suggestions(typed, row, *PREFIXES) == suggestions(never, row, *PREFIXES)
    assert torch.equal(typed.dataset().train_inputs["words"], never.dataset().train_inputs["words"])
    for each in keyboards.values():
        each.close()


def test_what_is_forgotten_while_the_personal_model_is_made_is_not_in_it(keyboard, monkeypatch):
    type_all(keyboard, [PHRASE] * 30)
    row = keyboard.task.initial_row()
    begun, forgotten = threading.Event(), threading.Event()
    from gossipfl.keyboard import keyboard as module

    original = module.chosen

    def slow(*given):
        begun.set()
        assert forgotten.wait(30)
        return original(*given)

    monkeypatch.setattr(module, "chosen", slow)
    renewing = threading.Thread(target=keyboard.renew, args=(row, "row"))
    renewing.start()
    assert begun.wait(30)
    keyboard._store.forget(everything)  # what `forget` does first
    forgotten.set()
    renewing.join()
    assert keyboard.suggest("see the q", row, "row") == []


def test_a_model_trained_on_habits_suggests_them(keyboard):
    type_all(keyboard, ["see you tomorrow at home"] * 12)
    row = trained_row(keyboard)
    assert keyboard.suggest("see you ", row, "trained")[0] == "tomorrow"


def test_today(tmp_path):
    now = [10 * DAY + 43200]
    keyboard = keyboard_in(tmp_path, now=lambda: now[0])
    type_all(keyboard, ["see the okapi"])
    now[0] += DAY
    type_all(keyboard, ["see the okapi and the quokka", "Quagga"], first=1)
    today = keyboard.today(now[0])
    assert (today.words, today.new_words) == (7, ("Quagga", "quokka"))
    assert "quokka" not in repr(today)
    assert keyboard.today(now[0] + DAY).words == 0
    keyboard.forget(with_word("quokka"))
    assert keyboard.today(now[0]).new_words == ("Quagga",)
    keyboard.close()


@pytest.mark.parametrize(
    ("word", "text", "stands"),
    [
        ("zoo", "At the ZOO!", True),
        ("zoo", "zoom zoology", False),
        ("the zoo", "at the\n zoo", True),
        ("don't", "I don’t", True),
        ("0171 555", "call 0171 555 now", True),
        ("straße", "STRASSE", True),
        ("me@example.org", "write to me@example.org.", True),
        ("a.c", "abc", False),
        ("Müller!", "frau MÜLLER,", True),
        ("frau müller,", "Frau Müller!", True),
        ("rock n roll", "Rock-n-Roll", True),
        ("rock-n-roll", "rock 'n' roll", True),
        ("O’Brien", "o'brien's", True),
        ("C++", "in C++ now", True),
        ("C++", "in C now", False),
        ("İstanbul", "istanbul", True),
        ("غدا؟", "سوف أراك غدا", True),
        ("👧", "us 👩\u200d👩\u200d👧", True),
        ("👧", "girl", False),
    ],
)
def test_words_and_phrases_are_found_in_any_case(word, text, stands):
    assert with_word(word)(Typed(0, 0.0, text)) is stands


def test_days(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        late = datetime.datetime(2027, 1, 15, 11, 30, tzinfo=datetime.UTC)  # half past midnight there
        assert of_day("2027-01-16")(Typed(0, late.timestamp(), "x"))
        assert not of_day("2027-01-15")(Typed(0, late.timestamp(), "x"))
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "make",
    [
        lambda: with_word("…"),
        lambda: with_word(""),
        lambda: with_word(5),
        lambda: with_word("a" * 300),
        lambda: with_word("?!"),
    ],
)
def test_what_is_no_word_is_refused(make):
    with pytest.raises(InvalidRequest, match="no word to forget"):
        make()


@pytest.mark.parametrize("day", ["", "yesterday", 5, None, "2027-02-30"])
def test_what_is_no_day_is_refused(day):
    with pytest.raises(InvalidRequest, match="no such day"):
        of_day(day)

"""Keyboards of owners with a few words, for tests."""

from __future__ import annotations

import time

import torch

from gossipfl.keyboard.keyboard import Keyboard
from gossipfl.keyboard.shared_words import SharedWords
from gossipfl.keyboard.store import TypingStore
from gossipfl.tasks.words.next_word import next_word

WORDS = (
    *("the", "a", "to", "you", "i", "and", "see", "is", "at", "home", "soon", "later", "tomorrow", "today"),
    *("good", "morning", "night", "we", "are", "well", "thanks", "it"),
)


def options_in(directory, *, text="typed"):
    """Options of next-word with a vocabulary of a few words, whose file is put into a directory."""
    file = directory / "words.txt"
    file.write_text("\n".join(WORDS))
    return {"text": text, "vocabulary": str(file), "size": "tiny", "length": 8}


def keyboard_in(directory, *, now=time.time, **changes):
    options = {**options_in(directory), **changes}
    store = TypingStore(directory / "typing", now=now)
    return Keyboard(store, next_word(**options), options)


def shared_of(keyboard):
    """Its shared model, before any training."""
    task = keyboard.task
    shared = SharedWords(task, keyboard.vocabulary, length=8)
    shared.load(task.initial_row(), 0)
    return shared


def trained_row(keyboard, steps=60):
    """The row after gradient descent on the owner's samples."""
    task, data = keyboard.task, keyboard.dataset()
    module = task.build_module().train()
    optimiser = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(steps):
        loss = task.loss(module(**data.train_inputs), data.train_targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    from gossipfl.rows import to_row

    return to_row(module, task.layout)

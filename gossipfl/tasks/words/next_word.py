"""The bundled task ``next-word``: what people write, and three suggestions for the word that follows."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gossipfl.errors import InvalidTask
from gossipfl.tasks.dataset import Dataset
from gossipfl.tasks.task import Task
from gossipfl.tasks.words.corpora import CORPORA
from gossipfl.tasks.words.folder import read_texts
from gossipfl.tasks.words.metrics import perplexity, recall, surprise, user_recall, worst_recall
from gossipfl.tasks.words.models import CELLS, SIZES, NextWord
from gossipfl.tasks.words.samples import Windows, windows_of_users
from gossipfl.tasks.words.texts import Texts
from gossipfl.tasks.words.vocabulary import Vocabulary, vocabulary_of_language, vocabulary_of_texts
from topology.spelling import did_you_mean

__all__ = [
    "dataset_of",
    "find_texts",
    "find_vocabulary",
    "next_word",
    "own_windows",
    "users_with_most",
    "vocabulary_of_options",
]


def next_word(
    *,
    text: str | Path = "sotu",
    user: str | int | None = None,
    users: int = 0,
    vocabulary: str | Path = "en",
    words: int = 0,
    size: str = "small",
    cell: str = "cifg",
    length: int = 20,
    tested: float = 0.2,
    most: int = 0,
    most_tested: int = 0,
    repeats: int = 0,
    half: bool = False,
    seed: int = 0,
) -> Task:
    """Suggest the next word, as a phone's keyboard does.

    Parameters
    ----------
    text : str
        A corpus, ``sotu``, ``shakespeare`` or ``bible``; or a folder or file of one's own
        (`gossipfl.tasks.words.folder`).
    user : str or int, optional
        Whose text, which is what a peer has: a name, or a place among the users with most text, from 0; a number
        that is no such place is a name. By default that of all users, one after another: what simulations divide
        with ``partition = "natural"``.
    users : int
        Only so many users, those with most text; 0 for all.
    vocabulary : str
        A language, whose most frequent words the package ``wordfreq`` lists; a file of one word a line; or
        ``text``, the words of all users, for experiments on one machine.
    words : int
        How many words, five of them special; 0 for those of the size.
    size : str
        ``tiny``, ``small`` or ``paper``.
    cell : str
        ``cifg``, ``gru`` or ``transformer``.
    length : int
        Words in a sample, 1 … 64.
    tested : float
        Share of each user's words, the last ones, to test on.
    most, most_tested : int
        Most samples of each user to train on, the latest, and to test on, the first; 0 for all.
    repeats : int
        How often three words in a row of one user are trained on, at most; 0 for no limit. A limit keeps what one
        user writes again and again from the others' suggestions.
    half : bool
        Whether training computes the scores of words in bfloat16: faster on processors that have it.
    seed : int
        Of the initial row.

    Raises
    ------
    InvalidTask
        If there is no such text, user, vocabulary, size or cell.
    SettingError
        If ``wordfreq`` is needed and not installed.
    """
    whole = {"users": users, "words": words, "length": length, "most": most, "most_tested": most_tested}
    for name, number in {**whole, "repeats": repeats, "seed": seed}.items():
        _require(type(number) is int, f"{name} of next-word is {number!r}", "a whole number")
    for name, value in {"text": text, "vocabulary": vocabulary, "size": size, "cell": cell}.items():
        _require(isinstance(value, str | Path), f"{name} of next-word is {value!r}", "a text")
    text, vocabulary = str(text), str(vocabulary)
    _require(
        type(user) in {str, int, type(None)}, f"user of next-word is {user!r}", "a name, or a place from 0"
    )
    _require(type(tested) in {float, int}, f"tested of next-word is {tested!r}", "a number between 0 and 1")
    _require(size in SIZES, f"there is no size {size!r}", ", ".join(SIZES), did_you_mean(size, SIZES))
    _require(cell in CELLS, f"there is no cell {cell!r}", ", ".join(CELLS), did_you_mean(cell, CELLS))
    _require(1 <= length <= 64, f"samples cannot have {length} words", "1 … 64")
    _require(0 < tested < 1, f"no share of {tested} can be tested", "more than 0 and less than 1")
    _require(
        min(users, most, most_tested, repeats) >= 0,
        "a limit of next-word is negative",
        "0 for no limit, or more",
    )
    _require(
        vocabulary != "text" or user is None,
        "a peer cannot know the words of all users",
        "vocabulary='text' without a user, in an experiment",
        "Give a language or a file: vocabulary='en'.",
    )
    known = find_vocabulary(vocabulary, words or SIZES[size].words, text)
    dimensions = replace(SIZES[size], words=len(known))
    windows = partial(
        own_windows,
        text,
        known,
        user=user,
        users=users,
        length=length,
        tested=tested,
        most=most or None,
        most_tested=most_tested or None,
        repeats=repeats or None,
    )
    return Task(
        name=f"next-word/{cell}/{size}/{known.digest[:16]}/{seed}",
        model=partial(NextWord, dimensions, cell, half=half),
        data=lambda: dataset_of(windows()),
        loss=surprise,
        metrics={
            "recall": recall,
            "recall3": partial(recall, suggestions=3),
            "perplexity": perplexity,
            "user_recall": user_recall,
            "worst_recall": worst_recall,
        },
        seed=seed,
    )


def find_texts(text: str) -> Texts:
    """Texts of a corpus, or of a folder or file.

    Raises
    ------
    InvalidTask
        If there is no such text.
    """
    if text in CORPORA:
        return CORPORA[text]()
    place = Path(text).expanduser()
    if not place.exists() and "/" not in text:
        raise InvalidTask(
            f"there is no text {text!r}",
            expected=f"{', '.join(CORPORA)}, or a folder of texts",
            remedy="Only a keyboard begins with what is typed: set keyboard.enabled to true."
            if text == "typed"
            else did_you_mean(text, CORPORA),
        )
    return read_texts(place)


def find_vocabulary(name: str, size: int, text: str = "") -> Vocabulary:
    """Vocabulary of a language, a file, or with ``"text"`` of everybody's texts.

    Raises
    ------
    InvalidTask
        If there is none.
    """
    if name == "text":
        return vocabulary_of_texts((own for each in find_texts(text).of_user.values() for own in each), size)
    if "/" in name or Path(name).suffix:
        return Vocabulary.read(Path(name).expanduser(), size=size)
    return vocabulary_of_language(name, size)


def vocabulary_of_options(options: Mapping[str, Any]) -> Vocabulary:
    """Vocabulary of a task next-word with these options."""
    bound = inspect.signature(next_word).bind(**options)
    bound.apply_defaults()
    made = bound.arguments
    return find_vocabulary(made["vocabulary"], made["words"] or SIZES[made["size"]].words, made["text"])


def own_windows(
    text: str,
    vocabulary: Vocabulary,
    *,
    user: str | int | None = None,
    users: int = 0,
    length: int = 20,
    tested: float = 0.2,
    most: int | None = None,
    most_tested: int | None = None,
    repeats: int | None = None,
) -> dict[str, tuple[Windows, Windows]]:
    """Windows of each user to train and to test on; parameters are those of `next_word`.

    Raises
    ------
    InvalidTask
        If there is no such text or user, or too little of it.
    """
    texts = find_texts(text).of_user
    chosen = users_with_most(texts, user=user, users=users)
    found = windows_of_users({name: texts[name] for name in chosen}, vocabulary, length=length, tested=tested)
    return {
        name: (past.last(most).without_repeats(repeats), later.first(most_tested))
        for name, (past, later) in found.items()
    }


def users_with_most(
    texts: Mapping[str, Sequence[str]], *, user: str | int | None = None, users: int = 0
) -> list[str]:
    """Names of one user, or of those with most text in the order of their names; as in `next_word`.

    Raises
    ------
    InvalidTask
        If there is no such user.
    """
    by_size = sorted(texts, key=lambda name: -sum(map(len, texts[name])))
    return sorted(by_size[: users or None]) if user is None else [_user(user, by_size)]


def dataset_of(windows: Mapping[str, tuple[Windows, Windows]]) -> Dataset:
    """Samples of several users, one after another, with their owners in the order of the mapping."""
    past, later = zip(*windows.values(), strict=True)
    train, test = _samples(past), _samples(later)
    return Dataset(
        train_inputs=train[0],
        train_targets=train[1],
        test_inputs=test[0],
        test_targets=test[1],
        owners=train[1]["user"],
        test_owners=test[1]["user"],
    )


def _samples(parts: Sequence[Windows]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    words, following = (
        torch.from_numpy(np.concatenate([getattr(part, name) for part in parts]))
        for name in ("words", "following")
    )
    user = torch.from_numpy(np.repeat(np.arange(len(parts)), [len(part) for part in parts]))
    return {"words": words, "following": following}, {"following": following, "user": user}


def _user(user: str | int, by_size: Sequence[str]) -> str:
    if isinstance(user, int):
        if 0 <= user < len(by_size):
            return by_size[user]
        _require(
            str(user) in by_size,
            f"there is no user {user}",
            f"0 … {len(by_size) - 1}, or one of {len(by_size)} names, such as {', '.join(by_size[:3])}",
        )
        return str(user)
    _require(
        user in by_size,
        f"there is no user {user!r}",
        f"one of {len(by_size)}, such as {', '.join(by_size[:3])}",
        did_you_mean(user, by_size),
    )
    return user


def _require(fits: bool, what: str, expected: str, remedy: str | None = None) -> None:  # noqa: FBT001
    if not fits:
        raise InvalidTask(what, expected=expected, remedy=remedy)

"""Text of the owners of many phones, from a corpus of fewer authors, for the scenarios of keyboards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.errors import InvalidTask
from gossipfl.tasks import Dataset, Task
from gossipfl.tasks.words.models import NextWord, Size
from gossipfl.tasks.words.next_word import find_vocabulary, next_word, own_windows
from gossipfl.tasks.words.samples import Windows

__all__ = ["phones"]


def phones(
    *,
    phones: Annotated[int, "number of phones"] = 10_000,
    each: Annotated[int, "windows of 20 words that a phone has to train on"] = 8,
    text: Annotated[str, "a corpus or folder, as of the task next-word"] = "sotu",
    vocabulary: Annotated[str, "as of the task next-word"] = "en",
    words: Annotated[int, "size of the vocabulary"] = 3_600,
    width: Annotated[int, "of the embedding"] = 24,
    units: Annotated[int, "of the recurrent layer"] = 64,
    seed: Annotated[int, "of the first model, and of the order of the test samples"] = 0,
) -> Task:
    """Next-word prediction on phones whose owners' text is passages of a corpus, of some 100,000 parameters.

    The last fifth of each author's words is tested on, and on no phone. What came before, author after author and
    each in the order of time, is cut into windows, and each phone has ``each`` windows that follow one another,
    from evenly spaced places. Where there are more phones than the text has such passages, passages overlap: two
    phones may have some windows in common.

    Raises
    ------
    InvalidTask
        If the text is shorter than one passage, or a size is not positive.
    """
    if min(phones, each, words, width, units) < 1:
        raise InvalidTask(
            "a size of the phones' task is not positive",
            expected="1 or more",
            got=f"phones={phones}, each={each}, words={words}, width={width}, units={units}",
        )
    known = find_vocabulary(vocabulary, words, text)
    size = Size(words=len(known), width=width, units=units)
    task = next_word(text=text, vocabulary=vocabulary, words=words, seed=seed)
    return replace(
        task,
        name=f"phones/{size.words}-{width}-{units}/{known.digest[:16]}/{seed}",
        model=_Model(size),
        metrics={name: task.metrics[name] for name in ("recall", "recall3", "perplexity")},
        data=lambda: _dataset(list(own_windows(text, known).values()), phones=phones, each=each, seed=seed),
    )


@dataclass(frozen=True, slots=True)
class _Model:
    """Makes the model, in another process too."""

    size: Size

    def __call__(self) -> NextWord:
        return NextWord(self.size)


def _dataset(authors: list[tuple[Windows, Windows]], *, phones: int, each: int, seed: int) -> Dataset:
    past, later = (_joined([author[part] for author in authors]) for part in (0, 1))
    if len(past) < each:
        raise InvalidTask(
            "the text is too short for one phone",
            expected=f"{each} windows of 20 words to train on",
            got=len(past),
            remedy="Give more text, or lower `each`.",
        )
    starts = np.arange(phones) * (len(past) - each) // max(1, phones - 1)
    chosen = (starts[:, None] + np.arange(each)).reshape(-1)
    owners = np.repeat(np.arange(phones), each)
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(later))
    return Dataset(
        **_named("train", past, chosen),
        **_named("test", later, order),
        owners=torch.from_numpy(owners),
        test_owners=None,
    )


def _joined(parts: list[Windows]) -> Windows:
    return Windows(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("words", "following"))
    )


def _named(use: str, windows: Windows, chosen: NDArray[np.int64]) -> dict[str, dict[str, torch.Tensor]]:
    words, following = (torch.from_numpy(of[chosen]) for of in (windows.words, windows.following))
    return {
        f"{use}_inputs": {"words": words, "following": following},
        f"{use}_targets": {"following": following},
    }

"""The shared model of a peer as shares of the next word, for a device: loaded when it changes, asked at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.keyboard.adapter import Adapter, fitted
from gossipfl.rows import load_row
from gossipfl.tasks import Task
from gossipfl.tasks.words.models import NextWord
from gossipfl.tasks.words.samples import windows_of_sentences
from gossipfl.tasks.words.vocabulary import SPECIAL, START, Vocabulary

__all__ = ["SharedWords"]


class SharedWords:
    """Shares of the next word by a peer's shared model; used in one thread at a time.

    Parameters
    ----------
    task : Task
        `gossipfl.tasks.words.next_word.next_word`.
    vocabulary : Vocabulary
    length : int
        Most words of context.
    """

    def __init__(self, task: Task, vocabulary: Vocabulary, *, length: int) -> None:
        self._task = task
        self._length = length
        self.vocabulary = vocabulary
        self._module: NextWord | None = None
        self._version: object = None
        self._latest: tuple[tuple[int, ...], Adapter | None, NDArray[np.float64]] | None = None

    def load(self, row: Tensor, version: object) -> None:
        """Use a row ``[D]`` from now on, unless it is of the version in use."""
        if self._module is None:
            module = self._task.build_module().eval()
            assert isinstance(module, NextWord)  # noqa: S101 - the task is next-word
            self._module = module
        elif version == self._version:
            return
        load_row(self._module, self._task.layout, row)
        self._version, self._latest = version, None

    def context(self, sentences: Sequence[Sequence[str]]) -> tuple[int, ...]:
        """Numbers of the last words, each sentence behind a `START`, as in the samples that were trained on."""
        numbers: list[int] = []
        for sentence in reversed(sentences):
            numbers[:0] = [START, *self.vocabulary.encoded(sentence)]
            if len(numbers) >= self._length:
                break
        return tuple(numbers[-self._length :])

    def shares(self, context: tuple[int, ...], adapter: Adapter | None = None) -> NDArray[np.float64]:
        """Share of each word of the vocabulary, without the special ones, float64 ``[words]``; they sum to 1.

        The latest are kept: while a word is typed letter by letter, its context stays the same.
        """
        if self._latest is None or self._latest[0] != context or self._latest[1] is not adapter:
            self._latest = context, adapter, self.shares_of([context], adapter)[0]
        return self._latest[2]

    def shares_of(
        self, contexts: Sequence[tuple[int, ...]], adapter: Adapter | None = None
    ) -> NDArray[np.float64]:
        """Shares for many contexts, float64 ``[n, words]``, by the model as it is or as an adapter changes it.

        Raises
        ------
        RuntimeError
            No row has been loaded.
        """
        module = self._loaded()
        found = np.empty((len(contexts), len(self.vocabulary) - len(SPECIAL)))
        order = sorted(range(len(contexts)), key=lambda place: len(contexts[place]))
        for _, group in groupby(order, key=lambda place: len(contexts[place])):
            places = list(group)
            words = torch.tensor([contexts[place] for place in places])
            with torch.inference_mode():
                hidden = module.hidden(words)[:, -1]
                scores = module.scores(hidden) if adapter is None else adapter.scores(module, hidden)
                known = scores[:, len(SPECIAL) :].double()
                found[places] = known.softmax(dim=1).nan_to_num_(0.0).numpy()
        return found

    def fit(self, sentences: Sequence[Sequence[str]]) -> Adapter:
        """Fit an adapter to sentences, as they were written.

        Raises
        ------
        RuntimeError
            No row has been loaded.
        """
        encoded = [self.vocabulary.encoded(sentence) for sentence in sentences]
        return fitted(self._loaded(), windows_of_sentences(encoded, length=self._length))

    def _loaded(self) -> NextWord:
        if self._module is None:
            raise RuntimeError("no model has been loaded")
        return self._module

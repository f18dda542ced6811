"""The shared model of a peer as shares of the next word, for a device: loaded when it changes, asked at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.rows import load_row
from gossipfl.tasks import Task
from gossipfl.tasks.words.vocabulary import SPECIAL, START, Vocabulary

__all__ = ["SharedWords"]


class SharedWords:
    """Shares of the next word by a peer's shared model; used in one thread at a time.

    Parameters
    ----------
    task : Task
        Whose model gives scores ``[n, words]`` of integers ``[n, length]``.
    vocabulary : Vocabulary
    length : int
        Most words of context.
    """

    def __init__(self, task: Task, vocabulary: Vocabulary, *, length: int) -> None:
        self._task = task
        self._length = length
        self.vocabulary = vocabulary
        self._module: torch.nn.Module | None = None
        self._version: object = None
        self._latest: tuple[tuple[int, ...], NDArray[np.float64]] | None = None

    def load(self, row: Tensor, version: object) -> None:
        """Use a row ``[D]`` from now on, unless it is of the version in use."""
        if self._module is None:
            self._module = self._task.build_module().eval()
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

    def shares(self, context: tuple[int, ...]) -> NDArray[np.float64]:
        """Share of each word of the vocabulary, without the special ones, float64 ``[words]``; they sum to 1.

        The latest are kept: while a word is typed letter by letter, its context stays the same.
        """
        if self._latest is None or self._latest[0] != context:
            self._latest = context, self.shares_of([context])[0]
        return self._latest[1]

    def shares_of(self, contexts: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
        """Shares for many contexts, float64 ``[n, words]``.

        Raises
        ------
        RuntimeError
            No row has been loaded.
        """
        if self._module is None:
            raise RuntimeError("no model has been loaded")
        found = np.empty((len(contexts), len(self.vocabulary) - len(SPECIAL)))
        order = sorted(range(len(contexts)), key=lambda place: len(contexts[place]))
        for _, group in groupby(order, key=lambda place: len(contexts[place])):
            places = list(group)
            words = torch.tensor([contexts[place] for place in places])
            with torch.inference_mode():
                scores = self._module(words)[:, len(SPECIAL) :].double()
                found[places] = scores.softmax(dim=1).nan_to_num_(0.0).numpy()
        return found

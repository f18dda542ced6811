"""Personal models of keyboards at the end of a demo: of each author's own words, measured on later ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.demo.plan import DemoPlan
from gossipfl.keyboard.measured import foreseen, writer_of
from gossipfl.keyboard.shared_words import SharedWords
from gossipfl.tasks import find_task
from gossipfl.tasks.words.models import SIZES
from gossipfl.tasks.words.next_word import find_vocabulary
from gossipfl.tasks.words.samples import IGNORED

__all__ = ["personal_metrics"]


def personal_metrics(plan: DemoPlan, rows: Mapping[int, NDArray[np.float32]]) -> list[float]:
    """Top-1 recall of surviving peers' personal models, on the words that the others are measured on.

    Parameters
    ----------
    plan : DemoPlan
    rows : mapping of int to ndarray
        Shared model ``[D]`` of each peer, by its number.
    """
    vocabulary = find_vocabulary("en", SIZES["tiny"].words)
    found = []
    for index, row in rows.items():
        task = find_task(plan.task, plan.task_options(index))
        shared = SharedWords(task, vocabulary, length=20)
        shared.load(torch.from_numpy(row), index)
        words = int((task.dataset().test_targets["following"] != IGNORED).sum())
        found.append(foreseen(shared, writer_of(plan.text, index, vocabulary), most=words).recall)
    return found

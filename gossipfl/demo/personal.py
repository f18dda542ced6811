"""Personal models of keyboards at the end of a demo: of each author's own words, measured on later ones."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gossipfl.demo.plan import DemoPlan
from gossipfl.keyboard.measured import foreseen, writer_of
from gossipfl.keyboard.shared_words import SharedWords
from gossipfl.tasks import Task
from gossipfl.tasks.words.models import SIZES
from gossipfl.tasks.words.next_word import find_vocabulary

__all__ = ["personal_metrics"]

_WORDS = 1000  # of each author: as many as the others are measured on, or less


def personal_metrics(plan: DemoPlan, task: Task, rows: Mapping[int, Tensor]) -> list[float]:
    """Top-1 recall of each surviving peer's personal model.

    Parameters
    ----------
    plan : DemoPlan
    task : Task
        Of any peer.
    rows : mapping of int to Tensor
        Shared model ``[D]`` of each peer, by its number.
    """
    vocabulary = find_vocabulary("en", SIZES["tiny"].words)
    shared = SharedWords(task, vocabulary, length=20)
    found = []
    for index, row in rows.items():
        shared.load(row, index)
        found.append(foreseen(shared, writer_of(plan.text, index, vocabulary), most=_WORDS).recall)
    return found

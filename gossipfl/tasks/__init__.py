"""Tasks: a model, its loss, its metrics, and a peer's own data."""

from __future__ import annotations

from gossipfl.tasks.dataset import Dataset
from gossipfl.tasks.metrics import accuracy
from gossipfl.tasks.partition import partition
from gossipfl.tasks.registry import BUNDLED, find_task
from gossipfl.tasks.samples import Weighted
from gossipfl.tasks.stored import open_arrays, padded
from gossipfl.tasks.task import Task

__all__ = [
    "BUNDLED",
    "Dataset",
    "Task",
    "Weighted",
    "accuracy",
    "find_task",
    "open_arrays",
    "padded",
    "partition",
]

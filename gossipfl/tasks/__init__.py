"""Tasks: a model, its loss, its metrics, and a peer's own data.

The names below are imported on first use, so that a peer of a bundled task can be made without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossipfl.tasks.partition import partition  # now: the module of that name would take its place
from topology.lazy import lazy_attributes

if TYPE_CHECKING:
    from gossipfl.tasks.dataset import Dataset
    from gossipfl.tasks.metrics import accuracy
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

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "BUNDLED": "gossipfl.tasks.registry",
        "Dataset": "gossipfl.tasks.dataset",
        "Task": "gossipfl.tasks.task",
        "Weighted": "gossipfl.tasks.samples",
        "accuracy": "gossipfl.tasks.metrics",
        "find_task": "gossipfl.tasks.registry",
        "open_arrays": "gossipfl.tasks.stored",
        "padded": "gossipfl.tasks.stored",
    },
)

"""Errors for the author of a task or an algorithm to act on."""

from __future__ import annotations

from gossipfl.errors.root import GossipflError

__all__ = [
    "InvalidAlgorithm",
    "InvalidTask",
    "StatisticsMissing",
    "TaskError",
    "UnknownTask",
]


class TaskError(GossipflError):
    """A task is wrong."""


class UnknownTask(TaskError):
    """No bundled task has this name, and it is not an importable ``package.module:factory``."""


class InvalidTask(TaskError):
    """A task's model, loss, metrics or data break what training needs."""


class StatisticsMissing(InvalidTask):
    """A task needs common statistics of its members' tables, and they have not been gathered yet."""


class InvalidAlgorithm(GossipflError):
    """An algorithm cannot be imported, fails, or does in its rounds what nothing that runs it can carry out."""


class InvalidAttack(GossipflError):
    """An attack cannot be imported, fails, or sends what is no row."""

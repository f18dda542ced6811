"""Settings whose task's paths are absolute, so that a peer may be started, and replayed, from anywhere."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from gossipfl.settings import PeerSettings
from gossipfl.tasks.registry import options_beside

__all__ = ["with_task_paths"]


def with_task_paths(
    settings: PeerSettings, beside: Path, *, only: Collection[str] | None = None
) -> PeerSettings:
    """Return settings with relative paths of ``[task.options]`` resolved against a directory.

    Parameters
    ----------
    settings : PeerSettings
        With the directory of their modules (`gossipfl.settings.with_modules`).
    only : collection of str, optional
        The options to resolve; by default all.

    Raises
    ------
    UnknownTask
        There is no such task.
    """
    task = settings.task
    options = options_beside(
        task.name, task.options, directory=settings.runtime.modules, beside=beside, only=only
    )
    return settings.model_copy(update={"task": task.model_copy(update={"options": options})})

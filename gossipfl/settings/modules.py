"""Modules of the user's own that settings name."""

from __future__ import annotations

from pathlib import Path

from gossipfl.settings.peer import PeerSettings
from topology.plugins import is_object_name, stands_in

__all__ = ["with_modules"]


def with_modules(settings: PeerSettings, directory: Path) -> PeerSettings:
    """Note that modules which settings name as ``module:object`` stand in a directory, if one does.

    The settings are recorded, so that a replay finds the modules too. A relative ``runtime.modules`` is resolved
    against the directory.
    """
    given = settings.runtime.modules
    if given is not None:
        return settings if given.is_absolute() else _searching(settings, directory / given)
    names = (
        settings.task.name,
        *settings.task.metrics,
        settings.gossip.algorithm,
        settings.rounds.algorithm,
        settings.rounds.topology,
        settings.codec,
        *(value for value in settings.rounds.parameters.values() if isinstance(value, str)),
    )
    objects = [":".join(name.split(":")[:2]) for name in names if name]
    beside = any(is_object_name(name) and stands_in(directory, name) for name in objects)
    return _searching(settings, directory) if beside else settings


def _searching(settings: PeerSettings, directory: Path) -> PeerSettings:
    runtime = settings.runtime.model_copy(update={"modules": directory.resolve()})
    return settings.model_copy(update={"runtime": runtime})

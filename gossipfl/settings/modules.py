"""Modules of the user's own that settings name."""

from __future__ import annotations

from pathlib import Path

from gossipfl.settings.peer import PeerSettings
from topology.plugins import is_object_name, stands_in

__all__ = ["with_modules"]


def with_modules(settings: PeerSettings, directory: Path) -> PeerSettings:
    """Note that modules which settings name as ``module:object`` stand in a directory, if one does.

    The settings are recorded, so that a replay finds the modules too.
    """
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
    if settings.runtime.modules is not None or not beside:
        return settings
    runtime = settings.runtime.model_copy(update={"modules": directory.resolve()})
    return settings.model_copy(update={"runtime": runtime})

"""Callbacks of a sweep's runs, by names that mean the same in every process that does a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sims.errors import InvalidCallback
from sims.sweeping.settings import Sweep
from sims.tracking.mlflow import MLflow
from sims.tracking.names import callbacks_of, is_tracker, require_list
from topology.plugins import stands_in

__all__ = ["callbacks_for"]


def callbacks_for(sweep: Sweep, given: Sequence[str], *, elsewhere: bool = False) -> tuple[str, ...]:
    """Check callbacks before anything is run, and return their names.

    Parameters
    ----------
    sweep : Sweep
        With its scenario as a table.
    given : sequence of str
        As of `sims.tracking.names.callbacks_of`. Each is made once, and told nothing.
    elsewhere : bool
        Whether runs are done on machines that need not share a disk with this one.

    Returns
    -------
    tuple of str
        Directories of trackers as absolute paths.

    Raises
    ------
    InvalidCallback
        If one is no name, there is none of that name, or it would be lost elsewhere.
    SettingError
        If a tracker's library is not installed.
    """
    require_list(given)
    for each in given:
        if not isinstance(each, str):
            raise InvalidCallback(
                "callbacks of a sweep are made in the processes that do its runs",
                expected="names: a tracker, or package.module:name",
                got=type(each).__name__,
            )
    modules = sweep.scenario.get("modules") if isinstance(sweep.scenario, dict) else None
    beside = None if modules is None else Path(modules)
    callbacks_of(given, beside=beside)
    return tuple(
        _placed(each, elsewhere) if is_tracker(each) else _own(each, beside, elsewhere) for each in given
    )


def _placed(name: str, elsewhere: bool) -> str:
    tracker, _, where = name.partition(":")
    takes_uri = tracker == MLflow.name
    if where.startswith("/") or (takes_uri and _is_uri(where)):
        return name
    if elsewhere:
        what = "a tracking URI, or an absolute path" if takes_uri else "an absolute path"
        raise InvalidCallback(
            f"{tracker} would write to files on whichever machine does a run",
            expected=f"{tracker}:PLACE, {what} on a disk that all machines share",
            got=name,
        )
    return f"{tracker}:{Path(where).absolute()}" if where else name


def _is_uri(where: str) -> bool:
    """Whether a place is the same one for every process: three slashes are SQLite's for a path from here."""
    return "://" in where and (not where.startswith("sqlite:///") or where.startswith("sqlite:////"))


def _own(name: str, beside: Path | None, elsewhere: bool) -> str:
    sent = beside is not None and stands_in(beside, name)
    if elsewhere and not sent and stands_in(Path.cwd(), name):
        raise InvalidCallback(
            "the callback's module is only in the current directory, and is not sent to other machines",
            expected="a module beside those that the scenario names, or one installed on every machine",
            got=name,
        )
    return name

"""Tasks by name: bundled ones, and the user's own as ``package.module:factory``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gossipfl.errors import GossipflError, InvalidTask, UnknownTask
from gossipfl.tasks.digits import digits
from gossipfl.tasks.option_paths import absolute_paths, as_annotated
from gossipfl.tasks.pendigits import pendigits
from gossipfl.tasks.spambase import spambase
from gossipfl.tasks.table import table
from gossipfl.tasks.task import Task
from gossipfl.tasks.words.next_word import next_word
from topology.plugins import is_object_name, load_object, load_offered, offered
from topology.spelling import did_you_mean

__all__ = [
    "BUNDLED",
    "METRICS_GROUP",
    "find_task",
    "options_beside",
    "require_metric_name",
    "require_task_name",
]

METRICS_GROUP = "gossipfl.metrics"
"""Entry point group in which installed packages offer metrics."""

BUNDLED: Mapping[str, Callable[..., Task]] = {
    "digits": digits,
    "next-word": next_word,
    "pendigits": pendigits,
    "spambase": spambase,
    "table": table,
}


def find_task(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    metrics: Sequence[str] = (),
    directory: Path | None = None,
) -> Task:
    """Make the task of this name.

    Parameters
    ----------
    name : str
        A bundled task, or ``package.module:factory`` where ``factory(**options)`` returns a `Task`. The
        current directory is searched too.
    options : mapping, optional
        Keyword arguments of the factory, from the ``[task.options]`` table of a peer's settings.
    metrics : sequence of str
        Further metrics, each ``package.module:function`` or a name that an installed package offers; the task's
        own come first.
    directory : Path, optional
        Searched before the current directory.

    Raises
    ------
    UnknownTask
        If there is no such task, module or factory.
    InvalidTask
        If the factory does not accept the options, fails, or returns something else.
    """
    factory = _factory(name, directory)
    options = as_annotated(factory, options or {})
    taken = inspect.signature(factory).parameters
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        near = (did_you_mean(each, taken) for each in options if each not in taken)
        raise InvalidTask(
            f"task {name!r} does not take these options",
            expected=f"options {inspect.signature(factory)}",
            got=options,
            remedy=" ".join([f"{str(error).capitalize()}.", *filter(None, near)]),
        ) from error
    try:
        task = factory(**options)
    except GossipflError:
        raise
    except Exception as error:
        raise InvalidTask(f"the factory {name!r} failed", got=f"{type(error).__name__}: {error}") from error
    if not isinstance(task, Task):
        raise InvalidTask(
            f"the factory {name!r} returned no task", expected="a gossipfl.Task", got=type(task).__name__
        )
    if not metrics:
        return task
    return replace(
        task, metrics={**task.metrics, **{_short(each): _metric(each, directory) for each in metrics}}
    )


def options_beside(
    name: str,
    options: Mapping[str, Any],
    *,
    directory: Path | None,
    beside: Path,
    only: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return options of this task with their relative paths resolved against the directory `beside`.

    Parameters
    ----------
    name, options, directory
        As for `find_task`.
    only : collection of str, optional
        The options to resolve; by default all.

    Raises
    ------
    UnknownTask
        If there is no such task, module or factory.
    """
    return absolute_paths(_factory(name, directory), options, beside=beside, only=only)


def _factory(name: str, directory: Path | None) -> Callable[..., Any]:
    try:
        require_task_name(name)
        return BUNDLED.get(name) or _own(name, directory)
    except UnknownTask as error:
        raise error.at("task.name") from error


def require_task_name(name: str) -> None:
    """Require the name of a bundled task, or of an object in a module, which is not imported.

    Raises
    ------
    UnknownTask
    """
    if name not in BUNDLED and not re.fullmatch(r"[^:]+:[^:]+", name):
        raise UnknownTask(
            f"there is no bundled task {name!r}",
            expected=f"one of {', '.join(BUNDLED)}, or package.module:factory",
            remedy=did_you_mean(name, BUNDLED),
        )


def require_metric_name(name: str) -> None:
    """Require the name of a metric that a package offers, or of an object in a module; neither is imported.

    Raises
    ------
    UnknownTask
    """
    known = offered(METRICS_GROUP)
    if name not in known and not is_object_name(name):
        raise UnknownTask(
            f"there is no metric {name!r}",
            expected=" or ".join([*known, "package.module:function, e.g. mine:macro_f1"]),
            remedy=did_you_mean(name, known),
        )


def _short(name: str) -> str:
    return name.rpartition(":")[2]


def _metric(name: str, directory: Path | None) -> Callable[..., Any]:
    require_metric_name(name)
    if is_object_name(name):
        return _own(name, directory)
    found: Callable[..., Any] = load_offered(METRICS_GROUP, name, kind="metric", unusable=InvalidTask)
    if not callable(found):
        raise InvalidTask(
            f"{name!r} is not a metric",
            expected="a function of a model's outputs and the targets",
            got=type(found).__name__,
        )
    return found


def _own(name: str, directory: Path | None) -> Callable[..., Any]:
    return load_object(name, kind="function", unknown=UnknownTask, unusable=InvalidTask, directory=directory)

"""Paths among a task's options, which are relative to where the options are written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, get_args

__all__ = ["absolute_paths", "as_annotated"]


def absolute_paths(
    factory: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    beside: Path,
    only: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return the options with relative paths resolved against a directory.

    Paths are strings for parameters that the factory annotates as `pathlib.Path`; where it takes other strings
    too (``str | Path``), those that lead to something there.

    Parameters
    ----------
    only : collection of str, optional
        The options to resolve; by default all.
    """
    resolved = dict(options)
    for name, kinds in _kinds(factory).items():
        value = options.get(name)
        if Path not in kinds or not isinstance(value, str) or (only is not None and name not in only):
            continue
        path = beside.absolute() / Path(value).expanduser()
        if str not in kinds or (value and path.exists()):
            resolved[name] = str(path)
    return resolved


def as_annotated(factory: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with those strings as paths that the factory takes as paths alone."""
    kinds = _kinds(factory)
    return {
        name: Path(value)
        if isinstance(value, str) and Path in kinds.get(name, ()) and str not in kinds[name]
        else value
        for name, value in options.items()
    }


def _kinds(factory: Callable[..., Any]) -> dict[str, tuple[Any, ...]]:
    """Return the types that each parameter is annotated with; none where annotations cannot be read."""
    try:
        parameters = inspect.signature(factory, eval_str=True).parameters
    except (NameError, TypeError, ValueError, AttributeError, SyntaxError):
        return {}
    return {
        name: get_args(parameter.annotation) or (parameter.annotation,)
        for name, parameter in parameters.items()
    }

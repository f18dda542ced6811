"""The user's own objects: ``package.module:name``, and entry points of installed packages."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from topology.errors import ExplainedError
from topology.spelling import closest

__all__ = [
    "also_search",
    "is_object_name",
    "load_object",
    "load_offered",
    "offered",
    "source_of",
    "stands_in",
]


def is_object_name(name: str) -> bool:
    """Whether a name is of the form ``package.module:attribute``."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))


def stands_in(directory: Path, name: str) -> bool:
    """Whether a directory has the module of ``package.module:attribute``."""
    return any(path.is_file() for path in _files_of(directory, name.partition(":")[0]))


def also_search(directory: Path) -> None:
    """Also find modules in a directory, after all other places, for the lifetime of the process."""
    place = str(directory.resolve())
    if place not in sys.path:
        sys.path.append(place)


def load_object(
    name: str,
    *,
    kind: str,
    unknown: type[ExplainedError],
    unusable: type[ExplainedError],
    directory: Path | None = None,
) -> Callable[..., Any]:
    """Import the function or class that ``package.module:attribute`` names.

    Parameters
    ----------
    name : str
    kind : str
        Its expected kind, for messages: ``"function"`` or ``"class"``.
    unknown, unusable : type of ExplainedError
        Errors to raise if there is no such module or attribute, and if the module cannot be imported.
    directory : Path, optional
        Searched before the current directory and the installed packages.

    Raises
    ------
    unknown, unusable
    """
    module_name, _, attribute = name.partition(":")
    places = [str(place) for place in dict.fromkeys([directory and directory.resolve(), Path.cwd()]) if place]
    try:
        with _first_on_path(places):
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise unusable(
                f"the module {module_name!r} imports {error.name!r}, which is not installed",
                remedy=f"Install {error.name!r}.",
            ) from error
        raise unknown(
            f"there is no module {module_name!r}",
            expected="an installed module, or one in the current directory, with dots and without '.py'",
            got=f"nothing of that name in {' or '.join(places)}",
        ) from error
    except Exception as error:
        raise unusable(
            f"the module {module_name!r} cannot be imported", got=f"{type(error).__name__}: {error}"
        ) from error
    _require_from(directory, module, unusable)
    found: Callable[..., Any] | None = getattr(module, attribute, None)
    if not callable(found):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        near = closest(attribute, public)
        raise unknown(
            f"the module {module_name!r} has no {kind} {attribute!r}",
            remedy=f"Did you mean {module_name}:{near}?" if near else None,
        )
    return found


def source_of(declared: type, *, unusable: type[ExplainedError]) -> str:
    """Text of the module that defines a class, whatever ends its lines.

    Raises
    ------
    unusable
        If there is no text: it was typed into an interpreter.
    """
    module = inspect.getmodule(declared)
    try:
        return inspect.getsource(module) if module is not None else inspect.getsource(declared)
    except (OSError, TypeError) as error:
        raise unusable(
            f"the source of {declared.__qualname__} cannot be read",
            expected="a module in a file",
            got=error,
        ) from error


@cache
def offered(group: str) -> Mapping[str, EntryPoint]:
    """Return the entry points of installed packages in a group such as ``gossipfl.topologies``, by name."""
    return {point.name: point for point in entry_points(group=group)}


def load_offered(group: str, name: str, *, kind: str, unusable: type[ExplainedError]) -> Any:  # noqa: ANN401
    """Load what an installed package offers under a name: a key of ``offered(group)``.

    Parameters
    ----------
    group, name : str
    kind : str
        What it is, for messages: ``"algorithm"``, ``"codec"``.
    unusable : type of ExplainedError
        The error to raise if it cannot be loaded.

    Raises
    ------
    unusable
    """
    point = offered(group)[name]
    try:
        return point.load()
    except Exception as error:
        raise unusable(
            f"the {kind} {name!r} of the installed {point.value} cannot be imported",
            got=f"{type(error).__name__}: {error}",
        ) from error


def _require_from(directory: Path | None, module: ModuleType, unusable: type[ExplainedError]) -> None:
    """Refuse a module imported earlier from elsewhere if `directory` has another of the same name."""
    found = getattr(module, "__file__", None)
    own = [path for path in _files_of(directory or Path(), module.__name__) if path.is_file()]
    if directory is None or found is None or not own or _are_copies(own[0], Path(found)):
        return
    raise unusable(
        f"two modules are called {module.__name__!r}",
        expected=f"the one in {directory}",
        got=f"{found}, which is already imported",
        remedy="Rename one of them.",
    )


def _are_copies(first: Path, second: Path) -> bool:
    return first.samefile(second) or first.read_bytes() == second.read_bytes()


def _files_of(directory: Path, module: str) -> tuple[Path, Path]:
    path = directory.joinpath(*module.split("."))
    return path / "__init__.py", path.with_suffix(".py")


@contextmanager
def _first_on_path(places: list[str]) -> Iterator[None]:
    sys.path[:0] = places
    try:
        yield
    finally:
        for place in places:
            sys.path.remove(place)
            if place not in sys.path:
                sys.path.append(
                    place
                )  # what the object itself imports later is found too, but shadows nothing

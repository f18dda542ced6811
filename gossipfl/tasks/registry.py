"""Tasks by name: bundled ones, and the user's own as ``package.module:factory``."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from gossipfl.errors import GossipflError, InvalidTask, UnknownTask
from gossipfl.tasks.digits import digits
from gossipfl.tasks.pendigits import pendigits
from gossipfl.tasks.spambase import spambase
from gossipfl.tasks.task import Task

__all__ = ["BUNDLED", "find_task"]

BUNDLED: Mapping[str, Callable[..., Task]] = {
    "digits": digits,
    "pendigits": pendigits,
    "spambase": spambase,
}


def find_task(name: str, options: Mapping[str, Any] | None = None) -> Task:
    """Make the task of this name.

    Parameters
    ----------
    name : str
        A bundled task, or ``package.module:factory`` where ``factory(**options)`` returns a `Task`. The
        current directory is searched too.
    options : mapping, optional
        Keyword arguments of the factory, from the ``[task.options]`` table of a peer's settings.

    Raises
    ------
    UnknownTask
        If there is no such task, module or factory.
    InvalidTask
        If the factory does not accept the options, fails, or returns something else.
    """
    factory = BUNDLED.get(name) or _import_factory(name)
    options = dict(options or {})
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise InvalidTask(
            f"task {name!r} does not take these options",
            expected=f"options {inspect.signature(factory)}",
            got=options,
            remedy=f"{str(error).capitalize()}.",
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
    return task


def _import_factory(name: str) -> Callable[..., Any]:
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        close = difflib.get_close_matches(name, BUNDLED, n=1)
        raise UnknownTask(
            f"there is no bundled task {name!r}",
            expected=f"one of {', '.join(BUNDLED)}, or package.module:factory",
            remedy=f"Did you mean {close[0]!r}?" if close else None,
        )
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise InvalidTask(
                f"the module {module_name!r} imports {error.name!r}, which is not installed",
                remedy=f"Install {error.name!r}.",
            ) from error
        raise UnknownTask(
            f"there is no module {module_name!r}",
            expected="an installed module, or one in the current directory, with dots and without '.py'",
            got=f"nothing of that name in {here}",
        ) from error
    except Exception as error:
        raise InvalidTask(
            f"the module {module_name!r} cannot be imported", got=f"{type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(here)
        if here not in sys.path:
            sys.path.append(here)  # what the factory itself imports later is found too, but shadows nothing
    factory = getattr(module, attribute, None)
    if not callable(factory):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        close = difflib.get_close_matches(attribute, public, n=1)
        raise UnknownTask(
            f"the module {module_name!r} has no function {attribute!r}",
            remedy=f"Did you mean {module_name}:{close[0]}?" if close else None,
        )
    return cast(Callable[..., Any], factory)

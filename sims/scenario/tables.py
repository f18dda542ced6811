"""Tables of a scenario before they are checked: topologies as tables, and where files and modules are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from topology.catalogue import as_table, canonical_name
from topology.errors import TopologyError
from topology.plugins import stands_in

__all__ = ["mistake_at", "modules_of", "resolve", "topology_table"]

_OBJECT = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")  # package.module:name, also within an expression


def mistake_at(location: tuple[str, ...], message: str, value: object) -> ValidationError:
    """Return the error about a value at these keys, for a validator to raise."""
    error = PydanticCustomError("declared", "{message}", {"message": message})
    return ValidationError.from_exception_data(
        "scenario", [InitErrorDetails(type=error, loc=location, input=value)]
    )


def topology_table(value: Any) -> Any:
    """Return a topology as a table, its family's name spelt as in the registry.

    Parameters
    ----------
    value : str or mapping
        An expression, or a table whose ``name`` may itself be one; anything else is returned unchanged.

    Raises
    ------
    TopologyError
        If it is an expression that cannot be read.
    """
    if isinstance(value, str):
        return as_table(value)
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return value
    name = canonical_name(value["name"])
    named = as_table(name) if ":" in name else {"name": name}
    return {**named, **{key: given for key, given in value.items() if key != "name"}}


def resolve(table: dict[str, Any], directory: Path) -> None:
    """Make the files that a scenario names absolute, and note the directory of the user's own modules.

    Parameters
    ----------
    table : dict
        Changed in place. Errors in it are left to validation.
    directory : Path
        Directory of the scenario's file.
    """
    with suppress(TopologyError):
        if "topology" in table:
            table["topology"] = topology_table(table["topology"])
    topology = table.get("topology")
    if isinstance(topology, dict) and isinstance(path := topology.get("path"), str):
        beside = directory / path
        topology["path"] = str(beside.resolve()) if beside.exists() else path
    _resolve_files(table, directory)
    modules = modules_of(table, directory)
    if modules is not None:
        table.setdefault("modules", modules)


def modules_of(table: Any, directory: Path) -> str | None:
    """Return `directory` if the module of a ``module:name`` anywhere in a table stands there; else None."""
    names = (name for text in _texts(table) for name in _OBJECT.findall(text))
    return str(directory.resolve()) if any(stands_in(directory, name) for name in names) else None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    for each in inner:
        yield from _texts(each)


def _resolve_files(table: dict[str, Any], directory: Path) -> None:
    for key, value in table.items():
        if isinstance(value, dict):
            _resolve_files(value, directory)
        elif key == "file" and isinstance(value, str) and not Path(value).is_absolute():
            table[key] = str((directory / value).resolve())

"""Dotted keys of scenarios: ``training.learning_rate`` names a value in a table in a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sims.errors import InvalidSweep

__all__ = ["assign", "flattened", "label_of", "look_up"]


def flattened(table: Any, *, until: Callable[[Mapping[str, Any]], bool] = lambda value: False) -> Any:
    """Flatten nested tables to one table with dotted keys; anything else is returned unchanged.

    Parameters
    ----------
    table : mapping
        ``{"training": {"learning_rate": 0.1}}`` and ``{"training.learning_rate": 0.1}`` come to the same.
    until : callable
        Tables for which this holds are values themselves.
    """
    if not isinstance(table, Mapping):
        return table
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and value and not until(value):
            flat |= {f"{key}.{name}": inner for name, inner in flattened(value, until=until).items()}
        else:
            flat[key] = value
    return flat


def assign(table: dict[str, Any], key: str, value: Any) -> None:
    """Set the value at a dotted key, making the tables on the way; a table replaces what was there as a whole.

    Raises
    ------
    InvalidSweep
        If the key is not a dotted key, or passes through a plain value.
    """
    names = key.split(".")
    if not all(names):
        raise InvalidSweep("a key of a scenario is dotted", expected="e.g. training.learning_rate", got=key)
    for name in names[:-1]:
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            raise InvalidSweep(f"the key {key!r} descends into {name!r}, which is a plain value")
        table = inner
    table[names[-1]] = value


def look_up(model: object, key: str) -> Any:
    """The value at a dotted key of a scenario; None if there is none."""
    for name in key.split("."):
        model = model.get(name) if isinstance(model, Mapping) else getattr(model, name, None)
    return model


def label_of(value: Any) -> bool | int | float | str:
    """The name of a value in records: itself, or for a table its label, or its name and arguments."""
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        if "label" in value:
            return str(value["label"])
        rest = ", ".join(
            f"{key}={label_of(inner)}" for key, inner in value.items() if key not in ("name", "kind")
        )
        name = value.get("name", value.get("kind", ""))
        return f"{name}({rest})" if rest else str(name)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(str(label_of(inner)) for inner in value)}]"
    return str(value)

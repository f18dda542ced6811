"""Tables of a scenario that name a declared class and give its parameters, before they are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gossipfl.algorithms.declaration import Declaration
from gossipfl.algorithms.file_form import Settings, with_settings
from gossipfl.errors import GossipflError, SettingError
from sims.scenario.tables import mistake_at

__all__ = ["class_named_in", "made"]

Declared = TypeVar("Declared", bound=Declaration)


def class_named_in(
    table: Mapping[str, Any], *, find: Callable[..., type[Declared]], names: Callable[[], list[str]]
) -> type[Declared]:
    """Find the class that a table names, in the ``modules`` beside the scenario first.

    Raises
    ------
    ValidationError
        There is no name, or no such class.
    """
    name = table.get("name")
    if not isinstance(name, str):
        raise mistake_at(("name",), f"required here: one of {', '.join(names())}", name)
    try:
        return find(name, directory=table.get("modules"))
    except GossipflError as error:
        raise mistake_at(("name",), str(error), name) from None


def made(declared: type[Declared], settings: Settings) -> Declared:
    """Make an instance, so that what its own checks refuse is refused now.

    Raises
    ------
    ValueError
        They refuse something.
    """
    try:
        return with_settings(declared, settings)
    except SettingError as error:
        raise ValueError(str(error)) from None

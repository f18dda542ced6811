"""Modules that are imported on first use, and those that may be missing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from topology.errors import MissingExtra

__all__ = ["import_extra", "lazy_attributes"]


def lazy_attributes(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a module's ``__getattr__`` and ``__dir__`` (PEP 562): names imported from their homes when asked for.

    Parameters
    ----------
    package : str
        ``__name__`` of the module.
    homes : mapping of str to str
        For each name the module that defines it. A submodule's home is itself.

    Examples
    --------
    In a package's ``__init__.py``::

        __getattr__, __dir__ = lazy_attributes(__name__, {"Peer": "gossipfl.peer.peer"})
    """

    def attribute(name: str) -> Any:  # noqa: ANN401 - as many types as names
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = import_module(homes[name])
        return home if homes[name] == f"{package}.{name}" else getattr(home, name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return attribute, names


def import_extra(*modules: str, extra: str, what: str) -> Any:  # noqa: ANN401 - what it imports has no types
    """Import modules of an optional dependency, and return the first.

    Raises
    ------
    MissingExtra
        If one is not installed.
    """
    try:
        first, *_ = map(import_module, modules)
    except ImportError as failure:
        raise MissingExtra(
            what,
            expected=f"{' and '.join(modules)} installed",
            got=str(failure),
            remedy=f"pip install 'gossipfl[{extra}]'",
        ) from failure
    return first

"""The one registration of attacks: those of this package, of installed ones, and a user's own.

One of this package is registered by being in a module of `gossipfl.attacks.alone` or `.aimed`, one of an installed
package by an entry point of the group ``gossipfl.attacks``. A user's own is named ``module:Class``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gossipfl.attacks.base import Attack
from gossipfl.errors import InvalidAttack, UnknownAttack
from topology.plugins import is_object_name, load_object, load_offered, offered
from topology.spelling import did_you_mean

__all__ = ["attack_names", "bundled", "find_attack"]

_GROUP = "gossipfl.attacks"
_PACKAGES = ("gossipfl.attacks.alone", "gossipfl.attacks.aimed")


@cache
def bundled() -> Mapping[str, type[Attack]]:
    """The attacks of this package by name."""
    found: dict[str, type[Attack]] = {}
    for package in _PACKAGES:
        for each in pkgutil.iter_modules(import_module(package).__path__):
            module = import_module(f"{package}.{each.name}")
            for value in vars(module).values():
                if _is_attack(value) and value.__module__ == module.__name__ and value.name:
                    found[value.name] = value
    return MappingProxyType(dict(sorted(found.items())))


def attack_names() -> list[str]:
    """Names of all attacks except a user's own, sorted.

    Examples
    --------
    >>> "alie" in attack_names()
    True
    """
    return sorted({*bundled(), *offered(_GROUP)})


def find_attack(name: str, *, directory: Path | None = None) -> type[Attack]:
    """Find the attack of this name.

    Parameters
    ----------
    name : str
        Of this package, of an installed one, or ``package.module:Class``.
    directory : Path, optional
        Directory searched for a user's own module, before the current directory.

    Raises
    ------
    UnknownAttack
        If there is no such attack.
    InvalidAttack
        If the name leads to something else, or to a module that cannot be imported.

    Examples
    --------
    >>> find_attack("alie").paper
    'Baruch, Baruch & Goldberg, NeurIPS 2019'
    """
    found: Any
    if is_object_name(name):
        found = load_object(
            name, kind="class", unknown=UnknownAttack, unusable=InvalidAttack, directory=directory
        )
    elif name in bundled():
        found = bundled()[name]
    elif name in offered(_GROUP):
        found = load_offered(_GROUP, name, kind="attack", unusable=InvalidAttack)
    else:
        known = attack_names()
        raise UnknownAttack(
            f"there is no attack {name!r}",
            expected=f"one of {', '.join(known)}, or package.module:Class",
            remedy=did_you_mean(name, known),
        )
    if not _is_attack(found) or not getattr(getattr(found, "__dataclass_params__", None), "frozen", False):
        raise InvalidAttack(
            f"{name!r} is not an attack",
            expected="a frozen dataclass derived from gossipfl.attacks.SameToAll, Aimed or Poisoned",
            got=getattr(found, "__qualname__", type(found).__qualname__),
        )
    attack: type[Attack] = found
    return attack


def _is_attack(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Attack)

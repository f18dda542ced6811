"""The one registration of attacks: those of this package, of installed ones, and a user's own.

One of this package is registered by being in a module of `gossipfl.attacks.alone` or `.aimed`, one of an installed
package by an entry point of the group ``gossipfl.attacks``. A user's own is named ``module:Class``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gossipfl.algorithms.registration import Registration
from gossipfl.attacks.base import Attack
from gossipfl.errors import InvalidAttack, UnknownAttack

__all__ = ["attack_names", "bundled", "find_attack"]


def _is_attack(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Attack)


_ATTACKS: Final = Registration[Attack](
    kind="an attack",
    packages=("gossipfl.attacks.alone", "gossipfl.attacks.aimed"),
    group="gossipfl.attacks",
    derived_from="gossipfl.attacks.SameToAll, Aimed or Poisoned",
    is_one=_is_attack,
    unknown=UnknownAttack,
    unusable=InvalidAttack,
)


def bundled() -> Mapping[str, type[Attack]]:
    """The attacks of this package by name, sorted."""
    return dict(sorted(_ATTACKS.bundled().items()))


def attack_names() -> list[str]:
    """Names of all attacks except a user's own, sorted.

    Examples
    --------
    >>> "alie" in attack_names()
    True
    """
    return _ATTACKS.names()


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
    return _ATTACKS.find(name, directory=directory)

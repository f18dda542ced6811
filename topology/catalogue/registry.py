"""The one registry of topologies: the names that scenarios, peers and the command line accept."""

from __future__ import annotations

from pathlib import Path
from warnings import warn

from topology.catalogue.bundled import FAMILIES
from topology.catalogue.family import Family
from topology.catalogue.signature import family_of
from topology.errors import InvalidParameter, UnknownTopology
from topology.plugins import is_object_name, load_object, load_offered, offered
from topology.spelling import did_you_mean

__all__ = ["FAMILIES", "GROUP", "canonical_name", "families", "find_family"]

GROUP = "gossipfl.topologies"
"""Entry point group in which installed packages offer a `Family`, or a function that makes a topology."""

_BY_NAME = {family.name: family for family in FAMILIES}
_FORMER = {family.former: family.name for family in FAMILIES if family.former}


def families() -> tuple[Family, ...]:
    """Return all families known by name: those of the library, and those that installed packages offer."""
    return FAMILIES + tuple(_offered(name) for name in offered(GROUP) if name not in _BY_NAME)


def canonical_name(name: str) -> str:
    """Return a family's name as the registry spells it: hyphens for underscores, today's name for a former one.

    A name that is not known, and one of the user's own functions, is returned as it is.
    """
    if is_object_name(name):
        return name.strip()
    spelt = name.strip().lower().replace("_", "-")
    if spelt in _FORMER:
        warn(f"topology {name!r} is now called {_FORMER[spelt]!r}", FutureWarning, stacklevel=2)
        return _FORMER[spelt]
    return spelt if spelt in _BY_NAME else name.strip()


def find_family(name: str, *, directory: Path | None = None) -> Family:
    """Return the family of this name.

    Parameters
    ----------
    name : str
        A family of the library or of an installed package, or ``package.module:function``.
    directory : Path, optional
        Where functions of the user's own are searched first; then in the current directory and among
        installed packages.

    Raises
    ------
    UnknownTopology
        If there is none; the error suggests one with a similar name.
    InvalidParameter
        If a module of the user's own cannot be imported.
    """
    known = canonical_name(name)
    if known in _BY_NAME:
        return _BY_NAME[known]
    if is_object_name(known):
        maker = load_object(
            known, kind="function", unknown=UnknownTopology, unusable=InvalidParameter, directory=directory
        )
        return family_of(known, maker)
    if known in offered(GROUP):
        return _offered(known)
    names = [*_BY_NAME, *offered(GROUP)]
    hint = did_you_mean(known.lower().replace("_", "-"), names)
    raise UnknownTopology(
        f"there is no topology {name!r}",
        remedy=f"{hint + ' ' if hint else ''}`gossipfl topology list` shows all {len(names)}",
    )


def _offered(name: str) -> Family:
    loaded = load_offered(GROUP, name, kind="topology", unusable=InvalidParameter)
    return loaded if isinstance(loaded, Family) else family_of(name, loaded)

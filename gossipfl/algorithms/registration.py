"""Registration of classes that are found by name: of this project, of installed packages, and of users."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from gossipfl.algorithms.declaration import Declaration
from gossipfl.errors import GossipflError
from topology.plugins import is_object_name, load_object, load_offered, offered
from topology.spelling import did_you_mean

__all__ = ["Registration"]

Declared = TypeVar("Declared", bound=Declaration)


@dataclass(frozen=True, kw_only=True)
class Registration(Generic[Declared]):
    """The one registration of a kind of classes, such as algorithms or attacks.

    Parameters
    ----------
    kind : str
        What such a class is, with its article: ``"an attack"``.
    packages : tuple of str
        Packages of this project in whose modules a class is registered by being there.
    group : str
        Entry points by which installed packages offer others.
    derived_from : str
        From what a user's own class is derived, for messages.
    is_one : callable
        Whether an object is such a class.
    unknown, unusable : type of GossipflError
        Raised if there is no such class, or if a name leads to something else.
    """

    kind: str
    packages: tuple[str, ...]
    group: str
    derived_from: str
    is_one: Callable[[object], bool]
    unknown: type[GossipflError]
    unusable: type[GossipflError]

    def bundled(self) -> Mapping[str, type[Declared]]:
        """The classes of this project by name, in the order of their modules."""
        return _declared_in(self.packages, self.is_one)

    def names(self) -> list[str]:
        """Names of all but users' own, sorted."""
        return sorted({*self.bundled(), *offered(self.group)})

    def find(
        self,
        name: str,
        *,
        directory: Path | None = None,
        otherwise: Callable[[str], type[Declared] | None] = lambda name: None,
    ) -> type[Declared]:
        """Find the class of this name.

        Parameters
        ----------
        name : str
            Of this project, of an installed package, or ``package.module:Class``.
        directory : Path, optional
            Directory searched for a user's own module, before the current directory.
        otherwise : callable
            Told a name that is neither; returns the class that is meant, if it knows.

        Raises
        ------
        GossipflError
            ``unknown`` if there is no such class; ``unusable`` if the name leads to something else, to a class
            that is no frozen dataclass, or to a module that cannot be imported.
        """
        _, _, noun = self.kind.partition(" ")
        found: Any
        if is_object_name(name):
            found = load_object(
                name, kind="class", unknown=self.unknown, unusable=self.unusable, directory=directory
            )
        elif name in self.bundled():
            found = self.bundled()[name]
        elif name in offered(self.group):
            found = load_offered(self.group, name, kind=noun, unusable=self.unusable)
        else:
            found = otherwise(name)
            if found is None:
                raise self.no_such(name, self.names())
        if not self.is_one(found):
            raise self.unusable(
                f"{name!r} is not {self.kind}",
                expected=f"a frozen dataclass derived from {self.derived_from}",
                got=getattr(found, "__qualname__", type(found).__qualname__),
            )
        self._require_frozen(found, name)
        declared: type[Declared] = found
        return declared

    def no_such(self, name: str, known: list[str]) -> GossipflError:
        """Return the error about a name that nothing has."""
        _, _, noun = self.kind.partition(" ")
        return self.unknown(
            f"there is no {noun} {name!r}",
            expected=f"one of {', '.join(known)}, or package.module:Class",
            remedy=did_you_mean(name, known),
        )

    def _require_frozen(self, found: type[Declaration], name: str) -> None:
        """Refuse a class whose fields cannot be read, or that could change during a run."""
        _, _, noun = self.kind.partition(" ")
        parameters = getattr(found, "__dataclass_params__", None)
        if parameters is not None and parameters.frozen:
            return
        raise self.unusable(
            f"the {noun} {name!r} cannot be used as it is",
            expected="a frozen dataclass",
            got="a plain class" if parameters is None else "a dataclass that is not frozen",
            remedy=f"Write @dataclass(frozen=True) above class {found.__name__}.",
        )


@cache
def _declared_in(packages: tuple[str, ...], is_one: Callable[[object], bool]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for package in packages:
        modules = sorted(each.name for each in pkgutil.iter_modules(import_module(package).__path__))
        for module in (import_module(f"{package}.{name}") for name in modules):
            for value in vars(module).values():
                if is_one(value) and value.__module__ == module.__name__ and value.name:
                    found[value.name] = value
    return MappingProxyType(found)

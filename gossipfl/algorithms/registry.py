"""The one registration of algorithms: those of this package, of installed ones, and a user's own.

One of this package is registered by being in a module of `gossipfl.algorithms.rounds` or `.gossip`, one of an
installed package by an entry point of the group ``gossipfl.algorithms``. A user's own is named ``module:Class``
wherever a name is expected.
"""

from __future__ import annotations

import hashlib
import pkgutil
import warnings
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, overload

from pydantic import ValidationError

from gossipfl.algorithms.declaration import Algorithm
from gossipfl.algorithms.file_form import Settings, settings_model, settings_of, with_settings
from gossipfl.errors import InvalidAlgorithm, OldSpelling, SettingError, UnknownAlgorithm
from gossipfl.settings.error_messages import expectation
from topology.plugins import is_object_name, load_object, load_offered, offered, source_of
from topology.spelling import did_you_mean

if TYPE_CHECKING:
    from gossipfl.algorithms.base import RoundAlgorithm
    from gossipfl.algorithms.messages import MessageAlgorithm

__all__ = [
    "algorithm_names",
    "bundled",
    "digest_of",
    "find_algorithm",
    "make_algorithm",
    "name_of",
]

_GROUP = "gossipfl.algorithms"
Kind = Literal["rounds", "messages"]


@cache
def bundled() -> Mapping[str, type[Algorithm]]:
    """The algorithms of this package by name."""
    found: dict[str, type[Algorithm]] = {}
    for package in ("gossipfl.algorithms.rounds", "gossipfl.algorithms.gossip"):
        for module_name in sorted(
            each.name for each in pkgutil.iter_modules(import_module(package).__path__)
        ):
            module = import_module(f"{package}.{module_name}")
            for value in vars(module).values():
                if _is_algorithm(value) and value.__module__ == module.__name__ and value.name:
                    found[value.name] = value
    return MappingProxyType(found)


def algorithm_names(kind: Kind | None = None) -> list[str]:
    """Names of all algorithms except a user's own, sorted; of one kind if given.

    Examples
    --------
    >>> "d_psgd" in algorithm_names()
    True
    """
    names = [name for name, algorithm in bundled().items() if kind in (None, algorithm.kind)]
    installed = [name for name in offered(_GROUP) if kind is None or find_algorithm(name).kind == kind]
    return sorted({*names, *installed})


def find_algorithm(name: str, *, kind: Kind | None = None, directory: Path | None = None) -> type[Algorithm]:
    """Find the algorithm of this name.

    Parameters
    ----------
    name : str
        Of this package, of an installed one, or ``package.module:Class``.
    kind : {'rounds', 'messages'}, optional
        The required kind.
    directory : Path, optional
        Directory searched for a user's own module, before the current directory.

    Raises
    ------
    UnknownAlgorithm
        If there is no such algorithm, or it is of the other kind.
    InvalidAlgorithm
        If the name leads to something else, or to a module that cannot be imported.

    Examples
    --------
    >>> find_algorithm("choco").paper
    'Koloskova, Stich & Jaggi, ICML 2019'
    """
    found: Any
    if is_object_name(name):
        found = load_object(
            name, kind="class", unknown=UnknownAlgorithm, unusable=InvalidAlgorithm, directory=directory
        )
    elif name in bundled():
        found = bundled()[name]
    elif name in offered(_GROUP):
        found = load_offered(_GROUP, name, kind="algorithm", unusable=InvalidAlgorithm)
    else:
        found = _called_otherwise(name, kind)
    if not _is_algorithm(found):
        raise InvalidAlgorithm(
            f"{name!r} is not an algorithm",
            expected="a frozen dataclass derived from gossipfl.algorithms.RoundAlgorithm or MessageAlgorithm",
            got=getattr(found, "__qualname__", type(found).__qualname__),
        )
    _require_frozen(found, name)
    if kind is not None and kind != found.kind:
        what = {"rounds": "runs in rounds", "messages": "is driven by messages"}
        raise UnknownAlgorithm(
            f"{name} {what[found.kind]}",
            expected=f"one that {what[kind]}: {', '.join(algorithm_names(kind))}",
        )
    algorithm: type[Algorithm] = found
    return algorithm


def name_of(name: str, algorithm: type[Algorithm]) -> str:
    """Name of an algorithm that was found by `name`: as declared, or as written if it is a user's own."""
    return name if is_object_name(name) or not algorithm.name else algorithm.name


@overload
def make_algorithm(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    kind: Literal["rounds"],
    directory: Path | None = None,
    key: str = "",
) -> RoundAlgorithm: ...


@overload
def make_algorithm(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    kind: Literal["messages"],
    directory: Path | None = None,
    key: str = "",
) -> MessageAlgorithm: ...


@overload
def make_algorithm(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    kind: None = None,
    directory: Path | None = None,
    key: str = "",
) -> Algorithm: ...


def make_algorithm(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    kind: Kind | None = None,
    directory: Path | None = None,
    key: str = "",
) -> Algorithm:
    """Make the algorithm of this name.

    Parameters
    ----------
    name : str
        As for `find_algorithm`.
    parameters : mapping of str to object, optional
        As in files; a codec is given by its name.
    kind, directory
        As for `find_algorithm`.
    key : str
        Name of the parameters' table in files, for messages.

    Raises
    ------
    UnknownAlgorithm, InvalidAlgorithm
        As `find_algorithm`.
    SettingError
        If a parameter is missing, unknown or wrong.

    Examples
    --------
    >>> make_algorithm("d_psgd", {"order": "both-at-once"})
    DPSGD(order='both-at-once')
    """
    found = find_algorithm(name, kind=kind, directory=directory)
    model = settings_model(found)
    try:
        settings = model.model_validate(dict(parameters or {}))
    except ValidationError as error:
        raise _explained(error, name=name, model=model, key=key) from None
    return with_settings(found, settings)


def digest_of(algorithm: Algorithm, name: str) -> str:
    """Digest of what two nodes must have in common to run an algorithm together: 64 hexadecimal digits (SHA-256).

    It covers name, parameters and, unless the algorithm is of this package, the text of its module.
    """
    declared = type(algorithm)
    digest = hashlib.sha256(repr((name_of(name, declared), sorted(settings_of(algorithm).items()))).encode())
    if declared not in bundled().values():
        digest.update(source_of(declared, unusable=InvalidAlgorithm).encode())
    return digest.hexdigest()


def _is_algorithm(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Algorithm) and hasattr(value, "kind")


def _require_frozen(found: type[Algorithm], name: str) -> None:
    """Refuse a class whose fields `parameters_of` could not read, or that could change during a run."""
    parameters = getattr(found, "__dataclass_params__", None)
    if parameters is not None and parameters.frozen:
        return
    raise InvalidAlgorithm(
        f"the algorithm {name!r} cannot be used as it is",
        expected="a frozen dataclass",
        got="a plain class" if parameters is None else "a dataclass that is not frozen",
        remedy=f"Write @dataclass(frozen=True) above class {found.__name__}.",
    )


def _called_otherwise(name: str, kind: Kind | None) -> type[Algorithm]:
    """The algorithm that was called so earlier, or is but for its hyphens."""
    for declared in bundled().values():
        if name.replace("-", "_") in (declared.name, *declared.also_called):
            warnings.warn(OldSpelling(f"the algorithm {name!r} is called {declared.name!r}"), stacklevel=3)
            return declared
    known = algorithm_names(kind)
    raise UnknownAlgorithm(
        f"there is no algorithm {name!r}",
        expected=f"one of {', '.join(known)}, or package.module:Class",
        remedy=did_you_mean(name, known),
    )


def _explained(error: ValidationError, *, name: str, model: type[Settings], key: str) -> SettingError:
    """The first thing that is wrong with parameters, as a named error."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    where, own = ".".join([*filter(None, [key]), *path]), list(model.model_fields)
    if first["type"] == "extra_forbidden":
        return SettingError(
            f"{where}: {name} takes no {path[-1]!r}",
            expected=", ".join(own) or "no parameters",
            remedy=did_you_mean(path[-1], own),
        )
    if first["type"] == "missing":
        about = model.model_fields[path[0]].description
        return SettingError(f"{where}: {name} needs {path[-1]!r}", expected=about)
    return SettingError(f"{where} of {name}: {expectation(first['msg'])}", got=repr(first["input"]))

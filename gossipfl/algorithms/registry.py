"""The one registration of algorithms: those of this package, of installed ones, and a user's own.

One of this package is registered by being in a module of `gossipfl.algorithms.rounds` or `.gossip`, one of an
installed package by an entry point of the group ``gossipfl.algorithms``. A user's own is named ``module:Class``
wherever a name is expected.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from pydantic import ValidationError

from gossipfl.algorithms.declaration import Algorithm
from gossipfl.algorithms.file_form import Settings, settings_model, settings_of, with_settings
from gossipfl.algorithms.registration import Registration
from gossipfl.errors import InvalidAlgorithm, OldSpelling, SettingError, UnknownAlgorithm
from gossipfl.settings.error_messages import expectation, known_keys
from topology.plugins import is_object_name, source_of
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


def _is_algorithm(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Algorithm) and hasattr(value, "kind")


_ALGORITHMS: Final = Registration[Algorithm](
    kind="an algorithm",
    packages=("gossipfl.algorithms.rounds", "gossipfl.algorithms.gossip"),
    group="gossipfl.algorithms",
    derived_from="gossipfl.algorithms.RoundAlgorithm or MessageAlgorithm",
    is_one=_is_algorithm,
    unknown=UnknownAlgorithm,
    unusable=InvalidAlgorithm,
)


def bundled() -> Mapping[str, type[Algorithm]]:
    """The algorithms of this package by name."""
    return _ALGORITHMS.bundled()


def algorithm_names(kind: Kind | None = None) -> list[str]:
    """Names of all algorithms except a user's own, sorted; of one kind if given.

    Examples
    --------
    >>> "d_psgd" in algorithm_names()
    True
    """
    return [name for name in _ALGORITHMS.names() if kind is None or find_algorithm(name).kind == kind]


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
    found = _ALGORITHMS.find(name, directory=directory, otherwise=lambda name: _called_otherwise(name, kind))
    if kind is not None and kind != found.kind:
        what = {"rounds": "runs in rounds", "messages": "is driven by messages"}
        raise UnknownAlgorithm(
            f"{name} {what[found.kind]}",
            expected=f"one that {what[kind]}: {', '.join(algorithm_names(kind))}",
        )
    return found


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
        raise _explained(error, name=name, model=model, given=parameters or {}, key=key) from None
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


def _called_otherwise(name: str, kind: Kind | None) -> type[Algorithm]:
    """The algorithm that was called so earlier, or is but for its hyphens."""
    for declared in bundled().values():
        if name.replace("-", "_") in (declared.name, *declared.also_called):
            warnings.warn(OldSpelling(f"the algorithm {name!r} is called {declared.name!r}"), stacklevel=5)
            return declared
    raise _ALGORITHMS.no_such(name, algorithm_names(kind))


def _explained(
    error: ValidationError, *, name: str, model: type[Settings], given: Mapping[str, object], key: str
) -> SettingError:
    """The first thing that is wrong with parameters, as a named error."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    where = ".".join([*filter(None, [key]), *path])
    if first["type"] == "extra_forbidden":
        own = known_keys(model, path[:-1], given)
        return SettingError(
            f"{where}: {name} takes no {path[-1]!r}",
            expected=", ".join(own) or "no parameters",
            remedy=did_you_mean(path[-1], own),
        )
    if first["type"] == "missing":
        about = model.model_fields[path[0]].description
        return SettingError(f"{where}: {name} needs {path[-1]!r}", expected=about)
    return SettingError(f"{where} of {name}: {expectation(first['msg'])}", got=repr(first["input"]))

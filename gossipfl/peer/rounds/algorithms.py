"""Round-based algorithms by name, with parameters from settings."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

import gossipfl.algorithms.rounds
from gossipfl.algorithms import RoundAlgorithm
from gossipfl.codecs import Compressor, codec
from gossipfl.errors import SettingError
from topology.spelling import did_you_mean

__all__ = ["algorithm_names", "make_algorithm", "parameters_of"]

#: Short names that papers use, beside the modules' own.
_SHORT = {
    "qg_dsgdm": "quasi_global_momentum",
    "sgp": "stochastic_gradient_push",
}


def algorithm_names() -> list[str]:
    """Names of all round-based algorithms; each is that of its module."""
    return sorted(name for name in _modules() if _class_in(name) is not None)


def make_algorithm(name: str, parameters: Mapping[str, Any]) -> RoundAlgorithm:
    """Make the algorithm of this name.

    Parameters
    ----------
    name : str
    parameters : mapping of str to object
        As settings have them; a compressor is given by its name.

    Raises
    ------
    SettingError
        If there is no such algorithm, or a parameter is unknown or wrong.
    """
    kind = _class_in(_SHORT.get(name, name).replace("-", "_"))
    if kind is None:
        known = algorithm_names()
        raise SettingError(
            f"rounds.algorithm: there is no round-based algorithm {name!r}",
            expected=f"one of {', '.join(known)}",
            remedy=did_you_mean(name, known),
        )
    hints = get_type_hints(kind)
    own = [field.name for field in fields(kind)]
    given = {}
    for key, value in parameters.items():
        if key not in own:
            raise SettingError(
                f"rounds.parameters: {name} takes no {key!r}",
                expected=", ".join(own) or "no parameters",
                remedy=did_you_mean(key, own),
            )
        given[key] = _read(name, key, hints[key], value)
    try:
        made: RoundAlgorithm = kind(**given)
    except TypeError as error:
        raise SettingError(f"rounds.parameters: {name} needs more parameters", got=str(error)) from None
    return made


def parameters_of(algorithm: RoundAlgorithm) -> dict[str, str]:
    """All parameters of an algorithm, defaults included, as text that is equal where they are."""
    values = {}
    for field in fields(algorithm):  # type: ignore[arg-type]  # all algorithms are dataclasses
        value = getattr(algorithm, field.name)
        values[field.name] = value.name if hasattr(value, "payload_bytes") else repr(value)
    return values


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(gossipfl.algorithms.rounds.__path__)]


def _class_in(name: str) -> type | None:
    """Give the algorithm that a module of `gossipfl.algorithms.rounds` defines, if it does."""
    if name not in _modules():
        return None
    module = import_module(f"gossipfl.algorithms.rounds.{name}")
    classes: list[type] = [each for each in vars(module).values() if isinstance(each, type)]
    for each in classes:
        is_own = is_dataclass(each) and each.__module__ == module.__name__
        if is_own and all(hasattr(each, member) for member in ("requirements", "start", "round")):
            return each
    return None


def _read(name: str, key: str, kind: Any, value: object) -> object:  # noqa: ANN401  (any annotation)
    if Compressor in (kind, *getattr(kind, "__args__", ())):
        if not isinstance(value, str):
            raise SettingError(
                f"rounds.parameters.{key}: a compressor is given by its name",
                expected='a name such as "top:0.01"',
                got=repr(value),
            )
        return codec(value)
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        said = "; ".join(str(each["msg"]) for each in error.errors())
        raise SettingError(f"rounds.parameters.{key} of {name}: {said}", got=repr(value)) from None

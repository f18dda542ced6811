"""Parameters of algorithms in the form that files have: numbers, words and tables.

The pydantic models that read them are derived from the declarations, and so are the values back and forth.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import MISSING, is_dataclass
from functools import cache, partial
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model, model_validator

from gossipfl.algorithms.declaration import DeclaredParameter, parameters_of
from gossipfl.codecs import Compressor, codec
from gossipfl.errors import OldSpelling
from gossipfl.settings.codec_names import accepted
from gossipfl.settings.table import refuse_truth_for_numbers

__all__ = ["Settings", "UsableCodec", "settings_model", "settings_of", "with_settings"]

T = TypeVar("T")


UsableCodec = Annotated[str, AfterValidator(partial(accepted, codec))]
"""A codec as files name it; unlike a `KnownCodec` it has been made once."""


class Settings(BaseModel):
    """Parameters as files have them: numbers, words and tables; subclasses are derived by `settings_model`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    _old_names: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, values: Any) -> Any:  # noqa: ANN401
        refuse_truth_for_numbers(cls, values)
        return values

    @model_validator(mode="before")
    @classmethod
    def _in_todays_spelling(cls, values: Any) -> Any:  # noqa: ANN401
        if not isinstance(values, Mapping) or not cls._old_names.keys() & values.keys():
            return values
        renamed = dict(values)
        for old, new in cls._old_names.items():
            if old in renamed and new not in renamed:
                warnings.warn(OldSpelling(f"the parameter {old!r} is now called {new!r}"), stacklevel=2)
                renamed[new] = renamed.pop(old)
        return renamed


def settings_model(declared: type, *, base: type[Settings] = Settings) -> type[Settings]:
    """The pydantic model of a dataclass's parameters in files.

    Parameters
    ----------
    declared : type
        A dataclass: an algorithm, or the type of one of its parameters.
    base : type
        With the keys that are common to all algorithms of a kind; a parameter of the same name takes their place.
    """
    return _derived(declared, base)


@cache
def _derived(declared: Any, base: Any) -> type[Settings]:  # noqa: ANN401  (mypy takes no class for hashable)
    parameters = parameters_of(declared)
    fields_of_model: dict[str, Any] = {each.name: _field(each) for each in parameters}
    make: Any = create_model  # mypy would treat the result as a distinct class
    model: type[Settings] = make(
        declared.__name__,
        __base__=base,
        __doc__=declared.__doc__,
        __module__=declared.__module__,
        **fields_of_model,
    )
    model._old_names = {each.about.formerly: each.name for each in parameters if each.about.formerly}
    return model


def with_settings(declared: type[T], settings: BaseModel) -> T:
    """Make a dataclass from its settings.

    Raises
    ------
    SettingError
        If the dataclass refuses them.
    """
    return declared(
        **{each.name: _made(each.kind, getattr(settings, each.name)) for each in parameters_of(declared)}
    )


def settings_of(instance: object) -> dict[str, Any]:
    """Parameters of an algorithm as a file would have them, defaults included."""
    return {each.name: _written(getattr(instance, each.name)) for each in parameters_of(type(instance))}


def _field(parameter: DeclaredParameter) -> tuple[Any, Any]:
    """A parameter as a field of a pydantic model."""
    about = parameter.about
    rest: dict[str, Any] = {"description": about.description or None, **about.bounds}
    if parameter.default is MISSING:
        return _plain(parameter.kind), Field(**rest)
    if is_dataclass(parameter.default):
        model, default = _plain(type(parameter.default)), settings_of(parameter.default)
        return _plain(parameter.kind), Field(default_factory=lambda: model(**default), **rest)
    return _plain(parameter.kind), Field(_written(parameter.default), **rest)


def _plain(kind: Any) -> Any:  # noqa: ANN401  (any annotation)
    """The type of a value's form in a file: a codec's name, a table for a dataclass."""
    if kind is Compressor:
        return UsableCodec
    if isinstance(kind, type) and is_dataclass(kind):
        return settings_model(kind)
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(_plain(each) for each in get_args(kind))]  # noqa: UP007  (made at run time)
    return kind


def _made(kind: Any, value: Any) -> Any:  # noqa: ANN401
    """The value that an algorithm gets for a form in a file."""
    kinds = (kind, *get_args(kind))
    if isinstance(value, str) and Compressor in kinds:
        return codec(value)
    if isinstance(value, Settings):
        return with_settings(
            next(each for each in kinds if isinstance(each, type) and is_dataclass(each)), value
        )
    return value


def _written(value: Any) -> Any:  # noqa: ANN401
    """The form in a file for a value of an algorithm."""
    if is_dataclass(value) and not hasattr(value, "payload_bytes"):
        return settings_of(value)
    return value.name if hasattr(value, "payload_bytes") else value

"""The base of all tables of settings, whose mistakes are named errors wherever they are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from gossipfl.errors import SettingError
from gossipfl.settings.error_messages import explained

__all__ = ["Table", "refuse_truth_for_numbers"]


def refuse_truth_for_numbers(model: type[BaseModel], values: object) -> None:
    """Refuse true and false where a number belongs, which pydantic would take for 1 and 0.

    Raises
    ------
    ValidationError
    """
    if not isinstance(values, Mapping):
        return
    given = {key: value for key, value in values.items() if isinstance(value, bool)}
    mistakes = [
        InitErrorDetails(type=PydanticCustomError("truth", "expected a number"), loc=(key,), input=given[key])
        for name, field in model.model_fields.items()
        if (key := field.alias or name) in given and _is_number(field.annotation)
    ]
    if mistakes:
        raise ValidationError.from_exception_data(model.__name__, mistakes)


def _is_number(annotation: object) -> bool:
    kinds = _kinds(annotation)
    return bool(kinds & {int, float}) and bool not in kinds


def _kinds(annotation: object) -> set[object]:
    inner = get_args(annotation)
    return {kind for each in inner for kind in _kinds(each)} if inner else {annotation}


class Table(BaseModel):
    """A table of settings: frozen, finite, and without unknown keys.

    The text below a key is its description, in files, for flags and in the documentation.

    Raises
    ------
    SettingError
        If a key or value is wrong; all that is wrong is listed, a line each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    _wrong: ClassVar[type[SettingError]] = SettingError

    def __init__(self, /, *unnamed: object, **values: Any) -> None:  # noqa: ANN401 - fields of subclasses
        if unnamed:
            raise self._wrong(
                f"{type(self).__name__} takes its keys by name",
                expected=f"{type(self).__name__}({next(iter(type(self).model_fields))}=…), or a mapping after **",
                got=type(unnamed[0]).__name__,
            )
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise self._named(error, values) from None

    # Pydantic calls any other constructor for tables in tables too, which would part their mistakes.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, values: Any) -> Any:  # noqa: ANN401
        refuse_truth_for_numbers(cls, values)
        return values

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:  # noqa: ANN401 - as pydantic calls it
        for field in cls.model_fields.values():
            if field.description is not None:
                field.description = " ".join(field.description.split())

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:  # noqa: ANN401
        """Make the table from a mapping; see `pydantic.BaseModel.model_validate`."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise cls._named(error, obj) from None

    @classmethod
    def from_file(
        cls, table: Mapping[str, Any], *, source: str, text: str = "", given: Mapping[str, str] | None = None
    ) -> Self:
        """Make the table from what was read from a file, whose lines errors cite.

        Parameters
        ----------
        table : mapping
        source, text : str
            Name of the file, and the TOML in it.
        given : mapping of str to str, optional
            Dotted keys whose values the command line gave, and how: cited in place of the file.
        """
        try:
            return super().model_validate(table)
        except ValidationError as error:
            raise cls._named(error, table, source=source, text=text, given=given) from None

    @classmethod
    def _named(
        cls,
        error: ValidationError,
        table: object,
        *,
        source: str | None = None,
        text: str = "",
        given: Mapping[str, str] | None = None,
    ) -> SettingError:
        values = table if isinstance(table, Mapping) else {}
        source = cls.__name__ if source is None else source
        return cls._wrong(explained(error, model=cls, text=text, source=source, table=values, given=given))

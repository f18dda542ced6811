"""Keys of settings files, table by table: what each takes, its bounds, default and meaning."""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gossipfl.errors import SettingError
from topology.spelling import did_you_mean

__all__ = ["Key", "KeyTable", "chosen_tables", "form_tables", "key_tables", "written_default"]

_CHOICES = ("name", "kind", "distribution")
_KINDS = {
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "NoneType": "",
    "Path": "path",
    "Any": "anything",
    "table": "table",
}
_BOUNDS = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a table."""

    name: str
    takes: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTable:
    """A table of a settings file.

    Parameters
    ----------
    place : str
        Its name, with dots; empty for keys outside tables.
    is_list : bool
        Whether it may be written several times, as ``[[place]]``.
    choice : str
        Where a table has one of several forms: the key and value that choose this one.
    about : str
        What it is for.
    keys : tuple of Key
    """

    place: str
    is_list: bool = False
    choice: str = ""
    about: str
    keys: tuple[Key, ...]

    @property
    def heading(self) -> str:
        """As it is written in a file; empty for keys outside tables."""
        return "" if not self.place else f"[[{self.place}]]" if self.is_list else f"[{self.place}]"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def key_tables(model: type[BaseModel]) -> Iterator[KeyTable]:
    """Yield the tables of a file that a model reads, keys outside tables first."""
    if own := _keys(model):
        yield KeyTable(place="", about="Keys outside tables.", keys=own)
    yield from _inner(model, "", frozenset())


def form_tables(model: type[BaseModel], *, place: str, choice: str, about: str) -> Iterator[KeyTable]:
    """Yield one form of a table, and the tables inside it."""
    yield KeyTable(place=place, choice=choice, about=about, keys=_keys(model))
    for each in _inner(model, f"{place}.", frozenset()):
        yield replace(each, choice=f"{each.choice} where {choice}".strip())


def chosen_tables(tables: Iterable[KeyTable], sought: str) -> list[KeyTable]:
    """Tables with a name, and what is inside them; or of all tables, the keys in which a word occurs.

    Parameters
    ----------
    tables : iterable of KeyTable
    sought : str
        A table, a table and a key (``network.loss``), or a word.

    Raises
    ------
    SettingError
        Nothing is called so.
    """
    tables = list(tables)
    word = sought.strip("[]").lower()
    inside = [each for each in tables if each.place == word or each.place.startswith(f"{word}.")]
    if inside:
        return inside
    found = []
    for table in tables:
        prefix = f"{table.place}." if table.place else ""
        exact = [key for key in table.keys if f"{prefix}{key.name}" == word]
        loose = [key for key in table.keys if word in f"{prefix}{key.name} {key.meaning}".lower()]
        if keys := exact or loose:
            found.append((bool(exact), table, tuple(keys)))
    is_exact = any(exact for exact, _, _ in found)
    if not found:
        names = {each.place for each in tables if each.place} | {
            key.name for each in tables for key in each.keys
        }
        raise SettingError(
            "no table, key or meaning has this in it",
            expected="a table such as network, a key such as network.loss, or a word",
            got=repr(sought),
            remedy=did_you_mean(word, names),
        )
    return [replace(each, keys=keys) for exact, each, keys in found if exact or not is_exact]


def _inner(model: type[BaseModel], prefix: str, above: frozenset[type[BaseModel]]) -> Iterator[KeyTable]:
    for name, field in model.model_fields.items():
        place = f"{prefix}{field.alias or name}"
        for each in _models(field.annotation):
            if each in above:
                continue
            choosing = _choosing_key(each)
            yield KeyTable(
                place=place,
                is_list=_repeats(field.annotation),
                choice="" if choosing is None else f"{choosing} = {_values(each, choosing)}",
                about=_first_line(each) or field.description or "",
                keys=_keys(each, besides=choosing),
            )
            yield from _inner(each, f"{place}.", above | {each})


def _choosing_key(model: type[BaseModel]) -> str | None:
    """The key by which one of several forms of a table is chosen."""
    for key in _CHOICES:
        field = model.model_fields.get(key)
        if (
            field is not None
            and typing.get_origin(field.annotation) is typing.Literal
            and not field.description
        ):
            return key
    return None


def _values(model: type[BaseModel], key: str) -> str:
    values = typing.get_args(model.model_fields[key].annotation)
    return " or ".join(f'"{value}"' for value in values)


def _first_line(model: type) -> str:
    text = (inspect.getdoc(model) or "") if "__doc__" in vars(model) else ""
    return text.partition("\n\n")[0].replace("\n", " ")


def _models(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401  (any annotation)
    if inspect.isclass(annotation) and not typing.get_origin(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [found for each in typing.get_args(annotation) for found in _models(each)]


def _repeats(annotation: Any) -> bool:  # noqa: ANN401
    origin = typing.get_origin(annotation)
    return origin in {list, tuple} or any(_repeats(each) for each in typing.get_args(annotation))


def _keys(model: type[BaseModel], *, besides: str | None = None) -> tuple[Key, ...]:
    return tuple(
        Key(
            name=field.alias or name,
            takes=_takes(field.annotation, field.metadata),
            default=_default(field),
            meaning=" ".join((field.description or "").split()),
        )
        for name, field in model.model_fields.items()
        if name != besides and not field.exclude and not _models(field.annotation)
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return written_default(field.get_default(call_default_factory=True, validated_data={}))


def written_default(value: object) -> str:
    """Return a default as it is written in a file; ``unset`` for None."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return repr(value)


def _takes(annotation: Any, metadata: Iterable[object]) -> str:  # noqa: ANN401
    bounds = [
        f"{sign} {_exactly(value)}"
        for each in metadata
        for attribute, sign in _BOUNDS
        if (value := getattr(each, attribute, None)) is not None
    ]
    return " ".join(filter(None, [_kind(annotation), ", ".join(bounds)]))


def _exactly(bound: float) -> str:
    return repr(int(bound)) if bound == int(bound) else repr(bound)


def _kind(annotation: Any) -> str:  # noqa: ANN401
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _takes(arguments[0], arguments[1:])
    if origin is typing.Literal:
        return ", ".join(map(written_default, arguments))
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(dict.fromkeys(filter(None, map(_kind, arguments))))
    if origin in {list, tuple}:
        return f"list of {_kind(arguments[0])}"
    name = "table" if origin is dict else getattr(annotation, "__name__", "")
    return _KINDS.get(name, "text")

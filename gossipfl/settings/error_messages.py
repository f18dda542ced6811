"""Mistakes in TOML files and flags, each with its place, its key, and a correct form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gossipfl.settings.places import cited, value_at
from topology.spelling import did_you_mean

__all__ = ["expectation", "explained", "known_keys"]

_CHOOSING = ("kind", "name", "distribution")
_MAPPING = re.compile(r"a valid dictionary( or (instance of \w+|object to extract fields from))?")
_PATH = re.compile(r"Input is not a valid path for .*")
_TYPES = ("str", "int", "float", "bool")  # forms of a value; others are classes, PartitionFile


def explained(
    error: ValidationError,
    *,
    model: type[BaseModel],
    text: str,
    source: str,
    table: Mapping[str, Any],
    given: Mapping[str, str] | None = None,
) -> str:
    """State for each mistake where it is and what was expected.

    Parameters
    ----------
    error : ValidationError
        The errors that pydantic found.
    model : type
        The model of the table.
    text, source : str
        Text of the file, or nothing, and its name.
    table : mapping
        The table that was checked.
    given : mapping of str to str, optional
        Dotted keys whose values the command line gave, and how: cited in place of the file.

    Returns
    -------
    str
        A line for each mistake.
    """
    lines = []
    for mistake, names in _of_one_alternative(error, table):
        if mistake["type"].startswith("union_tag"):
            names.append(mistake["ctx"]["discriminator"].strip("'"))
        place = _on_command_line(names, given or {}, table) or cited(source, text, names)
        message = expectation(mistake["msg"])
        is_whole = mistake["type"] == "value_error" and isinstance(mistake["input"], (Mapping, BaseModel))
        got = "" if mistake["type"] == "missing" or is_whole else f"; got {mistake['input']!r}"
        if mistake["type"] == "union_tag_not_found":
            message, got = f"required here: one of {', '.join(_known_values(model, names, table))}", ""
        if mistake["type"] == "declared" or "; got " in message:
            got = ""  # the message says it
        hint = _sentence(_meant(mistake))
        if mistake["type"] == "union_tag_invalid":
            tag, tags = mistake["ctx"]["tag"], mistake["ctx"]["expected_tags"].replace("'", "")
            message, got = f"there is no {tag!r}; expected one of {tags}", ""
            hint = _sentence(did_you_mean(tag, tags.split(", ")))
        if mistake["type"] == "extra_forbidden":
            known = known_keys(model, names[:-1], table)
            suggestion = did_you_mean(names[-1], known)
            if suggestion is None and (taking := _taking(mistake["input"], model, names[:-1], table)):
                suggestion = f"Did you mean {taking!r}, which takes {mistake['input']!r}?"
            message, got = f"unknown key {names[-1]!r}", ""
            if names[-1] in _keys_of(_models_at(model, names[:-1], table)):
                message, suggestion = f"{names[-1]!r} belongs to another {names[-2]} than the one named", None
            hint = _sentence(suggestion) or f"; known are {', '.join(sorted(known))}"
        lines.append(": ".join(filter(None, [place, ".".join(names), f"{message}{got}{hint}"])))
    return "\n".join(lines)


def _of_one_alternative(
    error: ValidationError, table: Mapping[str, Any]
) -> list[tuple[ErrorDetails, list[str]]]:
    """Mistakes with their keys: where a value may have several forms, those of the form that it has.

    A value that has none of the forms is one mistake, which names them all.
    """
    found: list[tuple[ErrorDetails, list[str]]] = []
    for mistake in error.errors(include_url=False):
        names = [str(part) for part in mistake["loc"] if not _is_union_tag(part, mistake["loc"], table)]
        found.append((mistake, names))
    kept: list[tuple[ErrorDetails, list[str]]] = []
    for mistake, names in found:
        others = [(each, at) for each, at in found if each is not mistake and at[: len(names)] == names]
        if not others or not _is_of_form(mistake):
            kept.append((mistake, names))
            continue
        same = [each for each, at in others if at == names and _is_of_form(each)]
        if len(same) == len(others) and not any(at == names for _, at in kept):
            forms = [expectation(each["msg"]).removeprefix("expected ") for each in (mistake, *same)]
            forms = [form.partition(", unable")[0] for form in dict.fromkeys(forms)]
            kept.append(({**mistake, "msg": f"expected {' or '.join(forms)}"}, names))
    return kept


def _is_of_form(mistake: ErrorDetails) -> bool:
    """Whether a value is of another kind, rather than out of bounds."""
    return mistake["type"].endswith(("_type", "_parsing"))


def expectation(message: str) -> str:
    """Message of pydantic in the words of all others: what was expected."""
    message = message.removeprefix("Value error, ")
    message = message.replace("a valid tuple", "a list").replace("a valid list", "a list")
    message = _MAPPING.sub("a table", _PATH.sub("Input should be a path", message))
    expected = message.removeprefix("Input should be ")
    if expected == message:
        return message
    return (
        f"expected a number {expected}"
        if expected.startswith(("greater", "less"))
        else f"expected {expected}"
    )


def _on_command_line(names: Sequence[str], given: Mapping[str, str], table: Mapping[str, Any]) -> str | None:
    """How the command line gave a key, the table it is in or, if that lacks it, the name of that table."""
    above = [".".join(names[:length]) for length in range(len(names), 0, -1)]
    beneath = [key for key in given if key.startswith(f"{above[0]}.")] if above else []
    whole = names if isinstance(value_at(table, names), Mapping) else names[:-1]
    naming = [".".join([*whole, key]) for key in ("name", "kind")]
    lacking = value_at(table, names) is None or whole == names
    for key in (*above, *(naming if lacking else ()), *beneath):
        if key in given:
            return given[key]
    return None


def _sentence(hint: str | None) -> str:
    return f". {hint}" if hint else ""


def _is_union_tag(part: object, location: tuple[Any, ...], table: object) -> bool:
    """Whether this part of pydantic's location is one of several forms of a value, not a key in the file."""
    position = location.index(part)
    inner: Any = table
    for step in location[:position]:
        is_index = isinstance(inner, list) and isinstance(step, int) and step < len(inner)
        if is_index or (isinstance(inner, dict) and step in inner):
            inner = inner[step]
        elif isinstance(step, str) and (beneath := value_at(inner, step.split("."))) is not None:
            inner = beneath  # a dotted key, where keys are anything
    if not isinstance(inner, (Mapping, BaseModel)):  # which have keys
        return isinstance(part, str)
    if not isinstance(inner, dict) or not isinstance(part, str) or part in inner:
        return False
    return part in [inner.get(key) for key in _CHOOSING] or part in _TYPES or not part.islower()


def known_keys(root: type[BaseModel], names: Sequence[str], table: Mapping[str, Any]) -> list[str]:
    """Keys that the table of this dotted name may have; where it names a variant, that one's.

    Parameters
    ----------
    root : type
        The model of the outermost table.
    names : sequence of str
        Keys that lead to the table, and places in lists.
    table : mapping
        The outermost table as it was given.
    """
    return _keys_of(_known_models(root, names, table))


def _keys_of(models: Sequence[type[BaseModel]]) -> list[str]:
    return list(dict.fromkeys(key for model in models for key in _fields_of(model)))


def _taking(
    value: object, root: type[BaseModel], names: Sequence[str], table: Mapping[str, Any]
) -> str | None:
    """The one key of a table that this text is a choice of, if there is one."""
    fields = [item for model in _known_models(root, names, table) for item in _fields_of(model).items()]
    found = {key for key, field in fields if isinstance(value, str) and value in _choices(field.annotation)}
    return found.pop() if len(found) == 1 else None


def _meant(mistake: ErrorDetails) -> str | None:
    """Which of the words that a key takes was meant."""
    if mistake["type"] != "literal_error" or not isinstance(mistake["input"], str):
        return None
    return did_you_mean(mistake["input"], re.findall(r"'([^']*)'", mistake["ctx"]["expected"]))


def _choices(annotation: object) -> list[object]:
    inner = getattr(annotation, "__args__", ())
    return [choice for each in inner for choice in ([each] if isinstance(each, str) else _choices(each))]


def _known_models(
    root: type[BaseModel], names: Sequence[str], table: Mapping[str, Any]
) -> list[type[BaseModel]]:
    of = value_at(table, names) if names else table
    models = _models_at(root, names, table)
    if isinstance(of, dict):
        models = [derived for derived in (_derived(model, of) for model in models) if derived] or models
    named = [of.get(key) for key in _CHOOSING] if isinstance(of, dict) else []
    fitting = [m for m in models if any(_tag_of(m, key) in named for key in _CHOOSING)]
    return fitting or models


def _derived(model: type[BaseModel], table: dict[str, Any]) -> type[BaseModel] | None:
    """The model of a table whose keys depend on its name."""
    variant = getattr(model, "variant_of", None)
    return variant(table) if variant else None


def _fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    variants = getattr(model, "variants", list)
    return {key: field for each in (model, *variants()) for key, field in each.model_fields.items()}


def _tag_of(model: type[BaseModel], key: str) -> object:
    field = model.model_fields.get(key)
    values: tuple[Any, ...] = getattr(field.annotation, "__args__", ()) if field else ()
    return values[0] if len(values) == 1 else object()


def _models_at(
    root: type[BaseModel], names: Sequence[str], table: Mapping[str, Any]
) -> list[type[BaseModel]]:
    models = [root]
    keys_are_anything = False
    for place, name in enumerate(names):
        if name.isdigit() or keys_are_anything:
            keys_are_anything = False
            continue
        if not any(name in model.model_fields for model in models):  # it belongs to what the table names
            models = _known_models(root, names[:place], table)
        inner: list[type[BaseModel]] = []
        for model in models:
            fields = _fields_of(model)
            if name in fields:
                inner += _models_in(fields[name].annotation)
                keys_are_anything = get_origin(fields[name].annotation) is dict
        models = inner
    return models


def _known_values(root: type[BaseModel], names: Sequence[str], table: Mapping[str, Any]) -> list[str]:
    """Possible values of a key that distinguishes variants of a table."""
    values: list[str] = []
    for model in _models_at(root, names[:-1], table):
        annotation = model.model_fields[names[-1]].annotation if names[-1] in model.model_fields else None
        values += [str(value) for value in getattr(annotation, "__args__", ())]
    return values


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]

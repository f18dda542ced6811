"""Mistakes in TOML files, each with its line, its key, and what would be right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from gossipfl.settings.places import line_of
from topology.spelling import did_you_mean

__all__ = ["explained"]


def explained(
    error: ValidationError,
    *,
    model: type[BaseModel],
    text: str,
    source: str,
    table: dict[str, Any],
    overrides: Sequence[str] = (),
) -> str:
    """Say of each mistake where it stands and what would be right.

    Parameters
    ----------
    error : ValidationError
        What pydantic found wrong.
    model : type
        What the table was to be.
    text, source : str
        Text of the file, or nothing, and what to call it.
    table : dict
        What the text says.
    overrides : sequence of str
        Values that replaced those of the text, each as ``"network.loss=0.2"``.

    Returns
    -------
    str
        A line for each mistake.
    """
    lines = []
    for mistake in error.errors(include_url=False):
        names = [str(part) for part in mistake["loc"] if not _is_union_tag(part, mistake["loc"], table)]
        if mistake["type"].startswith("union_tag"):
            names.append(mistake["ctx"]["discriminator"].strip("'"))
        place = _override_of(names, overrides) or _place(text, source, names)
        said = mistake["msg"].removeprefix("Value error, ")
        came = "" if mistake["type"] == "missing" else f"; got {mistake['input']!r}"
        if mistake["type"] == "union_tag_not_found":
            said, came = f"required here: one of {', '.join(_known_values(model, names))}", ""
        if mistake["type"] == "declared":
            came = ""  # the message says it
        hint = ""
        if mistake["type"] == "union_tag_invalid":
            tag, tags = mistake["ctx"]["tag"], mistake["ctx"]["expected_tags"].replace("'", "")
            said, came = f"there is no {tag!r}; expected one of {tags}", ""
            hint = _sentence(did_you_mean(tag, tags.split(", ")))
        if mistake["type"] == "extra_forbidden":
            known = _known_keys(model, names[:-1], of=_value_at(table, names[:-1]))
            suggestion = did_you_mean(names[-1], known)
            said, came = f"unknown key {names[-1]!r}", ""
            if names[-1] in _known_keys(model, names[:-1]):
                said, suggestion = f"{names[-1]!r} belongs to another {names[-2]} than the one named", None
            hint = _sentence(suggestion) or f"; known are {', '.join(sorted(known))}"
        lines.append(f"{place}: {'.'.join(names) or model.__name__.lower()}: {said}{came}{hint}")
    return "\n".join(lines)


def _place(text: str, source: str, names: Sequence[str]) -> str:
    line = line_of(text, names)
    return f"{source}:{line}" if line else source


def _override_of(names: Sequence[str], overrides: Sequence[str]) -> str | None:
    """The override that set a key, or the table it is in, as a command line has it."""
    for given in reversed(overrides):
        key = [part.strip() for part in given.partition("=")[0].split(".")]
        if key == list(names[: len(key)]):
            return f"--set {given}"
    return None


def _sentence(hint: str | None) -> str:
    return f". {hint}" if hint else ""


def _is_union_tag(part: object, location: tuple[Any, ...], table: Any) -> bool:
    """Whether this part of pydantic's location is the tag of a variant, which is no key in the file."""
    position = location.index(part)
    inner = table
    for step in location[:position]:
        is_index = isinstance(inner, list) and isinstance(step, int) and step < len(inner)
        if is_index or (isinstance(inner, dict) and step in inner):
            inner = inner[step]
    return isinstance(inner, dict) and part in (inner.get("kind"), inner.get("name")) and part not in inner


def _known_keys(root: type[BaseModel], names: Sequence[str], *, of: Any = None) -> set[str]:
    """Keys of a table; with ``of``, of the variant that it names."""
    models = _models_at(root, names)
    if isinstance(of, dict):
        models = [derived for derived in (_derived(model, of) for model in models) if derived] or models
    named = [of.get(key) for key in ("name", "kind")] if isinstance(of, dict) else []
    fitting = [m for m in models if any(_tag_of(m, key) in named for key in ("name", "kind"))]
    return {key for model in fitting or models for key in _keys_of(model)}


def _derived(model: type[BaseModel], table: dict[str, Any]) -> type[BaseModel] | None:
    """The model of a table whose keys depend on what it names."""
    variant = getattr(model, "variant_of", None)
    return variant(table) if variant else None


def _keys_of(model: type[BaseModel]) -> set[str]:
    variants = getattr(model, "variants", list)
    return {key for each in (model, *variants()) for key in each.model_fields}


def _tag_of(model: type[BaseModel], key: str) -> Any:
    field = model.model_fields.get(key)
    values: tuple[Any, ...] = getattr(field.annotation, "__args__", ()) if field else ()
    return values[0] if len(values) == 1 else object()


def _value_at(table: Any, names: Sequence[str]) -> Any:
    for name in names:
        table = table.get(name) if isinstance(table, dict) else None
    return table


def _models_at(root: type[BaseModel], names: Sequence[str]) -> list[type[BaseModel]]:
    models = [root]
    for name in names:
        if name.isdigit():
            continue
        inner: list[type[BaseModel]] = []
        for model in models:
            if name in model.model_fields:
                inner += _models_in(model.model_fields[name].annotation)
        models = inner
    return models


def _known_values(root: type[BaseModel], names: Sequence[str]) -> list[str]:
    """What a key may be that tells variants of a table apart."""
    values: list[str] = []
    for model in _models_at(root, names[:-1]):
        annotation = model.model_fields[names[-1]].annotation if names[-1] in model.model_fields else None
        values += [str(value) for value in getattr(annotation, "__args__", ())]
    return values


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]

"""Settings from TOML and back, with errors that name the key and a correct form."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel

from gossipfl.errors import SettingError
from gossipfl.settings.peer import PeerSettings
from gossipfl.settings.places import flag_of, syntax_error
from topology.parsing import toml_of
from topology.text import read_text

__all__ = ["dump_settings", "load_settings", "parse_settings"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def load_settings(path: Path, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> PeerSettings:
    """Read a peer's TOML file.

    Parameters
    ----------
    path : Path
    overrides : mapping, optional
        By table and key, values of flags that override the file's.

    Raises
    ------
    SettingError
        If the file is missing or no TOML, or a table, key or value is wrong; all that is wrong is listed, with
        lines and columns.
    """
    try:
        text = read_text(path)
        tables = toml_of(text)
    except FileNotFoundError as error:
        raise SettingError(
            f"there is no settings file {path}", remedy="Make one with `gossipfl peer init --home DIR`."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingError(syntax_error(error, str(path))) from error
    except UnicodeDecodeError as error:
        raise SettingError(f"{path}: not TOML: {error}") from error
    except OSError as error:
        raise SettingError(f"{path} cannot be read", got=error.strerror) from error
    overrides = overrides or {}
    return parse_settings(_overridden(tables, overrides), source=str(path), text=text, flags=overrides)


def _overridden(tables: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Replace values one by one, also inside a task's options; anything but a table is left to validation."""
    replaced = dict(tables)
    for key, value in overrides.items():
        old = tables.get(key, {})
        if isinstance(value, Mapping):
            replaced[key] = _overridden(old, value) if isinstance(old, Mapping) else old
        else:
            replaced[key] = value
    return replaced


def parse_settings(
    tables: Mapping[str, Any],
    *,
    source: str,
    text: str = "",
    flags: Mapping[str, Mapping[str, Any]] | None = None,
) -> PeerSettings:
    """Validate settings given as tables.

    Parameters
    ----------
    tables : mapping
    source : str
        Its name in errors.
    text : str
        The TOML it was read from.
    flags : mapping, optional
        By table and key, those values that flags gave; errors cite the flags.

    Raises
    ------
    SettingError
        If a table, key or value is wrong; all that is wrong is listed, a line each.
    """
    given = {f"{table}.{key}": flag_of(table, key) for table, keys in (flags or {}).items() for key in keys}
    return PeerSettings.from_file(tables, source=source, text=text, given=given)


def dump_settings(settings: PeerSettings, *, gossip: Mapping[str, tuple[Any, str]] | None = None) -> str:
    """Write settings as TOML, with a comment for every key.

    Parameters
    ----------
    settings : PeerSettings
    gossip : mapping, optional
        Parameters of the algorithm that gossips: the value and the description of each; those that are set, with
        no description, unless given.

    Returns
    -------
    str
        Reading it back gives equal settings.
    """
    lines: list[str] = []
    for table_name, table_field in PeerSettings.model_fields.items():
        value: BaseModel | list[BaseModel] = getattr(settings, table_name)
        if isinstance(value, list):
            lines += _tables(table_name, value, about=table_field.description or "")
            continue
        table = value
        about = (type(table).__doc__ or table_field.title or "").splitlines()[0]
        lines += [f"# {about}", f"[{table_name}]"]
        fields = type(table).model_fields
        lines += [_line(key, getattr(table, key), field.description) for key, field in fields.items()]
        if table_name == "gossip" and gossip is not None:
            lines += [_line(key, *each) for key, each in gossip.items()]
        else:
            lines += [_line(key, value, None) for key, value in (table.model_extra or {}).items()]
        lines.append("")
    return "\n".join(lines)


def _line(key: str, value: object, description: str | None) -> str:
    """Write a setting with its description; commented out if it has no value."""
    comment = f"  # {description}" if description else ""
    return f"# {key} = {comment}" if value is None else f"{key} = {_inline(value)}{comment}"


def _tables(name: str, tables: Sequence[BaseModel], *, about: str) -> list[str]:
    """Write an array of tables; an example of one, commented out, where there are none."""
    lines = [f"# {about[0].upper()}{about[1:]}"]
    if not tables:
        lines += [f"# [[{name}]]", '# kind = "clip"  # or noise, mask, codec', "# norm = 1.0"]
    for table in tables:
        lines.append(f"[[{name}]]")
        values = table.model_dump(exclude_none=True)
        lines += [f"{key} = {_inline(value)}" for key, value in values.items()]
    return [*lines, ""]


def _inline(value: object) -> str:
    """Write a value on one line, whatever is nested in it."""
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_none=True)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(str(key))} = {_inline(each)}" for key, each in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_inline, value))}]"
    value = str(value) if isinstance(value, Path) else value
    return tomli_w.dumps({"value": value}).removeprefix("value = ").rstrip("\n")


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _inline(key)

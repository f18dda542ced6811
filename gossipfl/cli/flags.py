"""Flags that mirror the settings: ``--training-learning-rate`` is ``learning_rate`` of ``[training]``."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.core import TyperCommand

from gossipfl.errors import SettingError
from gossipfl.settings import PeerSettings
from gossipfl.settings.places import flag_of
from topology.parsing import toml_of

__all__ = ["Overrides", "WithParameterFlags", "parse_assignment", "with_setting_flags"]

Overrides = dict[str, dict[str, Any]]

_SEPARATOR = "__"
_RELATIVE = (("runtime", "modules"), ("policy", "script"))
_ASSIGNMENTS = {("task", "options"), ("rounds", "parameters"), ("gossip", "parameters")}

#: They are keys of the table [gossip] itself, which are not known before the algorithm is.
_GOSSIP_PARAMETERS = FieldInfo(
    annotation=dict[str, Any],
    default_factory=dict,
    description="parameters of the algorithm, each also as a flag of its own, e.g. --gossip-merge UM",
)


def with_setting_flags(
    command: Callable[..., None],
    *,
    without: Collection[str] = (),
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[..., None]:
    """Give a command one flag for each setting, and pass it those that were used.

    Parameters
    ----------
    command : callable
        Takes a keyword argument ``overrides``: by table and key, the values given.
    without : collection of str
        Settings that the command makes itself: tables, or single settings as ``table.key``.
    defaults : mapping, optional
        By table and key, the command's defaults in place of a peer's own, for display.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "overrides"]
    flags = [
        _flag(table, key, field, default=(defaults or {}).get(table, {}).get(key))
        for table, key, field in _settings()
        if table not in without and f"{table}.{key}" not in without
    ]

    @wraps(command)
    def with_flags(**arguments: Any) -> None:  # noqa: ANN401
        overrides: Overrides = {}
        for name in [name for name in arguments if _SEPARATOR in name]:
            value = arguments.pop(name)
            if value is None or value == []:
                continue
            table, key = name.split(_SEPARATOR)
            if (table, key) in _ASSIGNMENTS:
                value = _assigned(value, flag_of(table, key))
            if (table, key) == ("gossip", "parameters"):
                overrides.setdefault(table, {}).update(value)
            else:
                overrides.setdefault(table, {})[key] = value
        for table, key in _RELATIVE:  # in files they are relative to the home
            if key in overrides.get(table, {}):
                overrides[table][key] = overrides[table][key].absolute()
        command(**arguments, overrides=overrides)

    with_flags.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
    with_flags.__annotations__ = {each.name: each.annotation for each in [*own, *flags]}
    return with_flags


def parse_assignment(text: str) -> tuple[str, Any]:
    """Read ``key=value``; the value as TOML if it is valid TOML, otherwise as a plain string.

    Raises
    ------
    SettingError
        If there is no ``=``.
    """
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise SettingError("an option or parameter is wrong", expected="KEY=VALUE", got=repr(text))
    try:
        read = toml_of(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return key, value
    return key, read["value"] if set(read) == {"value"} else value


def _assigned(texts: Sequence[str], flag: str) -> dict[str, Any]:
    pairs = [parse_assignment(each) for each in texts]
    values = dict(pairs)
    twice = [key for key in values if sum(each == key for each, _ in pairs) > 1]
    if twice:
        raise SettingError(
            f"{flag} gives {twice[0]!r} more than once",
            expected="one value",
            got=", ".join(str(value) for key, value in pairs if key == twice[0]),
        )
    return values


class WithParameterFlags(TyperCommand):
    """A command whose settings name algorithms: each of their parameters has a flag too.

    ``--rounds-restart-every 100`` is ``--rounds-parameters restart_every=100``. Which there are depends on the
    algorithm, so what is wrong with them is told when it is made.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Parse the arguments, flags of parameters among them."""
        known = {option for parameter in self.get_params(ctx) for option in parameter.opts}
        return super().parse_args(ctx, _with_assignments(args, known))


def _with_assignments(args: Sequence[str], known: Collection[str]) -> list[str]:
    rest, written = iter(args), []
    for arg in rest:
        flag, equals, value = arg.partition("=")
        table, _, parameter = flag.removeprefix("--").partition("-")
        into = f"--{table}-parameters"
        if flag in known or not flag.startswith("--") or into not in known or not parameter:
            written.append(arg)
            continue
        given = value if equals else next(rest, None)
        if given is None:
            raise SettingError(f"{flag} needs a value", expected=f"{flag} VALUE")
        written += [into, f"{parameter.replace('-', '_')}={given}"]
    return written


def _settings() -> list[tuple[str, str, FieldInfo]]:
    own = [
        (table, key, field)
        for table, table_field in PeerSettings.model_fields.items()
        if isinstance(table_field.annotation, type) and issubclass(table_field.annotation, BaseModel)
        for key, field in table_field.annotation.model_fields.items()
        if not _is_table(field)
    ]
    place = next(number for number, (table, _, _) in enumerate(own) if table == "gossip") + 1
    return [*own[:place], ("gossip", "parameters", _GOSSIP_PARAMETERS), *own[place:]]


def _is_table(field: FieldInfo) -> bool:
    """Whether a setting is a table of its own, for which there is no flag."""
    kinds = get_args(field.annotation) or (field.annotation,)
    return any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds)


def _flag(table: str, key: str, field: FieldInfo, *, default: Any) -> inspect.Parameter:  # noqa: ANN401
    if default is None:
        default = field.get_default(call_default_factory=True, validated_data={})
    shown = "" if default in (None, [], {}) else f" (default: {default})"
    option = typer.Option(
        flag_of(table, key),
        help=f"{field.description}{shown}".replace("[", "\\["),
        show_default=False,
        rich_help_panel=f"Settings of {table}",
    )
    return inspect.Parameter(
        f"{table}{_SEPARATOR}{key}",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[_flag_type(field), option],
    )


def _flag_type(field: FieldInfo) -> Any:  # noqa: ANN401
    annotation = field.annotation
    if get_origin(annotation) in (list, dict):
        return list[str] | None
    if get_origin(annotation) is Literal:
        return str | None
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if kind is not type(None)]
    return kinds[0] | None

"""Options given more than once, of which all but the last would silently have no effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gossipfl.errors import SettingError

__all__ = ["require_single_values"]


def require_single_values(command: Any, context: Any, args: Sequence[str]) -> None:  # noqa: ANN401 - typer's own click
    """Require that each option which takes one value is given once, under whichever of its names.

    Parameters
    ----------
    command : Command
        Or a group of commands, of which the first arguments name one.
    context : Context
    args : sequence of str
        What follows the command's name.

    Raises
    ------
    SettingError
        An option is given more than once.
    """
    while hasattr(command, "get_command") and args and not args[0].startswith("-"):
        command, args = command.get_command(context, args[0]), args[1:]
    if command is None or hasattr(command, "get_command"):
        return
    options = {
        name: option
        for option in command.get_params(context)
        if option.param_type_name == "option" and not option.is_flag and not option.count
        for name in option.opts
    }
    given: dict[str, list[str]] = {}
    for name, value in _options_in(args, options):
        if not options[name].multiple and options[name].nargs == 1:
            given.setdefault(options[name].opts[0], []).append(value)
    for name, values in given.items():
        if len(values) > 1:
            raise SettingError(
                f"{name} is given more than once",
                expected="one value",
                got=", ".join(values),
                remedy=f"Give {name} once; for several, run the command once for each.",
            )


def _options_in(args: Sequence[str], options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the options among arguments, as they are written, with their values."""
    rest = iter(args)
    for arg in rest:
        if arg == "--":
            return
        name, equals, value = arg.partition("=")
        if name not in options:
            continue
        if equals:
            yield name, value
            continue
        values = [next(rest, "") for _ in range(options[name].nargs)]
        yield name, values[0] if values else ""

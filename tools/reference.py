"""Reference pages generated from the programs themselves: commands, settings, public names."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING
from typing import Any

import typer
from pydantic import BaseModel

__all__ = ["PACKAGES", "pages"]

#: Packages whose ``__all__`` is the public interface.
PACKAGES = ("gossipfl", "gossipfl.algorithms", "gossipfl.attacks", "gossipfl.statistics", "topology", "sims")


def pages() -> dict[str, str]:
    """Markdown of every generated page, by its place in the site."""
    from gossipfl.settings import PeerSettings
    from sims.scenario import Scenario
    from sims.sweeping.settings import Sweep

    return {
        "reference/commands.md": _commands(),
        "reference/peer-settings.md": _settings(
            PeerSettings,
            "Settings of a peer",
            "Tables of `HOME/peer.toml`. Each key is also a flag of `gossipfl peer init` and `gossipfl peer run`: "
            "`--table-key`.",
        ),
        "reference/scenario-settings.md": _settings(
            Scenario,
            "Settings of a scenario",
            "Tables of a scenario's TOML file. Each key can be set from the command line: "
            "`gossipfl sim run FILE.toml --set table.key=value`.",
        ),
        "reference/sweep-settings.md": _settings(
            Sweep, "Settings of a sweep", "Tables of the TOML file that `gossipfl sim sweep` reads."
        ),
        "reference/algorithm-parameters.md": _algorithms(),
        "reference/attack-parameters.md": _attacks(),
        **{f"reference/{name.replace('.', '-')}.md": _interface(name) for name in PACKAGES},
    }


# Public names


def _interface(package: str) -> str:
    module = importlib.import_module(package)
    lines = [f"# {package}", "", inspect.getdoc(module) or "", ""]
    for name in sorted(module.__all__, key=str.lower):
        found = getattr(module, name)
        lines += ["", *_documented(package, name, found)]
    return "\n".join(lines) + "\n"


def _documented(package: str, name: str, found: Any) -> Iterator[str]:
    """A public name as mkdocstrings documents it, under an anchor that is the name."""
    yield f"[](){{#{package}.{name}}}"
    yield ""
    if inspect.ismodule(found):
        yield f"## {name}"
        yield ""
        yield from _directive(found.__name__, heading=False)
        for inner in getattr(found, "__all__", ()):
            member = getattr(found, inner)
            if not inspect.ismodule(member):
                yield ""
                yield from _directive(_home(member, inner, found.__name__), level=3)
    else:
        yield from _directive(_home(found, name, package))


def _home(found: Any, name: str, package: str) -> str:
    """The path that a name is defined at: static analysis cannot follow lazy attributes."""
    if inspect.isclass(found) or inspect.isroutine(found):
        return f"{found.__module__}.{found.__qualname__}"
    assigned = re.compile(rf"^(?:type )?{re.escape(name)}\b[^=\n(]*=", re.MULTILINE)
    for home, each in sorted(sys.modules.items()):
        if (
            home.startswith(package)
            and vars(each).get(name) is found
            and assigned.search(inspect.getsource(each))
        ):
            return f"{home}.{name}"
    return f"{package}.{name}"


def _directive(path: str, *, heading: bool = True, level: int = 2) -> Iterator[str]:
    yield f"::: {path}"
    yield "    options:"
    yield f"      show_root_heading: {str(heading).lower()}"
    yield "      show_root_full_path: false"
    yield f"      heading_level: {level}"
    if not heading:
        yield "      members: false"
        yield "      show_root_toc_entry: false"


# Algorithms


def _algorithms() -> str:
    from gossipfl.algorithms.registry import bundled

    lines = [
        "# Parameters of algorithms",
        "",
        "Keys of a scenario's `[algorithm]` beside `name`; in `peer.toml`, of `[rounds.parameters]` where an "
        "algorithm works in rounds, and of `[gossip]` where messages drive it.",
    ]
    for name, algorithm in sorted(bundled().items()):
        driven = "in rounds" if algorithm.kind == "rounds" else "driven by messages"
        lines += ["", f"## {name}", "", f"{_first(algorithm)} ({algorithm.paper}; {driven})", ""]
        lines += _declared(algorithm)
    return "\n".join(lines) + "\n"


def _attacks() -> str:
    from gossipfl.attacks.registry import bundled

    lines = ["# Parameters of attacks", "", "Keys of a scenario's `[attack]` beside those of all attacks."]
    for name, attack in bundled().items():
        lines += ["", f"## {name}", "", f"{_first(attack)}{f' ({attack.paper})' if attack.paper else ''}", ""]
        lines += _declared(attack)
    return "\n".join(lines) + "\n"


def _declared(declared: type) -> list[str]:
    from gossipfl.algorithms.declaration import parameters_of
    from gossipfl.settings.keys import written_default

    return _table(
        [
            (
                f"`{each.name}`",
                _cell(f"{each.kind_name} {each.about.range}".strip()),
                "required" if each.default is MISSING else _written(written_default(each.default)),
                _cell(each.about.description),
            )
            for each in parameters_of(declared)
        ]
    )


# Settings


def _settings(model: type[BaseModel], title: str, preamble: str) -> str:
    from gossipfl.settings.keys import key_tables

    lines = [f"# {title}", "", preamble, ""]
    for table in key_tables(model):
        heading = f"`{table.heading}`" if table.heading else "Keys outside tables"
        lines += ["", f"## {heading}{f' {table.choice}' if table.choice else ''}", ""]
        lines += [table.about, ""] if table.heading else []
        lines += _table(
            [
                (f"`{key.name}`", _cell(key.takes), _written(key.default), _cell(key.meaning))
                for key in table.keys
            ]
        )
    return "\n".join(lines) + "\n"


def _written(default: str) -> str:
    return default if default in {"required", "unset"} else f"`{default}`"


def _first(model: type) -> str:
    return (
        (inspect.getdoc(model) or "").partition("\n\n")[0].replace("\n", " ")
        if "__doc__" in vars(model)
        else ""
    )


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;")


def _table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    if not rows:
        return []
    return [
        "| key | takes | default | meaning |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


# Commands


def _commands() -> str:
    from gossipfl.cli import main

    root = typer.main.get_command(main._app)
    lines = ["# Commands", "", "Every command prints the same with `--help`."]
    lines += _command(root, "gossipfl")
    return "\n".join(lines) + "\n"


def _command(command: Any, path: str) -> list[str]:
    context = command.make_context(path, [], resilient_parsing=True)
    lines = ["", f"## {path}", "", _prose(command.help or "")]
    if hasattr(command, "list_commands"):
        inner = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
        lines += [""]
        lines += [
            f"* [`{path} {name}`](#{f'{path} {name}'.replace(' ', '-')})" for name, each in inner if each
        ]
        for name, each in inner:
            lines += _command(each, f"{path} {name}") if each and not each.hidden else []
        return lines
    usage = " ".join(command.collect_usage_pieces(context))
    lines += ["", "```text", f"{path} {usage}", "```", "", *_parameters(command)]
    return lines


def _parameters(command: Any) -> list[str]:
    from gossipfl.settings.keys import written_default

    rows = []
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        is_argument = parameter.param_type_name == "argument"
        names = (
            [(parameter.metavar or parameter.name).upper()]
            if is_argument
            else [*parameter.opts, *parameter.secondary_opts]
        )
        default = parameter.default
        shown = "" if default in (None, (), []) or callable(default) else f"`{written_default(default)}`"
        written = ", ".join(f"`{name}`" for name in names)
        rows.append(
            (
                written,
                "required" if parameter.required else shown,
                _cell(getattr(parameter, "help", "") or ""),
            )
        )
    if not rows:
        return []
    return [
        "| argument or option | default | meaning |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _prose(text: str) -> str:
    return inspect.cleandoc(text).replace("\b", "").replace("\f", "").replace("<", "&lt;")

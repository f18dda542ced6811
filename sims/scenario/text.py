"""Scenarios as TOML: reading, overriding single values, and writing."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomli_w

from sims.errors import InvalidScenario
from sims.scenario.attack import AttackSection
from sims.scenario.ready_made import SCENARIOS, parsed, read_toml
from sims.scenario.scenario import Scenario
from sims.scenario.tables import resolve, topology_table
from topology.catalogue import canonical_name
from topology.errors import TopologyError
from topology.parsing import toml_of

__all__ = ["load_scenario", "load_table", "override_all", "parse_scenario", "scenario_of", "to_toml"]

_VARIANTS = {
    ("algorithm", "name"),
    ("attack", "name"),
    ("topology",),
    ("topology", "name"),
    ("network", "delay", "kind"),
    ("churn", "process", "kind"),
}


def load_scenario(file: Mapping[str, Any] | Path | str, *, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario.

    Parameters
    ----------
    file : path or mapping
        A TOML file, the name of one of the ready-made scenarios, or the tables of one, with files relative to the
        working directory.
    overrides : sequence of str
        Values that replace those of the file, each as ``"network.loss=0.2"``.

    Raises
    ------
    InvalidScenario
        If the file is missing or not a valid scenario; the error names the line.

    Examples
    --------
    >>> load_scenario("digits", overrides=["population.nodes=12"]).population.nodes
    12
    """
    if isinstance(file, Mapping):
        return parse_scenario(_as_text(file), overrides=overrides, directory=Path.cwd())
    if not isinstance(file, Path | str):
        raise InvalidScenario(
            "this is no scenario",
            expected="a TOML file, the name of a ready-made scenario, or a mapping such as {'population': {…}}",
            got=repr(file),
        )
    path, text = _read(file)
    return parse_scenario(text, source=str(path), overrides=overrides, directory=path.parent)


def _as_text(tables: Mapping[str, Any]) -> str:
    try:
        return tomli_w.dumps(tables)
    except (TypeError, ValueError) as error:
        raise InvalidScenario(
            "a scenario holds tables, lists, texts, numbers and truth values",
            got=str(error),
            remedy="Leave out keys that are None, pass paths as text, write functions as module:name, "
            "and put arrays into files.",
        ) from error


def load_table(file: Path | str) -> dict[str, Any]:
    """Read a scenario without checking it: a table to change values of, for `scenario_of`.

    Parameters
    ----------
    file : path
        A TOML file, or the name of one of the ready-made scenarios.

    Raises
    ------
    InvalidScenario
        If the file is missing or not TOML.
    """
    path, text = _read(file)
    table = parsed(text, source=str(path), error=InvalidScenario)
    resolve(table, path.parent)
    return table


def scenario_of(
    table: dict[str, Any], *, source: str, text: str = "", overrides: Sequence[str] = ()
) -> Scenario:
    """Check a table and make it a scenario.

    Parameters
    ----------
    table : dict
    source : str
        Its name in errors.
    text : str
        The TOML it was read from, for numbers of lines.
    overrides : sequence of str
        Overrides applied to the table, as for `load_scenario`; errors cite these in place of lines.

    Raises
    ------
    InvalidScenario
        The error begins with ``source``.
    """
    given = {each.partition("=")[0].strip(): f"--set {each}" for each in overrides}
    return Scenario.from_file(table, source=source, text=text, given=given)


def _read(file: Path | str) -> tuple[Path, str]:
    return read_toml(file, kind="scenario", directory=SCENARIOS, error=InvalidScenario)


def parse_scenario(
    text: str, *, source: str = "scenario", overrides: Sequence[str] = (), directory: Path | None = None
) -> Scenario:
    r"""Read a scenario from the text of a TOML file.

    Parameters
    ----------
    text : str
    source : str
        Name of the text in errors.
    overrides : sequence of str
        As for `load_scenario`.
    directory : path, optional
        Files that the scenario names are relative to this.

    Raises
    ------
    InvalidScenario

    Examples
    --------
    >>> text = '[population]\nnodes = 8\n[algorithm]\nname = "gossip_learning"\n'
    >>> scenario = parse_scenario(text)
    >>> scenario.population.nodes
    8
    """
    if not isinstance(text, str):
        raise InvalidScenario(
            "parse_scenario reads the text of a TOML file",
            expected="a text",
            got=type(text).__name__,
            remedy="Give files, names and mappings to load_scenario.",
        )
    table = parsed(text, source=source, error=InvalidScenario)
    override_all(table, overrides)
    if directory is not None:
        resolve(table, directory)
    return scenario_of(table, source=source, text=text, overrides=overrides)


def to_toml(scenario: Scenario) -> str:
    """Write a scenario out in full, including defaults; `parse_scenario` returns the same scenario."""
    return tomli_w.dumps(_without_none(scenario.model_dump(mode="json")))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value


def _override(table: dict[str, Any], given: str) -> None:
    """Set one value of a table, given as ``"network.loss=0.2"``.

    Another ``algorithm.name``, ``attack.name``, ``topology.name`` or kind of delay or churn resets its table: the
    keys of the one before would be unknown to it.

    Raises
    ------
    InvalidScenario
    """
    key, separator, value = given.partition("=")
    names = key.strip().split(".")
    if not separator or not all(names):
        raise InvalidScenario(
            "an override sets one value", expected="SECTION.KEY=VALUE, e.g. network.loss=0.2", got=given
        )
    try:
        parsed = toml_of(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # a bare word: --set topology.name=ring needs no quotes
    if names[0] == "topology" and len(names) > 1 and "topology" in table:
        with suppress(TopologyError):  # validation reports it, with its place
            table["topology"] = topology_table(table["topology"])
    for name in names[:-1]:
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            raise InvalidScenario(f"the override {given!r} descends into {name!r}, which is a plain value")
        table = inner
    if names == ["topology", "name"] and isinstance(parsed, str):
        parsed = canonical_name(parsed)
    if len(names) > 1 and tuple(names) in _VARIANTS and table.get(names[-1]) not in (None, parsed):
        kept = AttackSection.model_fields.keys() & table.keys() if names[0] == "attack" else ()
        values = {key: table[key] for key in kept}
        table.clear()  # the other keys belonged to what was named before
        table |= values
    table[names[-1]] = parsed


def override_all(table: dict[str, Any], overrides: Sequence[str]) -> None:
    """Apply overrides, those first that name an algorithm or topology.

    Raises
    ------
    InvalidScenario
    """
    if isinstance(overrides, str):  # a text is a sequence of its letters
        raise InvalidScenario(
            "overrides are a list", expected=f"overrides=[{overrides!r}]", got=f"the text {overrides!r}"
        )
    for given in sorted(overrides, key=_sets_no_name):
        _override(table, given)


def _sets_no_name(given: str) -> bool:
    """Names come first: a new name empties its table, which further overrides then fill."""
    return tuple(given.partition("=")[0].strip().split(".")) not in _VARIANTS

"""``gossipfl sim keys`` and ``gossipfl peer keys``: every key there is, and no other."""

import json
import re

import pytest
from typer.testing import CliRunner

from gossipfl.cli.peer import app as peer_app
from gossipfl.errors import SettingError
from gossipfl.settings import PeerSettings, parse_settings
from gossipfl.settings.keys import chosen_tables, key_tables
from sims.cli import app
from sims.errors import InvalidScenario
from sims.scenario import Scenario, parse_scenario


def told(of, *arguments):
    outcome = CliRunner().invoke(of, ["keys", *arguments, "--json"])
    assert outcome.exit_code == 0, outcome.output
    tables = map(json.loads, outcome.stdout.splitlines())  # one a line
    return {(each["place"], each["choice"]): each for each in tables}


def names(table):
    return {key["name"] for key in table["keys"]}


def dumped(model):
    """All tables and keys of a parsed file, whatever generated the description of it."""
    return {
        name: set(value)
        for name, value in model.model_dump(by_alias=True).items()
        if isinstance(value, dict) and name not in {"algorithm", "topology"}
    }


def test_every_key_that_a_parsed_scenario_has_is_told():
    tables = told(app)
    scenario = parse_scenario(
        "population.nodes = 4\nalgorithm.name = 'gossip_learning'\ngate = {}\nmasked_sums = {}"
    )
    for name, keys in dumped(scenario).items():
        inner = {place.removeprefix(f"{name}.") for place, _ in tables if place.startswith(f"{name}.")}
        assert keys <= names(tables[name, ""]) | inner, name
    gossip = tables["algorithm", 'name = "gossip_learning"']
    assert {"merge", "weighting", "merge_limit"} <= names(gossip)
    assert ("algorithm.flow", 'where name = "gossip_learning"') in tables
    assert names(tables["attack", 'name = "alie"']) == {"factor", "search", "at_most"}


def test_every_key_of_a_peer_is_told():
    tables = told(peer_app)
    for name, keys in dumped(parse_settings({}, source="here")).items():
        inner = {place.removeprefix(f"{name}.") for place, _ in tables if place.startswith(f"{name}.")}
        assert keys <= names(tables[name, ""]) | inner, name


def test_bounds_defaults_and_required_keys_are_told():
    tables = told(app, "network")
    keys = {key["name"]: key for key in tables["network", ""]["keys"]}
    assert (keys["loss"]["takes"], keys["loss"]["default"]) == ("number ≥ 0, < 1", "0.0")
    assert keys["bandwidth"]["default"] == "unset"
    assert keys["choose"]["takes"] == '"any", "online"'
    uniform = tables["network.delay", 'kind = "uniform"']
    assert {key["default"] for key in uniform["keys"]} == {"required"}


def _bounds(table):
    for key in table["keys"]:
        for sign, bound in re.findall(r"([<>≤≥]) (\S+?)(?:,|$)", key["takes"]):
            if "name" not in table["choice"] or table["place"] == "algorithm":
                yield key["name"], sign, float(bound)


@pytest.mark.parametrize("place", ["masked_sums", "network", "engine", "evaluate", "training"])
def test_bounds_are_told_exactly(place):
    """At a bound, a key is taken or refused as its sign says."""
    for name, sign, bound in _bounds(told(app, place)[place, ""]):
        value = int(bound) if bound.is_integer() else bound
        text = f"population.nodes = 4\nalgorithm.name = 'gossip_learning'\n{place}.{name} = {value!r}"
        try:
            parse_scenario(text)
        except InvalidScenario as error:
            refused = f"{place}.{name}: expected" in str(error)
        else:
            refused = False
        assert refused == (sign in "<>"), (name, sign, bound)


def test_a_key_or_a_word_finds_its_lines():
    [table] = told(app, "network.loss").values()
    assert names(table) == {"loss"}
    found = told(app, "privacy")
    assert any(place.startswith("training.privacy") for place, _ in found)
    of_sweep = told(app, "--of", "sweep", "seeds")
    assert {"seeds"} <= names(of_sweep["", ""])


def test_what_is_called_so_nowhere_is_refused_with_the_nearest_name():
    with pytest.raises(
        SettingError, match=r"no table, key or meaning .* got 'netwrk'. Did you mean 'network'\?"
    ):
        chosen_tables(key_tables(Scenario), "netwrk")
    with pytest.raises(SettingError, match="got 'exchnge'"):
        chosen_tables(key_tables(PeerSettings), "exchnge")


def test_a_form_that_there_is_not_is_refused_with_the_nearest_name():
    outcome = CliRunner().invoke(app, ["keys", "algorithm", "--name", "d_psdg"])
    assert isinstance(outcome.exception, SettingError)
    assert "Did you mean 'd_psgd'?" in str(outcome.exception)


def test_tables_are_printed_as_they_are_written_in_a_file():
    printed = CliRunner().invoke(app, ["keys", "network.delay"]).stdout
    assert '[network.delay] kind = "matrix"' in printed
    assert "longest delay, seconds" in printed

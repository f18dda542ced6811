"""``gossipfl stats``: what would leave, what was gathered, and mistakes named."""

import json
import re

import pytest
from typer.testing import CliRunner

from gossipfl.cli.main import _app as app
from gossipfl.errors import SettingError, StatisticsMissing
from tests.gossipfl.statistics.tables import SCHEMA_TEXT, row, write_csv


@pytest.fixture
def home(tmp_path):
    schema = tmp_path / "schema.toml"
    schema.write_text(SCHEMA_TEXT)
    rows = [row(age=str(30 + n), ward="ab"[n % 2], dose=f"{n}.25") for n in range(10)]
    file = write_csv(tmp_path / "table.csv", rows)
    made = run("peer", "init", "--home", tmp_path / "home", "--task", "table", f"--option=schema={schema}",
               f"--option=file={file}", "--stats-columns", "age", "--stats-columns", "ward")  # fmt: skip
    assert made.exit_code == 0, made.output
    return tmp_path / "home"


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_what_would_leave_is_what_the_settings_allow(home, tmp_path):
    file = run("stats", "summarise", tmp_path / "table.csv", "--schema", tmp_path / "schema.toml", "--json")
    assert json.loads(file.output)["columns"]["dose"]["sum"] == "47.5"
    for words in (["summarise"], ["gather", "--dry-run"]):
        own = json.loads(run("stats", *words, "--home", home, "--json").output)
        assert own["columns"]["age"] == {"present": 10, "sum": "345", "squares": "11985"}
        assert own["columns"]["dose"]["present"] == 0


def test_what_was_gathered_is_shown(home):
    assert isinstance(run("stats", "show", "--home", home).exception, StatisticsMissing)
    gathered = run("stats", "gather", "--home", home, "--members", 1)
    assert gathered.exit_code == 0, gathered.output
    assert "This leaves this peer:" in gathered.output
    shown = run("stats", "show", "--home", home)
    assert "ward: a 5, b 5" in shown.output
    assert re.search(r"^dose +not told$", shown.output, re.MULTILINE)
    digest = json.loads(run("stats", "show", "--home", home, "--json").output)["digest"]
    assert f"digest {digest}" in gathered.output
    assert f"digest {digest}" in shown.output


def test_mistakes_are_named(home, tmp_path):
    assert "say for how many" in run("stats", "gather", "--home", home).output
    assert "a CSV file and --schema" in run("stats", "summarise", tmp_path / "table.csv").output
    assert "a file of common statistics" in run("stats", "show").output
    late = run("stats", "gather", "--home", home, "--members", 2, "--minutes", 0.01)
    assert isinstance(late.exception, StatisticsMissing)
    assert "not all members have told" in str(late.exception)
    other = run("peer", "init", "--home", tmp_path / "other", "--no-try")
    assert other.exit_code == 0
    assert isinstance(
        run("stats", "gather", "--home", tmp_path / "other", "--members", 2).exception, SettingError
    )

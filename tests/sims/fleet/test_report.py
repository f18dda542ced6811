"""The week of phones, of few phones and two days, from the scenario to the report of its command."""

from __future__ import annotations

import json
from math import nan
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sims.cli import app
from sims.errors import InvalidScenario, RunDirectoryError
from sims.fleet import fleet_report
from sims.fleet.report import FleetReport, Zone
from sims.running import run

SMALL = (
    "population.nodes=120",
    "task.options.phones=120",
    "task.options.words=300",
    "task.options.width=4",
    "task.options.units=4",
    "evaluate.nodes=24",
    "evaluate.samples=16",
    "evaluate.every=12",
    "stop.rounds=48",
)


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    folder = tmp_path / "letters"
    folder.mkdir()
    for name in ("ada", "ben", "eve"):
        words = f"I am {name} and I will be there in the morning. The rain is over and we can go home. "
        (folder / f"{name}.txt").write_text(words * 60)
    return folder


def test_a_fleet_is_reported(tmp_path: Path, letters: Path) -> None:
    out = tmp_path / "run"
    overrides = [*SMALL, f'task.options.text="{letters}"', "task.options.vocabulary=text"]
    result = run("phones-keyboard", overrides=overrides, out=out, compile_when="never")
    last = result.evaluations.row(-1, named=True)
    asked = CliRunner().invoke(app, ["fleet", str(out), "--json", "--cores", "4"])
    assert asked.exit_code == 0, asked.output
    found = json.loads(asked.output)
    assert found["phones"] == 120 and found["days"] == 2
    assert found["steps"] * 240 == pytest.approx(last["updates"])
    assert found["bytes_sent"] * 240 == pytest.approx(last["bytes"])
    assert found["full_bytes"] == pytest.approx(found["bytes_sent"], rel=0.01)  # float32 is what it sends
    assert 0 < found["bytes_metered"] < found["bytes_unmetered"]
    assert 0.2 < found["goodput"] <= 1 and found["kept"] <= 1
    assert found["share"] == pytest.approx(found["seconds"] / (4 * 86_400))
    assert sum(zone["phones"] for zone in found["zones"]) == 120
    assert sum(zone["measured"] for zone in found["zones"]) == 24
    assert [hour for hour, _ in found["hours"]] == [0, 12, 24, 36, 48]
    said = CliRunner().invoke(app, ["fleet", str(out)])
    assert said.exit_code == 0
    assert "120 phones, 2 days" in said.output


def test_where_nobody_was_measured_there_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = Zone(hours=9, phones=0, measured=0, recall=nan, steps=nan, goodput=nan)
    report = FleetReport(
        phones=3,
        days=1.0,
        hours=[(0.0, nan), (24.0, 0.1)],
        steps=1.0,
        step_seconds=0.1,
        bytes_sent=1.0,
        bytes_metered=nan,
        bytes_unmetered=1.0,
        full_bytes=1.0,
        goodput=nan,
        kept=nan,
        zones=[nobody],
        jain=nan,
    )
    monkeypatch.setattr("sims.fleet.fleet_report", lambda _: report)
    said = CliRunner().invoke(app, ["fleet", "run"])
    assert said.exit_code == 0, said.output
    assert "3 phones, 1 day" in {line.strip() for line in said.output.splitlines()}
    assert "nan" not in said.output
    (row,) = (line for line in said.output.splitlines() if "UTC+9" in line)
    assert row.count("–") == 3
    told = json.loads(CliRunner().invoke(app, ["fleet", "run", "--json"]).output, parse_constant=pytest.fail)
    assert told["zones"][0]["recall"] is None
    assert told["hours"] == [[0.0, None], [24.0, 0.1]]


def test_what_is_no_run_of_phones_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"no scenario\.toml"):
        fleet_report(tmp_path)
    few = ["population.nodes=8", "topology.name=complete", "stop.rounds=2", "evaluate.every=1"]
    run("digits", overrides=few, out=tmp_path / "a", compile_when="never")
    with pytest.raises(RunDirectoryError, match="per_node"):
        fleet_report(tmp_path / "a")
    run("digits", overrides=[*few, "evaluate.per_node=true"], out=tmp_path / "b", compile_when="never")
    with pytest.raises(InvalidScenario, match="charging"):
        fleet_report(tmp_path / "b")

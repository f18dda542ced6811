"""The command: what it prints, writes and refuses."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from gossipfl.cli.main import main
from sims.analysis.errors import AnalysisError
from sims.cli.analyze import app


def command(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})


def test_runs_of_two_algorithms_are_compared_and_everything_is_written(two_algorithms, tmp_path):
    done = command(
        *(two_algorithms, "--target", "0.6", "--baseline", "RW", "--report", tmp_path / "page.html"),
        *("--csv", tmp_path / "runs.csv", "--no-theory"),
    )
    assert done.exit_code == 0, done.output
    assert "merge=MU" in done.stdout
    assert "to accuracy 0.6 (mean)" in done.stdout
    assert "3 seeds cannot give a p below 0.25" in " ".join(done.stdout.split())
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 7


def test_json_is_one_object(two_algorithms):
    done = command(two_algorithms / "MU-1", "--json", "--pooled", "none", "--no-theory")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["groups"][0]["seeds"] == [1]
    assert found["runs"][0]["gap_to_pooled"] is None
    assert found["theory"] == []


@pytest.mark.parametrize(
    "arguments",
    [["missing"], ["{runs}", "--target", "0.9999"], ["{runs}", "--metric", "x"], ["{runs}", "--csv", "x"]],
)
def test_bad_input_is_a_named_error(arguments, two_algorithms):
    done = command(*(part.format(runs=two_algorithms) for part in arguments))
    assert isinstance(done.exception, AnalysisError)
    assert done.exception.expected


def test_an_error_is_one_message_and_no_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gossipfl", "analyze", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("gossipfl: ")
    assert "holds no run" in said
    assert "Traceback" not in said


def test_the_command_loads_nothing_heavy():
    loaded = "print([m for m in ('torch', 'polars', 'plotly', 'scipy') if m in sys.modules])"
    heavy = f"import sys, sims.cli.analyze; {loaded}"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

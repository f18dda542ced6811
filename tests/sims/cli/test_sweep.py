"""``gossipfl sim sweep`` and ``gossipfl sim tune``."""

import json
import re

import pytest
import tomli_w
from typer.testing import CliRunner

from gossipfl.errors import SettingError
from sims.cli import app
from sims.errors import InvalidScenario, InvalidSweep
from tests.sims.sweeping.sweeps import SCENARIO


def test_tune_prints_what_it_tried_and_what_it_chose(tmp_path):
    (tmp_path / "s.toml").write_text(tomli_w.dumps(SCENARIO))
    arguments = ["tune", str(tmp_path / "s.toml"), "--values", "3", "--set", "stop.rounds=4", "--jobs", "1"]
    outcome = CliRunner().invoke(app, [*arguments, "--json"])
    assert outcome.exit_code == 0, outcome.output
    printed = json.loads(outcome.stdout)
    scores = {trial["training.learning_rate"]: trial["score"] for trial in printed["trials"]}
    assert set(scores) == {0.075, 0.3, 1.2}
    (point,) = printed["points"]
    assert scores[point["tuned"]] == max(scores.values())
    assert point["finished"] == 3
    assert point["low"] <= point["mean"] <= point["high"]


def test_wrong_sweeps_end_with_a_named_error(tmp_path):
    nothing = CliRunner().invoke(app, ["sweep"])
    assert isinstance(nothing.exception, InvalidSweep)
    (tmp_path / "s.toml").write_text(
        tomli_w.dumps({"scenario": SCENARIO, "grid": {"training.momentun": [0.5]}})
    )
    wrong = CliRunner().invoke(app, ["sweep", str(tmp_path / "s.toml"), "--out", str(tmp_path / "out")])
    assert isinstance(wrong.exception, InvalidScenario)
    assert "Did you mean 'momentum'?" in str(wrong.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["--on", "rey"],
            "expected local, ray, ray://host:port or slurm; got rey",
        ),
        (["--on", "ray://head"], "needs a host and a port"),
        (["--on", "slurm", "--slurm", "array=1-3"], "--jobs says how many runs there are at a time"),
        (["--dry-run"], "expected --on slurm; got --on local"),
    ],
)
def test_a_wrong_place_is_named_before_anything_is_written(tmp_path, given, said):
    (tmp_path / "s.toml").write_text(tomli_w.dumps({"scenario": SCENARIO}))
    command = ["sweep", str(tmp_path / "s.toml"), "--out", str(tmp_path / "out"), *given]
    wrong = CliRunner().invoke(app, command)
    assert isinstance(wrong.exception, SettingError)
    assert said in str(wrong.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "training.learing_rate=0.2",
            r"^--set training\.learing_rate=0\.2: .*Did you mean 'learning_rate'\?$",
        ),
        ("stop.rounds=many", r"^--set stop\.rounds=many: stop\.rounds: .*valid number.*; got 'many'$"),
    ],
)
def test_tune_cites_a_wrong_override(tmp_path, given, said):
    (tmp_path / "s.toml").write_text(tomli_w.dumps(SCENARIO))
    wrong = CliRunner().invoke(app, ["tune", str(tmp_path / "s.toml"), "--set", given])
    assert isinstance(wrong.exception, InvalidScenario)
    assert re.search(said, str(wrong.exception))
    assert "points tried" not in wrong.output

"""``gossipfl sim run --on ... --shards K``."""

import json

import pytest
from typer.testing import CliRunner

from gossipfl.errors import SettingError
from sims.cli import app


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--on", "ray"], "expected --on and --shards; got --on alone"),
        (["--shards", "2"], "got --shards alone"),
        (["--on", "rays", "--shards", "2"], "expected ray, or ray://host:port; got rays"),
    ],
)
def test_a_place_without_shards_and_shards_without_a_place_are_refused(options, said):
    outcome = CliRunner().invoke(app, ["run", "digits", *options])
    assert isinstance(outcome.exception, SettingError)
    assert said in str(outcome.exception)


@pytest.mark.slow
def test_a_run_on_a_cluster_has_the_result_of_a_run_here(ray_cluster, tmp_path):
    small = ["run", "digits", "--set", "population.nodes=32", "--set", "stop.rounds=4", "--threads", "1"]
    for place, options in {"here": [], "there": ["--on", ray_cluster, "--shards", "2"]}.items():
        outcome = CliRunner().invoke(app, [*small, *options, "--out", str(tmp_path / place)])
        assert outcome.exit_code == 0, outcome.output
    here, there = (json.loads((tmp_path / place / "run.json").read_text()) for place in ("here", "there"))
    assert here["result"] == there["result"]
    assert {each.name for each in (tmp_path / "here").iterdir()} == {
        each.name for each in (tmp_path / "there").iterdir()
    }

"""Runs read from their directories, and as frames of pandas."""

from dataclasses import replace

import numpy as np
import pytest

import gossipfl.extras
import sims
from gossipfl.errors import SettingError
from sims.errors import NotRecorded, RunDirectoryError
from sims.world.trace_cache import Traces
from tests.sims.worlds import small

RUN = ("stop.rounds=6", "evaluate.every=2", "evaluate.per_node=true")
TRACES = Traces()


def run(*overrides, **options):
    return sims.run(small(*RUN, *overrides), compile_when="never", traces=TRACES, **options)


def test_a_finished_run_is_read_as_it_was(tmp_path):
    result = run(out=tmp_path / "run")
    read = sims.load_run(tmp_path / "run")
    assert read.finished
    assert read.scenario == result.scenario
    assert read.evaluations.equals(result.evaluations)
    assert read.nodes.equals(result.nodes)
    assert read.rows.equal(result.rows)
    assert read.summary == result.summary
    assert read.to_pandas().equals(result.to_pandas())


def test_an_interrupted_run_is_read_as_far_as_it_got(tmp_path):
    asked = iter([False] * 2)
    stopped = run("evaluate.per_node=false", out=tmp_path, interrupted=lambda: next(asked, True))
    read = sims.load_run(tmp_path)
    assert not read.finished
    assert read.evaluations.equals(stopped.evaluations)
    assert read.rows is None
    assert read.nodes is None


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("scenario.toml", "holds no run"),
        ("evaluations.parquet", "nothing has been measured"),
    ],
)
def test_what_is_missing_is_named(broken, said, tmp_path):
    run(out=tmp_path)
    (tmp_path / broken).unlink()
    with pytest.raises(RunDirectoryError, match=said):
        sims.load_run(tmp_path)


@pytest.mark.parametrize("name", ["evaluations.parquet", "nodes.parquet", "rows.safetensors", "run.json"])
def test_what_is_damaged_is_named(name, tmp_path):
    run(out=tmp_path)
    (tmp_path / name).write_bytes(b"\x00half")
    with pytest.raises(RunDirectoryError, match=rf"{name} is damaged"):
        sims.load_run(tmp_path)


def test_frames_are_indexed_by_round_and_node():
    result = run()
    frame = result.to_pandas()
    assert frame.index.name == "round"
    assert frame.index.to_list() == [0, 2, 4, 6]
    assert set(frame.columns) == set(result.evaluations.columns) - {"round"}
    for column in frame.columns:
        assert np.array_equal(frame[column].to_numpy(), result.evaluations[column].to_numpy())
    each = result.to_pandas(nodes=True)
    assert each.index.names == ["round", "node"]
    assert each.shape == (4 * 24, 2)
    by_round = each.groupby("round")["accuracy"].mean()
    assert by_round.to_numpy() == pytest.approx(frame["accuracy_mean"].to_numpy())


def test_a_result_is_shown_in_a_line():
    result = run()
    last = result.evaluations[-1]
    named = f"Result({result.scenario.name!r}: {result.scenario.population.nodes} nodes, gossip_learning"
    assert repr(result).startswith(f"{named}, finished, round = 6, ")
    assert f"accuracy_mean = {last['accuracy_mean'].item():.4g}" in repr(result)
    assert len(repr(result)) < 200
    empty = replace(result, evaluations=result.evaluations[:0], finished=False)
    assert repr(empty) == f"{named}, not finished)"


def test_nodes_that_were_not_kept_are_not_made_up():
    with pytest.raises(NotRecorded, match=r"evaluate\.per_node"):
        run("evaluate.per_node=false").to_pandas(nodes=True)


def test_without_pandas_it_is_said_what_installs_it(monkeypatch):
    result = run()
    monkeypatch.setattr(gossipfl.extras, "is_installed", lambda module: False)
    with pytest.raises(SettingError, match=r"gossipfl\[pandas\]"):
        result.to_pandas()

"""The task of a table: encoded alike at all members, and refused where the statistics are others'."""

from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from gossipfl.cli.main import _app as app
from gossipfl.errors import IncompatibleCharter, InvalidTask, StatisticsMissing
from gossipfl.membership.charter import fingerprints, require_alike
from gossipfl.peer.gossip.plan import in_full
from gossipfl.peer.membership.charter import beyond_frames, charter_of
from gossipfl.settings import PeerSettings
from gossipfl.statistics import CommonStatistics, merged
from gossipfl.tasks import find_task
from gossipfl.tasks.table_rows import encoded
from tests.gossipfl.statistics.tables import SCHEMA, SCHEMA_TEXT, row, told, write_csv

TABLES = {
    "north": [
        row(age=str(40 + n), ward="a" if n % 3 else "b", dose=str(n), ill=str(n % 2)) for n in range(12)
    ],
    "south": [row(age=str(70 + n), ward="c", dose=str(-n), ill="1") for n in range(6)],
}


def common_of(**tables):
    return CommonStatistics(
        schema=SCHEMA,
        members={name: len(rows) for name, rows in tables.items()},
        total=merged(map(told, tables.values()), SCHEMA),
    )


@pytest.fixture
def options(tmp_path):
    schema, stats = tmp_path / "schema.toml", tmp_path / "stats.json"
    schema.write_text(SCHEMA_TEXT)
    stats.write_bytes(common_of(**TABLES).to_bytes())
    file = write_csv(tmp_path / "north.csv", TABLES["north"])
    return {"schema": str(schema), "file": str(file), "stats": str(stats)}


def test_all_members_columns_together_have_mean_0_and_deviation_1():
    common = common_of(**TABLES)
    inputs = torch.cat([encoded(rows, common) for rows in TABLES.values()])
    for place in (0, 6):  # age, and dose behind the three wards and their missing one
        assert inputs[:, place].mean() == pytest.approx(0, abs=1e-6)
        assert inputs[:, place].std(correction=0) == pytest.approx(1, abs=1e-6)


def test_what_is_missing_and_what_nobody_named():
    common = common_of(**TABLES)
    rows = [row(age="", ward="?", dose="1"), row(age="999", ward="of nobody", dose="NA")]
    assert encoded(rows, common)[:, :6].tolist() == [[0, 1, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0]]
    assert encoded(rows, common)[:, 7].tolist() == [0, 1]


def test_a_column_of_one_value_or_of_none_is_no_division_by_zero():
    rows = [row(age="50", dose="") for _ in range(5)]
    inputs = encoded(rows, common_of(only=rows))
    assert inputs.isfinite().all()
    assert not inputs[:, 0].any()


def test_the_task_trains_and_tests_on_its_own_rows(options):
    task = find_task("table", options)
    data = task.dataset()
    assert (task.name, len(data.train_targets), len(data.test_targets)) == ("patients", 9, 3)
    folds = [find_task("table", {**options, "fold": fold}).dataset() for fold in range(5)]
    assert sum(len(each.test_targets) for each in folds) == 12
    found = torch.cat([each.test_inputs for each in folds]).sort(dim=0).values
    assert torch.equal(found, encoded(TABLES["north"], common_of(**TABLES)).sort(dim=0).values)
    assert set(data.train_targets.tolist()) == {0, 1}


def test_peers_with_other_statistics_have_other_tasks(options, tmp_path):
    task = find_task("table", options)
    assert task.statistics == common_of(**TABLES).digest
    (tmp_path / "stats.json").write_bytes(common_of(north=TABLES["north"], other=TABLES["south"]).to_bytes())
    assert find_task("table", options).fingerprint != task.fingerprint


def test_other_statistics_are_refused_by_name_at_every_door(options):
    task, settings = find_task("table", options), in_full(PeerSettings())
    charter = beyond_frames(charter_of(settings, task, layout=bytes(32)))
    assert charter["statistics"] == f'"{task.statistics}"'
    other = charter_of(settings, replace(task, statistics="0" * 64), layout=bytes(32))
    with pytest.raises(IncompatibleCharter, match="different settings: statistics"):
        require_alike(beyond_frames(other), fingerprints(charter, binding=b"b"), binding=b"b")


def test_only_the_bias_stays_at_home(options):
    task = find_task("table", {**options, "own_bias": True, "hidden": 3})
    assert [entry.name for entry in task.layout.entries if entry.group == "local"] == ["output.bias"]
    assert find_task("table", options).layout.shared_size == find_task("table", options).layout.size


def test_wrong_options_are_named(options, tmp_path):
    with pytest.raises(InvalidTask, match="the options of a table are wrong"):
        find_task("table", {**options, "fold": 5})
    with pytest.raises(StatisticsMissing, match="no common statistics"):
        find_task("table", {**options, "stats": str(tmp_path / "none.json")})
    (tmp_path / "schema.toml").write_text(SCHEMA_TEXT.replace("ill > 0", "ill > 1"))
    with pytest.raises(InvalidTask, match="of another schema"):
        find_task("table", options)


def test_classes_may_be_the_values_of_a_column(options, tmp_path):
    text = SCHEMA_TEXT.replace('"ill > 0"', '"ill"\nclasses = ["0", "1"]')
    (tmp_path / "schema.toml").write_text(text)
    from gossipfl.statistics import load_schema

    schema = load_schema(tmp_path / "schema.toml")
    total = merged(map(told, TABLES.values()), SCHEMA)
    (tmp_path / "stats.json").write_bytes(CommonStatistics(schema=schema, members={}, total=total).to_bytes())
    write_csv(tmp_path / "north.csv", [*TABLES["north"], row(ill="of no class"), row(ill="")])
    data = find_task("table", options).dataset()
    assert len(data.train_targets) + len(data.test_targets) == 12


def test_a_peer_is_made_before_there_are_statistics(options, tmp_path):
    (tmp_path / "stats.json").unlink()
    chosen = [f"--option={name}={options[name]}" for name in ("schema", "file")]
    home = str(tmp_path / "home")
    made = CliRunner().invoke(app, ["peer", "init", "--home", home, "--task", "table", *chosen])
    assert made.exit_code == 0, made.output
    assert "waits for common statistics: gossipfl stats gather" in made.output
    shown = CliRunner().invoke(app, ["stats", "summarise", "--home", home])
    assert "stats.columns in peer.toml is empty" in shown.output
    assert "12 rows" in shown.output
    run = CliRunner().invoke(app, ["peer", "run", "--home", home])
    assert isinstance(run.exception, StatisticsMissing)

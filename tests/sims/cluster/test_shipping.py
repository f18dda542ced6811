"""Files that travel with a scenario to machines that share no disk with this one."""

import json
import sys
import tomllib

import numpy as np
import pytest
import torch
from polars.testing import assert_frame_equal

import sims
from gossipfl.tasks import Dataset
from gossipfl.tasks.samples import Weighted
from sims.cluster import shipping
from sims.cluster.shared_data import arrays_of, dataset_of
from sims.cluster.shipping import paths_in, relocated, shipment_of
from sims.errors import InvalidScenario
from sims.scenario import to_toml
from sims.scenario.text import load_scenario, scenario_of
from tests.sims.sweeping.folders import scenario_folder


def test_a_scenario_runs_alike_where_its_files_have_been_unpacked(tmp_path, monkeypatch):
    folder = scenario_folder(tmp_path / "here", module="travelling_task")
    scenario = load_scenario(folder / "scenario.toml")
    table = tomllib.loads(to_toml(scenario))
    shipment = shipment_of(*paths_in(table))
    before = sims.run(scenario, compile_when="never")
    (tmp_path / "here").rename(tmp_path / "gone")
    monkeypatch.delitem(sys.modules, "travelling_task")  # as in another process

    (tmp_path / "there").mkdir()
    places = shipment.unpack(tmp_path / "there")
    assert places == shipment.unpack(tmp_path / "there")  # once for all processes
    text = json.dumps(relocated(table, places))
    assert str(tmp_path / "here") not in text
    there = scenario_of(relocated(table, places), source="there")
    assert there.task.partition.file.read_text() == (tmp_path / "gone" / "parts.json").read_text()
    after = sims.run(there, compile_when="never")
    assert after.summary["result"] == before.summary["result"]
    assert_frame_equal(after.evaluations, before.evaluations)
    assert [path.name for path in (tmp_path / "there").iterdir()] == [shipment.digest]


def test_modules_go_with_their_packages_and_what_stands_beside_them(tmp_path):
    for name in ("own.py", "table.csv", ".hidden", "inner/more.py", "inner/notes.txt", "records/run.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    for name in ("pyvenv.cfg", "site.py"):
        (tmp_path / "env").mkdir(exist_ok=True)
        (tmp_path / "env" / name).touch()
    assert sorted(shipment_of(str(tmp_path), ()).contents) == [
        "modules/inner/more.py",
        "modules/own.py",
        "modules/table.csv",
    ]


def test_keys_stay_unless_the_scenario_names_them(tmp_path):
    keys = (
        "identity.key",
        "server.PEM",
        "id_ed25519",
        "credentials.json",
        "Secrets.toml",
        ".env",
        ".hidden.py",
    )
    for name in (*keys, "secrets.py", "keys.csv"):
        (tmp_path / name).write_text(name)
    assert sorted(shipment_of(str(tmp_path), ()).contents) == ["modules/keys.csv", "modules/secrets.py"]
    named = shipment_of(str(tmp_path), (str(tmp_path / "identity.key"),))
    assert named.contents["files/0/identity.key"] == b"identity.key"


def test_too_much_is_refused_and_large_files_stay(tmp_path, monkeypatch):
    for number in range(3):
        (tmp_path / f"part{number}.csv").write_bytes(b"x" * 1000)
    named = {"a": [str(tmp_path / "part0.csv")], "b": {"file": str(tmp_path / "part1.csv")}, "c": "part2.csv"}
    paths = (str(tmp_path / "part0.csv"), str(tmp_path / "part1.csv"))
    assert paths_in(named) == (None, paths)
    monkeypatch.setattr(shipping, "_MOST_BYTES", 1999)
    with pytest.raises(InvalidScenario, match=r"too many to be sent.*at most 2000 files.*got 2 with"):
        shipment_of(*paths_in(named))
    monkeypatch.setattr(shipping, "LARGEST_FILE", 999)
    assert paths_in(named) == (None, ())


def test_samples_become_arrays_and_samples_again():
    data = Dataset(
        train_inputs={"x": torch.randn(6, 2), "y": torch.arange(6)},
        train_targets=Weighted(torch.arange(6), torch.ones(6)),
        test_inputs={"x": torch.randn(2, 2), "y": torch.arange(2)},
        test_targets=torch.arange(2),
        owners=torch.tensor([0, 0, 1, 1, 2, 2]),
    )
    arrays = arrays_of(data)
    arrays["owners"].flags.writeable = False  # as in shared memory
    again = dataset_of(arrays)
    assert again.fingerprint() == data.fingerprint()
    assert isinstance(again.train_targets, Weighted)
    assert torch.equal(again.owners, data.owners)
    assert np.shares_memory(again.train_inputs["x"].numpy(), arrays["train_inputs"]["x"])
    half = Dataset(
        train_inputs=torch.zeros(2, 1, dtype=torch.bfloat16),
        train_targets=torch.zeros(2),
        test_inputs=torch.zeros(2, 1),
        test_targets=torch.zeros(2),
    )
    assert arrays_of(half) is None

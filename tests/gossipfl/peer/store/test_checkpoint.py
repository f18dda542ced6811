"""Checkpoints: exact, whole or refused by name, and never of another task."""

import dataclasses
import json
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load, save
from torch import nn

from gossipfl.errors import CorruptCheckpoint, HomeError
from gossipfl.peer.store.checkpoint import (
    Checkpoint,
    _checksum,
    left_out_of,
    load_checkpoint,
    read_row,
    save_checkpoint,
)
from gossipfl.tasks import Dataset, Task
from gossipfl.tasks.agreed import earlier_fingerprints
from gossipfl.training import Nodes


def task(name="small", width=3):
    data = torch.zeros(2, 4)
    return Task(
        name=name,
        model=lambda: nn.Linear(4, width),
        data=lambda: Dataset(train_inputs=data, train_targets=data, test_inputs=data, test_targets=data),
    )


TASK = task()


def checkpoint(optimiser_state_size=0, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    numbers = np.random.Generator(np.random.PCG64(seed))
    numbers.random(7)
    return Checkpoint(
        nodes=Nodes(
            rows=torch.randn(1, TASK.layout.size, generator=generator),
            ages=torch.tensor([2**40 + seed]),
            steps=torch.tensor([41]),
            optimiser_state=torch.randn(1, optimiser_state_size, generator=generator),
        ),
        event=123,
        merges_pending=1,
        incarnation=7,
        random_state=dict(numbers.bit_generator.state),
        view=[{"peer_id": "12D3", "addresses": ["/ip4/1.2.3.4/tcp/5"], "age": 3}],
    )


def same(a, b):
    return (
        all(
            torch.equal(getattr(a.nodes, name), getattr(b.nodes, name))
            for name in ("rows", "ages", "steps", "optimiser_state")
        )
        and dataclasses.replace(a, nodes=b.nodes) == b
    )


@pytest.mark.parametrize("optimiser_state_size", [0, 15])
def test_the_round_trip_is_exact(tmp_path, optimiser_state_size):
    saved = checkpoint(optimiser_state_size)
    save_checkpoint(tmp_path / "c", saved, TASK)
    loaded = load_checkpoint(tmp_path / "c", TASK, optimiser_state_size=optimiser_state_size)
    assert same(saved, loaded)
    row, age = read_row(tmp_path / "c")
    assert torch.equal(row, saved.nodes.rows[0])
    assert age == 2**40
    restored = np.random.Generator(np.random.PCG64())
    restored.bit_generator.state = loaded.random_state
    original = np.random.Generator(np.random.PCG64())
    original.bit_generator.state = saved.random_state
    assert restored.random() == original.random()


def test_what_an_algorithm_keeps_may_be_one_tensor_under_two_names(tmp_path):
    kept = torch.arange(3.0)[None]
    given = checkpoint()
    given = dataclasses.replace(
        given, nodes=dataclasses.replace(given.nodes, auxiliary={"a": kept, "b": kept})
    )
    save_checkpoint(tmp_path / "c", given, TASK)
    found = load_checkpoint(tmp_path / "c", TASK, optimiser_state_size=0).nodes.auxiliary
    assert torch.equal(found["a"], kept)
    assert torch.equal(found["b"], kept)


def on_a_body(seed=0):
    """A task of which all but the last layer stays as it is."""

    def model():
        generator = torch.Generator().manual_seed(seed)
        body = nn.Linear(4, 5).requires_grad_(requires_grad=False)
        body.weight.data.normal_(generator=generator)
        module = nn.Sequential(body, nn.BatchNorm1d(5), nn.Linear(5, 3))
        module.register_buffer("count", torch.tensor(2**40 + seed))
        return module

    return replace(TASK, model=model)


BODY = frozenset({"0.weight", "count"})


def of_body(task):
    """A checkpoint of a model that was trained, with a personal one beside it."""
    trained = torch.arange(1.0, 1 + task.layout.trainable_size)
    rest = task.initial_row()[task.layout.trainable_size :]
    row = torch.cat([trained, rest])[None]
    nodes = replace(
        checkpoint().nodes, rows=row, auxiliary={"personal": row.clone(), "velocity": row[:, :7] + 0}
    )
    return replace(checkpoint(), nodes=nodes)


@pytest.mark.parametrize(
    ("left_out", "wanted"), [(BODY, frozenset()), (frozenset(), BODY), (BODY, {"count"})]
)
def test_rows_with_or_without_what_stays_are_read_as_either(tmp_path, left_out, wanted):
    whole = on_a_body()
    there, here = whole.leaving_out(left_out), whole.leaving_out(wanted)
    save_checkpoint(tmp_path / "c", of_body(there), there)
    assert left_out_of(tmp_path / "c") == left_out
    assert len(read_row(tmp_path / "c")[0]) == there.layout.size != here.layout.size
    loaded = load_checkpoint(tmp_path / "c", here, optimiser_state_size=0)
    assert same(loaded, of_body(here))
    assert torch.equal(loaded.nodes.auxiliary["personal"], loaded.nodes.rows)
    assert loaded.nodes.auxiliary["velocity"].shape == (1, 7)


def test_a_file_with_another_body_is_refused_by_name(tmp_path):
    """One of an earlier version, whose tasks were known without what stays."""
    task, other = on_a_body(), on_a_body(seed=1)
    with patch.object(Task, "fingerprint", earlier_fingerprints(task)[0]):
        save_checkpoint(tmp_path / "c", of_body(task), task)
    assert same(load_checkpoint(tmp_path / "c", task, optimiser_state_size=0), of_body(task))
    lean = task.leaving_out(BODY)
    assert same(load_checkpoint(tmp_path / "c", lean, optimiser_state_size=0), of_body(lean))
    with pytest.raises(CorruptCheckpoint, match=r"other frozen numbers than the task at '0\.weight'"):
        load_checkpoint(tmp_path / "c", other.leaving_out(BODY), optimiser_state_size=0)
    save_checkpoint(tmp_path / "c", of_body(lean), lean)
    with pytest.raises(CorruptCheckpoint, match="belongs to another task"):
        load_checkpoint(tmp_path / "c", other, optimiser_state_size=0)


@pytest.mark.parametrize("left_out", ["0.weight", [1], ["nothing"], ["2.weight"], ["0.weight", "0.bias"]])
def test_rows_that_leave_out_what_they_cannot_are_damaged(tmp_path, left_out):
    task = on_a_body().leaving_out(BODY)
    save_checkpoint(tmp_path / "c", of_body(task), task)
    tensors = load((tmp_path / "c").read_bytes())
    with safe_open(tmp_path / "c", framework="pt") as file:
        metadata = dict(file.metadata())
    metadata["state"] = json.dumps(json.loads(metadata["state"]) | {"left_out": left_out})
    metadata["checksum"] = _checksum(tensors, metadata)
    (tmp_path / "c").write_bytes(save(tensors, metadata=metadata))
    with pytest.raises(CorruptCheckpoint):
        load_checkpoint(tmp_path / "c", on_a_body(), optimiser_state_size=0)


def test_momentum_turned_on_or_off_starts_from_rest(tmp_path):
    save_checkpoint(tmp_path / "c", checkpoint(0), TASK)
    assert torch.equal(
        load_checkpoint(tmp_path / "c", TASK, optimiser_state_size=15).nodes.optimiser_state,
        torch.zeros(1, 15),
    )
    save_checkpoint(tmp_path / "c", checkpoint(15), TASK)
    assert load_checkpoint(tmp_path / "c", TASK, optimiser_state_size=0).nodes.optimiser_state.shape == (1, 0)


@pytest.mark.parametrize(
    ("other", "what"), [(task("other"), "another task"), (task(width=4), "another task")]
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, other, what):
    save_checkpoint(tmp_path / "c", checkpoint(), TASK)
    with pytest.raises(CorruptCheckpoint, match=what):
        load_checkpoint(tmp_path / "c", other, optimiser_state_size=0)


def test_a_checkpoint_of_another_layout_is_refused(tmp_path):
    """The same task by name and fingerprint, yet another layout: what stays local has changed, say."""
    save_checkpoint(tmp_path / "c", checkpoint(), TASK)
    other = task(width=4)
    other.__dict__["fingerprint"] = TASK.fingerprint
    with pytest.raises(CorruptCheckpoint, match="another layout"):
        load_checkpoint(tmp_path / "c", other, optimiser_state_size=0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "c"
    save_checkpoint(path, checkpoint(15), TASK)
    return path.read_bytes()


def test_ages_of_parts_come_back(tmp_path):
    saved = checkpoint()
    ages = torch.tensor([[3, 0, 8]])
    saved = replace(saved, nodes=replace(saved.nodes, ages=ages))
    save_checkpoint(tmp_path / "c", saved, TASK)
    loaded = load_checkpoint(tmp_path / "c", TASK, optimiser_state_size=0)
    assert loaded.nodes.ages.equal(ages)
    assert loaded.age == saved.age == 8


def refused(path):
    for read in (lambda: load_checkpoint(path, TASK, optimiser_state_size=15), lambda: read_row(path)):
        with pytest.raises(CorruptCheckpoint):
            read()


@pytest.mark.parametrize(
    "wrong",
    [
        {"age": -1},
        {"event": 2**63},
        {"incarnation": 1.5},
        {"step": None},
        {"random_state": {"bit_generator": "PCG64"}},
        {"random_state": {**np.random.PCG64(0).state, "has_uint32": 2**63}},
        {"saved_at": []},
        {"ages": []},
        {"ages": [1, 2]},
        {"age": 7, "ages": [7, -2]},
        {"ages": 3},
    ],
    ids=str,
)
def test_a_wrong_value_is_named_whatever_the_checksum_says(tmp_path, wrong):
    save_checkpoint(tmp_path / "c", checkpoint(), TASK)
    with safe_open(tmp_path / "c", framework="pt") as file:
        metadata = dict(file.metadata())
    tensors = load((tmp_path / "c").read_bytes())
    metadata["state"] = json.dumps({**json.loads(metadata["state"]), **wrong})
    metadata["checksum"] = _checksum(tensors, metadata)
    (tmp_path / "c").write_bytes(save(tensors, metadata=metadata))
    with pytest.raises(CorruptCheckpoint, match="is damaged"):
        load_checkpoint(tmp_path / "c", TASK, optimiser_state_size=0)


def test_any_truncation_is_refused(whole, tmp_path):
    path = tmp_path / "c"
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refused(path)


def test_one_flipped_bit_anywhere_is_refused(whole, tmp_path):
    """In the numbers, in the age, in the state of the generator: all is covered by the checksum."""
    path = tmp_path / "c"
    for byte in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << (byte % 8)
        path.write_bytes(damaged)
        refused(path)


@profile(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_other_bytes_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("other") / "c"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("place", ["nothing", "a directory", "a file/c"])
def test_what_cannot_be_read_does_not_pass_for_damaged(tmp_path, place):
    """Who reads "damaged" deletes; what is only out of reach must not be lost so."""
    (tmp_path / "a directory").mkdir()
    (tmp_path / "a file").touch()
    path = tmp_path / place
    for read in (lambda: load_checkpoint(path, TASK, optimiser_state_size=15), lambda: read_row(path)):
        with pytest.raises(HomeError, match="cannot be read") as error:
            read()
        assert not isinstance(error.value, CorruptCheckpoint)
        assert "delete" not in str(error.value)


def test_a_disk_that_is_full_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c"
    save_checkpoint(path, checkpoint(seed=1), TASK)

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="space"):
            save_checkpoint(path, checkpoint(seed=2), TASK)
    assert same(load_checkpoint(path, TASK, optimiser_state_size=0), checkpoint(seed=1))

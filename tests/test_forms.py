"""Samples of every form learn alike in torch, a trainer, the simulator, a peer's learner and its replay."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gossipfl.errors import InvalidTask
from gossipfl.rows import load_row
from gossipfl.tasks import Dataset, Task, Weighted, open_arrays, padded
from gossipfl.tasks.samples import count, take
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings, batch_positions
from gossipfl.training.augmentation import transformed
from gossipfl.training.batches import draw_seeds
from sims.replay import replay
from sims.running import run as sims_run
from sims.scenario import parse_scenario
from tests.form_tasks import FORMS, SAMPLES, Words, form, padded_words
from tests.sims.engine.test_engine import both, relative
from tests.sims.replay.recorded import recorded_run
from tests.sims.worlds import SMALL

SETTINGS = TrainingSettings(batch_size=7, learning_rate=0.3, momentum=0.5, seed=3)


def called(module, inputs):
    if isinstance(inputs, dict):
        return module(**inputs)
    return module(*inputs) if isinstance(inputs, tuple) else module(inputs)


def by_torch(task, data, steps, number):
    """The same steps with torch's own optimiser."""
    module = task.build_module()
    load_row(module, task.layout, task.initial_row())
    optimiser = torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.5)
    for step in range(steps):
        at = {"seed": 3, "nodes": np.array([number]), "steps": np.array([step])}
        positions = torch.from_numpy(batch_positions(**at, counts=np.array([SAMPLES]), size=7)[0])
        inputs, targets = take(data.train_inputs, positions), take(data.train_targets, positions)
        if task.transform is not None:
            inputs, targets = transformed(task.transform, (inputs, targets), draw_seeds(**at)[0])
        optimiser.zero_grad()
        if isinstance(targets, Weighted):
            each = nn.functional.cross_entropy(called(module, inputs), targets.targets, reduction="none")
            loss = (each * targets.weights).sum() / targets.weights.sum()
        else:
            loss = task.loss(called(module, inputs), targets)
        loss.backward()
        optimiser.step()
    return torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("rows", [1, 3])
def test_steps_are_those_of_torch(name, rows):
    task = form(form=name)
    data = task.dataset()
    trainer = Trainer.of(
        task, NodeData.of_one_node(data.train_inputs, data.train_targets, number=5), SETTINGS
    )
    nodes = Nodes.start(task.initial_row().repeat(rows, 1), optimiser_state_size=trainer.optimiser_state_size)
    for _ in range(5):
        nodes, losses = trainer.train(nodes, np.zeros(rows, dtype=np.int64))
    expected = by_torch(task, data, 5, 5)
    assert torch.isfinite(losses).all()
    assert torch.allclose(nodes.rows, expected.expand(rows, -1), atol=2e-6)
    measured = task.evaluate(nodes.rows, data.test_inputs, data.test_targets)
    assert set(measured) == {"loss", "accuracy"}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("rounds_based", [False, True])
def test_the_simulator_computes_what_its_reference_does(name, rounds_based):
    overrides = [
        "task.name=tests.form_tasks:form",
        f"task.options={{form='{name}'}}",
        "training.local_steps=2",
    ]
    if rounds_based:
        result = sims_run(
            parse_scenario(SMALL, overrides=[*overrides, "algorithm.name=d_psgd", "stop.rounds=2"])
        )
        assert np.isfinite(result.evaluations["loss_mean"].to_numpy()).all()
        return
    expected, came, _ = both(*overrides, rounds=3)
    assert relative(expected, came) < 1e-9


@pytest.mark.parametrize("name", FORMS)
def test_peers_are_replayed(tmp_path, name):
    places = recorded_run(
        tmp_path, rounds=2, peers=3, task={"name": "tests.form_tasks:form", "options": {"form": name}}
    )
    assert [peer.verdict for peer in replay(places).peers] == ["identical"] * 3


def test_a_stored_data_set_is_read_where_batches_need_it():
    words = Words(0)
    data = Dataset.stored(words, Words(0), targets="label", collate=padded_words)
    assert words.reads == 0
    task = Task(name="stored", model=FORMS["on disk, ragged"].model, data=lambda: data)
    trainer = Trainer.of(task, NodeData.of_one_node(data.train_inputs, data.train_targets), SETTINGS)
    before = words.reads
    trainer.train(
        Nodes.start(task.initial_row()[None], optimiser_state_size=trainer.optimiser_state_size),
        np.zeros(1, np.int64),
    )
    assert words.reads - before == 7


def test_samples_mapped_into_memory_are_not_read_at_once(tmp_path):
    """The pages that a tensor of a mapped file has in memory, as Linux counts them."""
    rows = 200_000
    np.save(tmp_path / "inputs.npy", np.ones((rows, 64), dtype=np.int32))
    save_file({"inputs": torch.ones(rows, 64, dtype=torch.int32)}, tmp_path / "inputs.safetensors")
    for suffix in (".npy", ".safetensors"):
        tensor = open_arrays(tmp_path / f"inputs{suffix}")["inputs"]
        assert tensor[[5, rows - 1]].sum().item() == 128
        text = Path("/proc/self/smaps").read_text()
        mapping = re.search(rf"[^\n]*inputs\{suffix}\n(?:[^/]*?)Rss: +(\d+) kB", text)
        assert mapping, suffix
        assert int(mapping.group(1)) < rows * 64 * 4 / 1024 / 4


@pytest.mark.parametrize("name", ["nothing.npy", "nothing.safetensors", "text.npy", "text.safetensors"])
def test_a_file_that_holds_no_samples_is_named(tmp_path, name):
    if name.startswith("text"):
        (tmp_path / name).write_text("no samples")
    with pytest.raises(InvalidTask, match=rf"samples .*{name} cannot be opened"):
        open_arrays(tmp_path / name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"sample 0 .* expected a pair .* keys \['ids', 'label'\].*targets='label'"),
        ({"targets": "class"}, "expected a dictionary with 'class'"),
        ({"targets": "label"}, "cannot be put together.*padded"),
        (
            {"targets": "label", "collate": lambda pairs: (torch.zeros(2), torch.zeros(2))},
            "something else; expected",
        ),
    ],
)
def test_a_stored_data_set_of_another_form_is_named(options, message):
    with pytest.raises(InvalidTask, match=message):
        Dataset.stored(Words(0), Words(0), **options)


def test_a_transform_that_cannot_be_repeated_is_refused():
    def noisy(inputs, targets, generator):
        return inputs + torch.from_numpy(np.random.randn(*inputs.shape)).float(), targets

    def shared(inputs, targets, generator):
        return inputs + torch.randn(inputs.shape), targets

    inputs = torch.zeros(8, 3)
    data = Dataset(train_inputs=inputs, train_targets=inputs, test_inputs=inputs, test_targets=inputs)
    for transform, error in (
        (noisy, "another result for the same generator"),
        (shared, None),
        (lambda i, t, g: i, "pair"),
    ):
        task = Task(
            name="noisy",
            model=lambda: nn.Linear(3, 3),
            data=lambda: data,
            loss=nn.functional.mse_loss,
            transform=transform,
        )
        nodes = NodeData.of_one_node(inputs, inputs)
        if error is None:
            Trainer.of(task, nodes, SETTINGS)
            continue
        with pytest.raises(InvalidTask, match=error):
            Trainer.of(task, nodes, SETTINGS)


def test_padding_keeps_every_value():
    values, mask = padded([[1, 2, 3], [4], [5, 6]], value=9)
    assert values.tolist() == [[1, 2, 3], [4, 9, 9], [5, 6, 9]]
    assert mask.sum(dim=1).tolist() == [3, 1, 2]
    assert count({"values": values, "mask": mask}) == 3


def test_hugging_face_data_sets_from_disk(tmp_path):
    datasets = pytest.importorskip("datasets")
    sequences = [row.tolist() for row in Words(0).sequences]
    labels = [sum(row) % 3 for row in sequences]
    datasets.Dataset.from_dict({"ids": sequences, "label": labels}).save_to_disk(str(tmp_path / "words"))
    stored = datasets.load_from_disk(str(tmp_path / "words"))
    own = Dataset.stored(stored, stored, targets="label", collate=padded_words)
    reference = form(form="on disk, ragged").dataset()
    index = torch.tensor([3, 1, 59])
    for name in ("ids", "mask"):
        assert torch.equal(own.train_inputs[index][name], reference.train_inputs[index][name])
    assert torch.equal(own.train_targets[index], reference.train_targets[index])


def test_lists_of_equal_length_are_samples_of_a_tensor(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = torch.arange(20).reshape(5, 4)
    columns = {"ids": rows.tolist(), "label": [0, 1, 0, 1, 0]}
    datasets.Dataset.from_dict(columns).save_to_disk(str(tmp_path / "rows"))
    stored = datasets.load_from_disk(str(tmp_path / "rows"))
    data = Dataset.stored(stored, stored, targets="label")
    assert torch.equal(data.train_inputs[torch.tensor([4, 1])]["ids"], rows[[4, 1]])
    assert torch.equal(data.test_inputs["ids"], rows)


def test_a_part_of_stored_samples_has_its_own_numbers():
    whole = form(form="on disk, ragged").dataset()
    part = whole.train_targets.subset(np.array([7, 3, 59]))
    assert len(part) == 3
    assert torch.equal(part[torch.tensor([2, 0])], whole.train_targets[torch.tensor([59, 7])])
    two_by_two = torch.tensor([[0, 1], [2, 0]])
    assert torch.equal(part[two_by_two], whole.train_targets[torch.tensor([[7, 3], [59, 7]])])


def test_what_a_transform_draws_from_torchs_own_generator_comes_from_the_seed():
    def shared(inputs, targets, generator):
        return inputs + torch.randn(inputs.shape), targets

    inputs = torch.zeros(8, 3)
    state = torch.get_rng_state()
    first, _ = transformed(shared, (inputs, inputs), 1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    again, _ = transformed(shared, (inputs, inputs), 1)
    other, _ = transformed(shared, (inputs, inputs), 2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)

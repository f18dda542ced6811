"""The device that a peer computes on: chosen in one place, and without effect on what leaves the peer."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from gossipfl.errors import SettingError
from gossipfl.peer import Peer
from gossipfl.peer.device import device_of, hardware_of, on_device
from gossipfl.peer.saved_model import predicted
from gossipfl.settings import PeerSettings, TrainingSettings
from gossipfl.tasks import Dataset, Task
from gossipfl.training import NodeData, Nodes, Trainer
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import quick_settings, records_of, running
from tests.integration.tasks import blobs

#: Torch takes it for another device than "cpu", and copies what is moved there.
SECOND_CPU = torch.device("cpu:1")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICES = [
    pytest.param(SECOND_CPU, id="second CPU"),
    pytest.param(torch.device("cuda:0"), id="cuda", marks=needs_cuda),
]


class Everything(nn.Module):
    """Draws masks, has persistent buffers and a constant that is in no row.

    Before a normalisation is no bias: its gradient is nothing but rounding, which AdamW would make whole steps of.
    """

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 3)
        )
        self.dropout = nn.Dropout(0.2)
        self.register_buffer("scale", torch.full((8,), 0.5), persistent=False)

    def forward(self, inputs):
        return self.layers(self.dropout(inputs * self.scale))


def samples():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(90, 8, generator=generator)
    targets = inputs[:, :3].argmax(dim=1)
    return Dataset(
        train_inputs=inputs[:60],
        train_targets=targets[:60],
        test_inputs=inputs[60:],
        test_targets=targets[60:],
    )


def task_on(device, model=Everything):
    return on_device(Task(name="everything", model=model, data=samples), device)


def trained(task, *, steps=20, **settings):
    data = task.dataset()
    settings = TrainingSettings(learning_rate=0.1, batch_size=16, **settings)
    trainer = Trainer.of(task, NodeData.of_one_node(data.train_inputs, data.train_targets), settings)
    nodes = Nodes.start(task.initial_row()[None], optimiser_state_size=trainer.optimiser_state_size)
    nodes, losses = trainer.train(nodes, np.zeros(1, dtype=np.int64), steps=steps)
    return nodes, losses, task.evaluate(nodes.rows, data.test_inputs, data.test_targets)


def without_draws():
    module = Everything()
    module.dropout = nn.Identity()
    return module


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "settings", [{"momentum": 0.9, "weight_decay": 0.01}, {"optimiser": "adamw"}], ids=str
)
def test_training_and_evaluation_agree_with_the_cpu_and_leave_rows_there(device, settings):
    nodes, losses, measured = trained(task_on(device, without_draws), **settings)
    expected, expected_losses, expected_measured = trained(task_on(None, without_draws), **settings)
    for tensor in (nodes.rows, nodes.optimiser_state, losses, *measured.values()):
        assert tensor.device == torch.device("cpu")
    assert nodes.rows.dtype == torch.float32
    torch.testing.assert_close(nodes.rows, expected.rows, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(losses, expected_losses, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(measured["loss"], expected_measured["loss"], rtol=1e-3, atol=1e-3)
    assert nodes.steps == expected.steps
    if device.type == "cpu":  # the same arithmetic
        assert torch.equal(nodes.rows, expected.rows)


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_seed_gives_the_same_again_with_masks_drawn_on_the_device(device):
    first, second = (trained(task_on(device)) for _ in range(2))
    assert torch.equal(first[0].rows, second[0].rows)
    assert first[2]["loss"] == second[2]["loss"]


@pytest.mark.parametrize("device", DEVICES)
def test_models_predict_on_the_device(device):
    task = task_on(device)
    module = task.module_on_device().eval()
    inputs = task.dataset().test_inputs
    outputs = predicted(module, inputs)
    assert outputs.device == torch.device("cpu")
    torch.testing.assert_close(outputs, predicted(task.build_module().eval(), inputs), rtol=1e-4, atol=1e-5)


def test_the_task_is_the_same_on_any_device():
    assert task_on(SECOND_CPU).fingerprint == task_on(None).fingerprint


def test_the_cpu_needs_no_copies():
    assert device_of("cpu") is None
    assert hardware_of(None) is None
    task = blobs()
    assert on_device(task, None) is task


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_named(name, tmp_path):
    settings = quick_settings(runtime={"device": name})
    with pytest.raises(SettingError) as refused:
        Peer(tmp_path / "alice", settings=settings)
    error = refused.value
    assert f"runtime.device: there is no {name} here" in error.what
    assert error.expected == "one of cpu, auto"
    assert "built without CUDA" in error.remedy or "nvidia-smi" in error.remedy
    assert not (tmp_path / "alice").exists()


def test_a_gpu_that_is_hidden_is_named(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        SettingError, match="See whether nvidia-smi lists a GPU and CUDA_VISIBLE_DEVICES hides"
    ):
        device_of("cuda")


def test_a_gpu_computes_in_whole_float32_and_has_its_makers_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a card, number {device.index}")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    assert (device_of("auto"), device_of("cuda")) == (torch.device("cuda:0"),) * 2
    with pytest.raises(SettingError, match=r"expected one of cpu, cuda:0, cuda:1, auto.*Name one of these"):
        device_of("cuda:2")
    device = device_of("cuda:1")
    assert task_on(device).device == device
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic) == (False, True)
    assert hardware_of(device) == "a card, number 1"


@needs_cuda
def test_a_gpu_beyond_those_there_are_is_named():
    with pytest.raises(SettingError, match=r"there is no cuda:99 here.*expected one of cpu, cuda:0"):
        device_of("cuda:99")


@pytest.mark.parametrize(
    ("there", "chosen"), [([], None), (["cuda:0", "cuda:1"], "cuda:0"), (["mps"], "mps")], ids=str
)
def test_auto_takes_the_first_accelerator(there, chosen, monkeypatch):
    monkeypatch.setattr("gossipfl.peer.device._accelerators", lambda: there)
    assert device_of("auto") == (chosen and torch.device(chosen))


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "CUDA", "cpu:1", "cuda:-1", ""])
def test_other_names_are_refused(name):
    with pytest.raises(
        SettingError, match=r"runtime\.device: expected cpu, cuda, cuda:N with N from 0, mps or auto"
    ):
        PeerSettings.from_file({"runtime": {"device": name}}, source="settings")


@in_trio
async def test_records_name_the_device(tmp_path):
    task = dataclasses.replace(blobs(), device=SECOND_CPU)
    peer = Peer(tmp_path / "alice", settings=quick_settings(exchange={"patience": 0.02}), task=task)
    async with running(peer):
        await until(lambda: peer.status().step >= 5)
    [start] = records_of(peer.home, "start")
    assert (start["device"], start["hardware"]) == ("cpu:1", "cpu")


@needs_cuda
@in_trio
async def test_peers_on_a_gpu_and_on_the_cpu_exchange_models(tmp_path):
    alice = Peer(tmp_path / "alice", settings=quick_settings(runtime={"device": "cuda"}))
    async with running(alice):
        bob = Peer(tmp_path / "bob", settings=quick_settings(1, bootstrap=alice.status().addresses))
        async with running(bob):
            await until(lambda: len(records_of(bob.home, "merge")) >= 5)
            await until(lambda: len(records_of(alice.home, "merge")) >= 5)
            assert alice.model() is not None
    [start] = records_of(alice.home, "start")
    assert start["device"] == "cuda:0"
    assert start["hardware"] == torch.cuda.get_device_name(0)
    [start] = records_of(bob.home, "start")
    assert (start["device"], start["hardware"]) == ("cpu", None)

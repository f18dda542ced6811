"""Tasks: the agreement of peers, the initial model, and evaluation."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from gossipfl.constants import digest
from gossipfl.errors import IncompatibleModel, InvalidTask
from gossipfl.layout import SharePolicy
from gossipfl.rows import load_row
from gossipfl.tasks import Dataset, Task, accuracy
from tests.gossipfl.training.small_tasks import MODELS, blobs, task_of


def other_data() -> Dataset:
    return Dataset(
        train_inputs=torch.zeros(3, 16),
        train_targets=torch.zeros(3, dtype=torch.int64),
        test_inputs=torch.zeros(1, 16),
        test_targets=torch.zeros(1, dtype=torch.int64),
    )


def make(**changes: object) -> Task:
    return Task(**{"name": "blobs", "model": MODELS["perceptron"], "data": blobs, **changes})  # type: ignore[arg-type]


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.mean(dim=-1) - targets).square().mean()


def test_fingerprints_do_not_depend_on_data_or_on_what_stays_local() -> None:
    fingerprint = make().fingerprint
    assert len(fingerprint) == 32
    assert make(data=other_data).fingerprint == fingerprint
    personal = SharePolicy(local=("2.*",))
    heads = [
        make(share=personal, model=lambda n=n: nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, n)))
        for n in (3, 5)
    ]
    assert heads[0].fingerprint == heads[1].fingerprint


def test_fingerprints_change_with_everything_peers_must_agree_on() -> None:
    variants = [
        make(),
        make(name="other"),
        make(model=MODELS["batch_norm"]),
        make(model=lambda: MODELS["perceptron"]().bfloat16()),
        make(loss=squared_error),
        make(metrics={"accuracy": accuracy, "error": squared_error}),
        make(seed=1),
        make(start="independent"),
        make(share=SharePolicy(local=("2.*",))),
    ]
    assert len({task.fingerprint for task in variants}) == len(variants)


def on_a_body(value: float, *, frozen: bool = True, persistent: bool = True) -> nn.Module:
    body = nn.Linear(16, 8)
    nn.init.constant_(body.weight, value)
    body.requires_grad_(not frozen)
    module = nn.Sequential(body, nn.Linear(8, 3))
    module.register_buffer("scale", torch.full((2,), value), persistent=persistent)
    return module


def test_fingerprints_change_with_what_is_never_trained() -> None:
    """Peers whose frozen bodies differ would average parts of different models."""

    def frozen(value: float, **changes: object) -> Task:
        return make(model=functools.partial(on_a_body, value), **changes)

    assert frozen(0.5).layout.digest == frozen(0.25).layout.digest
    assert frozen(0.5).fingerprint == frozen(0.5).fingerprint != frozen(0.25).fingerprint
    lean = dataclasses.replace(frozen(0.5), constant=frozenset({"0.weight", "scale"}))
    assert lean.layout.size < frozen(0.5).layout.size
    assert lean.fingerprint == frozen(0.5).fingerprint
    at_home = SharePolicy(local=("0.*", "scale"))
    with pytest.raises(InvalidTask, match="keeps 'scale' local"):
        assert frozen(0.5, share=at_home)
    at_home = SharePolicy(local=("0.*",))
    bodies = [
        make(model=lambda v=v: nn.Sequential(on_a_body(v)[0], nn.Linear(8, 3)), share=at_home) for v in (1, 2)
    ]
    assert bodies[0].fingerprint == bodies[1].fingerprint


@pytest.mark.parametrize("keys", [(), ("untrained",)])
def test_files_of_earlier_versions_name_a_task_with_less(keys: tuple[str, ...]) -> None:
    task = make(model=functools.partial(on_a_body, 0.5))
    body, scale = task.build_module()[0], torch.full((2,), 0.5)
    agreed = {
        "constants": digest({}).hex(),
        "layout": task.layout.digest.hex(),
        "loss": "torch.nn.functional.cross_entropy",
        "metrics": ["accuracy"],
        "name": "blobs",
        "start": ["common", 0, hashlib.sha256(task.initial_row()[: 3 * 8 + 3].numpy().data).hexdigest()],
        "untrained": digest(
            {"0.weight": body.weight.detach(), "0.bias": body.bias.detach(), "scale": scale}
        ).hex(),
    }
    left = {key: each for key, each in agreed.items() if key in keys or key != "untrained"}
    earlier = hashlib.sha256(json.dumps(left, sort_keys=True).encode()).hexdigest()
    assert earlier != task.fingerprint.hex()
    assert task.is_known_as(earlier) == task.is_known_as(task.fingerprint.hex())
    assert not make(model=functools.partial(on_a_body, 0.25)).is_known_as(task.fingerprint.hex())
    assert not make(name="other", model=functools.partial(on_a_body, 0.5)).is_known_as(earlier)


IN_ANOTHER_PROCESS = """
import torch
torch.rand({draws})
from gossipfl.tasks import find_task
task = find_task("digits", {{"seed": 5, "partition": "{partition}", "peers": 4, "index": {draws}}})
print(task.fingerprint.hex(), task.initial_row().numpy().tobytes().hex())
"""


def test_all_peers_start_alike_in_separate_processes() -> None:
    programs = [
        IN_ANOTHER_PROCESS.format(draws=1, partition="iid"),
        IN_ANOTHER_PROCESS.format(draws=3, partition="shards:2"),
    ]
    running = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for program in programs
    ]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert outputs[0] == outputs[1]
    assert len(outputs[0].split()[1]) == 8 * 4810


def test_a_common_start_is_common_and_independent_starts_are_not() -> None:
    common, independent = make(), make(start="independent")
    assert torch.equal(common.initial_row(0), common.initial_row(7))
    rows = [independent.initial_row(node) for node in (0, 1, 2)]
    assert torch.equal(rows[1], independent.initial_row(1))
    assert not torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[1], rows[2])
    assert not torch.equal(common.initial_row(), make(seed=1).initial_row())


def test_a_start_is_what_torch_initialises_from_the_seed() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = MODELS["perceptron"]()
    assert torch.equal(make(seed=3).initial_row()[:128], module[0].weight.detach().reshape(-1))


@pytest.mark.parametrize("model", list(MODELS))
def test_evaluating_rows_equals_a_plain_loop_over_modules(model: str) -> None:
    task, data = task_of(model), blobs()
    noise = torch.randn(5, task.layout.size, generator=torch.Generator().manual_seed(0))
    noise[:, task.layout.trainable_size :] = 0
    rows = task.initial_row() + 0.3 * noise
    before = rows.clone()
    measured = task.evaluate(rows, data.test_inputs, data.test_targets)
    assert set(measured) == {"loss", "accuracy"}
    for number, row in enumerate(rows):
        module = task.build_module().eval()
        load_row(module, task.layout, row)
        with torch.no_grad():
            outputs = module(data.test_inputs)
        loss = nn.functional.cross_entropy(outputs, data.test_targets).item()
        assert measured["loss"][number].item() == pytest.approx(loss, abs=1e-5)
        right = sum(
            int(output.argmax() == target) for output, target in zip(outputs, data.test_targets, strict=True)
        )
        assert measured["accuracy"][number].item() == pytest.approx(right / 50)
        alone = task.evaluate(row[None], data.test_inputs, data.test_targets)
        assert alone["loss"].item() == pytest.approx(loss, abs=1e-5)
    assert torch.equal(rows, before)


def test_a_metric_may_be_any_function_that_returns_a_number() -> None:
    task = make(
        metrics={"plain": lambda outputs, targets: float(outputs.max().item()), "one": lambda o, t: 1.0}
    )
    data = blobs()
    measured = task.evaluate(task.initial_row().expand(3, -1), data.test_inputs, data.test_targets)
    assert measured["one"].tolist() == [1, 1, 1]
    assert measured["plain"].shape == (3,)


def test_evaluating_a_module_that_counts_its_calls_leaves_the_rows_alone() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(16, 3)
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, inputs: Tensor) -> Tensor:
            self.calls += 1
            return self.linear(inputs)

    task, data = make(model=Counting), blobs()
    for count in (1, 3):
        rows = task.initial_row().repeat(count, 1)
        task.evaluate(rows, data.test_inputs, data.test_targets)
        assert not rows[:, -1].any()


def test_rows_of_another_width_are_not_evaluated() -> None:
    data = blobs()
    for count in (1, 2):
        with pytest.raises(IncompatibleModel, match="another width"):
            make().evaluate(torch.zeros(count, 7), data.test_inputs, data.test_targets)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": MODELS["perceptron"]()}, "is a module.*deepcopy"),
        ({"start": "indepedent"}, "'common' or 'independent'; got 'indepedent'"),
        ({"seed": -1}, "seed of task 'blobs' is out of range"),
        ({"metrics": {"loss": accuracy}}, "metric named 'loss'"),
    ],
)
def test_a_task_that_makes_no_sense_is_refused_at_once(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidTask, match=message):
        make(**changes)


def test_a_factory_that_makes_no_module_is_refused() -> None:
    with pytest.raises(InvalidTask, match=r"returned no module; expected a torch\.nn\.Module; got int"):
        _ = make(model=lambda: 3).layout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train_inputs": [[1.0]]},
            "train inputs and targets must be torch tensors; .* got float and Tensor",
        ),
        ({"train_targets": torch.zeros(2)}, "train inputs and targets do not match.*got 3 and 2"),
        ({"test_inputs": torch.zeros(0, 16), "test_targets": torch.zeros(0)}, "test inputs.*got 0 and 0"),
        ({"test_targets": torch.tensor(1)}, "test targets must have one sample"),
    ],
)
def test_a_dataset_that_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    good = {"train_inputs": torch.zeros(3, 16), "train_targets": torch.zeros(3)}
    good |= {"test_inputs": torch.zeros(1, 16), "test_targets": torch.zeros(1)}
    with pytest.raises(InvalidTask, match=message):
        Dataset(**{**good, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["train_inputs", "train_targets", "test_inputs", "test_targets"])
@pytest.mark.parametrize(("wrong", "dtype"), [(float("nan"), "float32"), (-float("inf"), "float16")])
def test_samples_that_are_no_numbers_are_refused_by_name(field: str, wrong: float, dtype: str) -> None:
    good = {
        name: torch.ones(5, 3) for name in ("train_inputs", "train_targets", "test_inputs", "test_targets")
    }
    Dataset(**good)
    bad = torch.ones(5, 3, dtype=getattr(torch, dtype))
    bad[2, 1] = bad[2, 0] = bad[4, 2] = wrong
    with pytest.raises(
        InvalidTask, match=rf"{field.replace('_', ' ')} hold.* 3 in 2 of 5 samples, first in sample 2"
    ):
        Dataset(**{**good, field: bad})


def test_losses_with_settings_of_their_own_have_names() -> None:
    smooth = functools.partial(nn.functional.cross_entropy, label_smoothing=0.1)
    smoother = functools.partial(nn.functional.cross_entropy, label_smoothing=0.2)
    losses = [nn.functional.cross_entropy, smooth, smoother, nn.NLLLoss()]
    losses += [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1)]
    assert len({make(loss=loss).fingerprint for loss in losses}) == len(losses)
    assert make(loss=nn.NLLLoss()).fingerprint == make(loss=nn.NLLLoss()).fingerprint

"""Tasks found by name: bundled, or a user's own module in the current directory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gossipfl.errors import InvalidPartition, InvalidTask, UnknownTask
from gossipfl.tasks import find_task
from gossipfl.tasks.digits import load_digits

FIVE_LINES = """
import torch
from gossipfl.tasks import Dataset, Task
x, y = torch.eye(4), torch.arange(4)
def load(): return Dataset(train_inputs=x, train_targets=y, test_inputs=x, test_targets=y)
def task(name="identity"): return Task(name=name, model=lambda: torch.nn.Linear(4, 4), data=load)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; modules imported from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_task_of_five_lines_is_found_in_the_current_directory_and_works(here: Path) -> None:
    (here / "five_lines.py").write_text(FIVE_LINES)
    task = find_task("five_lines:task")
    data = task.data()
    assert task.name == "identity"
    assert task.layout.shared_size == 20
    row = torch.cat([torch.eye(4).reshape(-1), torch.zeros(4)])
    measured = task.evaluate(row[None], data.test_inputs, data.test_targets)
    assert measured["accuracy"].item() == 1
    assert find_task("five_lines:task", {"name": "mine"}).name == "mine"


def test_a_package_may_hold_the_task_and_import_its_neighbours_late(here: Path) -> None:
    (here / "parts_of_mine").mkdir()
    (here / "parts_of_mine/__init__.py").touch()
    (here / "parts_of_mine/deep.py").write_text(
        FIVE_LINES + "def late():\n    import beside_mine\n    return beside_mine.task('late')\n"
    )
    (here / "beside_mine.py").write_text(FIVE_LINES)
    assert find_task("parts_of_mine.deep:task").name == "identity"
    assert find_task("parts_of_mine.deep:late").name == "late"


WRONG = """
from gossipfl.errors import InvalidPartition
number = 3
def factory(*, path): return path
def failing(): raise FileNotFoundError("no readings.csv")
def refused(): raise InvalidPartition("my own words")
"""


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("digit", {}, UnknownTask, "no bundled task 'digit'; expected one of digits.*Did you mean 'digits'"),
        (":factory", {}, UnknownTask, "package.module:factory"),
        ("wrong_task:", {}, UnknownTask, "package.module:factory"),
        ("nowhere_at_all:factory", {}, UnknownTask, "no module 'nowhere_at_all'.*nothing of that name in"),
        ("wrong_task.py:factory", {}, UnknownTask, r"no module 'wrong_task\.py'.*without '\.py'"),
        ("wrong_task:factroy", {"path": 1}, UnknownTask, "no function 'factroy'.*wrong_task:factory"),
        ("wrong_task:number", {}, UnknownTask, "no function 'number'"),
        ("wrong_task:factory", {}, InvalidTask, "options.*Missing a required argument: 'path'"),
        ("wrong_task:factory", {"path": 1, "x": 2}, InvalidTask, "unexpected keyword argument 'x'"),
        ("wrong_task:factory", {"path": 1}, InvalidTask, "expected a gossipfl.Task; got int"),
        ("wrong_task:failing", {}, InvalidTask, "failed; got FileNotFoundError: no readings.csv"),
        ("wrong_task:refused", {}, InvalidPartition, "my own words"),
        ("wrong_imports:factory", {}, InvalidTask, "imports 'wrong', which is not installed"),
        ("wrong_syntax:factory", {}, InvalidTask, "cannot be imported; got SyntaxError"),
        ("digits", {"part": "iid"}, InvalidTask, "does not take these options; expected options .*partition"),
        ("digits", {"peers": 2, "index": 2}, InvalidPartition, "index lies outside.*got index 2 of 2 peers"),
        ("digits", {"peers": 0}, InvalidPartition, "got index 0 of 0 peers"),
        ("digits", {"seed": -1}, InvalidTask, "seed"),
    ],
)  # fmt: skip
def test_every_wrong_name_gets_its_error(
    here: Path, name: str, options: dict[str, object], error: type[Exception], message: str
) -> None:
    (here / "wrong_task.py").write_text(WRONG)
    (here / "wrong_imports.py").write_text("import wrong\n")
    (here / "wrong_syntax.py").write_text("def factory(:\n")
    with pytest.raises(error, match=message):
        find_task(name, options)


def test_digits_are_divided_totally_and_tested_on_the_same() -> None:
    pooled = load_digits(seed=3)
    parts = [
        find_task("digits", {"partition": "shards:2", "peers": 8, "index": i, "seed": 3}) for i in range(8)
    ]
    data = [task.data() for task in parts]
    assert len({task.fingerprint for task in parts}) == 1
    together = torch.cat([part.train_inputs for part in data])
    assert torch.equal(together.sum(dim=0), pooled.train_inputs.sum(dim=0))
    assert sum(len(part.train_targets) for part in data) == len(pooled.train_targets) == 1437
    assert all(torch.equal(part.test_inputs, pooled.test_inputs) for part in data)
    assert all(len(part.train_targets.unique()) <= 4 for part in data)
    assert len(pooled.test_targets) == 360
    assert pooled.train_inputs.min() == 0
    assert pooled.train_inputs.max() == 1


def test_digits_are_the_ones_scikit_learn_loads() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    expected = datasets.load_digits()
    ours = load_digits()
    inputs = torch.cat([ours.test_inputs, ours.train_inputs])
    targets = torch.cat([ours.test_targets, ours.train_targets])
    rows = {
        (*image.tolist(), label) for image, label in zip((inputs * 16).int(), targets.tolist(), strict=True)
    }
    theirs = {
        (*image.astype(int).tolist(), int(label))
        for image, label in zip(expected.data, expected.target, strict=True)
    }
    assert rows == theirs
    assert len(inputs) == len(expected.data)


def test_another_seed_is_another_split_and_another_task() -> None:
    assert not torch.equal(load_digits(seed=0).test_inputs, load_digits(seed=1).test_inputs)
    assert find_task("digits", {"seed": 0}).fingerprint != find_task("digits", {"seed": 1}).fingerprint

"""Tasks whose authors made a mistake, each of another kind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gossipfl.tasks import Dataset, Task

SAMPLES = 48


def _data(**changes: object) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(SAMPLES, 5, generator=generator)
    targets = torch.arange(SAMPLES) % 3
    good = {
        "train_inputs": inputs,
        "train_targets": targets,
        "test_inputs": inputs[:9],
        "test_targets": targets[:9],
    }
    return Dataset(**{**good, **changes})  # type: ignore[arg-type]


class _Fails(nn.Module):
    """A linear layer that fails on one sample in eight, and not on the first."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(8, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.table(inputs)


def _late_indices() -> Dataset:
    inputs = torch.arange(SAMPLES) % 8
    inputs[40:] = 8
    return _data(train_inputs=inputs, test_inputs=inputs[:9])


def _no_file() -> Dataset:
    return _data(train_inputs=torch.from_numpy(np.load(Path("no-such-folder/samples.npy"))))


def _class(number: int) -> torch.Tensor:
    targets = torch.arange(SAMPLES) % 3
    targets[-1] = number
    return targets


def _raises(*_: object) -> torch.Tensor:
    raise KeyError("colour")


#: For each mistake: changes to a task that works, and what its message says.
MISTAKES: dict[str, tuple[dict[str, object], str]] = {
    "missing file": ({"data": _no_file}, "could not be read.*FileNotFoundError.*samples.npy"),
    "data fail": ({"data": _raises}, "could not be read.*KeyError: 'colour'"),
    "no data": ({"data": lambda: None}, "expected a gossipfl.Dataset; got NoneType"),
    "a tuple of data": ({"data": lambda: (1, 2)}, "expected a gossipfl.Dataset; got tuple"),
    "sparse inputs": (
        {"data": lambda: _data(train_inputs=torch.eye(SAMPLES, 5).to_sparse())},
        "train inputs are sparse.*to_dense",
    ),
    "NaN": (
        {"data": lambda: _data(train_inputs=torch.full((SAMPLES, 5), torch.nan))},
        "train inputs hold NaN",
    ),
    "class too high": ({"data": lambda: _data(train_targets=_class(3))}, "no output for.*0 … 2.*got 0 … 3"),
    "class below 0": ({"data": lambda: _data(train_targets=_class(-1))}, "no output for.*0 … 2.*got -1 … 2"),
    "test class too high": (
        {"data": lambda: _data(test_targets=torch.arange(9))},
        "no output for.*0 … 2.*got 0 … 8",
    ),
    "index out of range, late": (
        {"model": _Fails, "data": _late_indices},
        "training failed.*(IndexError|RuntimeError)",
    ),
    "test data of another width": (
        {"data": lambda: _data(test_inputs=torch.zeros(9, 4))},
        r"fails on the test samples.*inputs \[9, 4\] float32",
    ),
    "test data of another dtype": (
        {"data": lambda: _data(test_inputs=torch.zeros(9, 5, dtype=torch.int64))},
        r"fails on the test samples.*inputs \[9, 5\] int64",
    ),
    "integer targets of a regression": (
        {"loss": nn.functional.mse_loss},
        r"mse_loss does not fit.*outputs \[\d, 3\] float32 and targets \[\d\] int64",
    ),
    "loss of each sample": (
        {"loss": lambda o, t: nn.functional.cross_entropy(o, t, reduction="none")},
        "must be one number.*reduction='mean'",
    ),
    "loss fails": ({"loss": _raises}, "KeyError: 'colour'"),
    "metric fails": ({"metrics": {"mine": _raises}}, "fails on the test samples.*KeyError: 'colour'"),
    "metric returns a vector": (
        {"metrics": {"mine": lambda o, t: (o.argmax(1) == t).float()}},
        r"metric 'mine' is not one number.*got \[9\] float32",
    ),
    "metric returns nothing": (
        {"metrics": {"mine": lambda o, t: None}},
        "metric 'mine' is not a number.*NoneType",
    ),
    "metric returns text": ({"metrics": {"mine": lambda o, t: "good"}}, "metric 'mine' is not a number.*str"),
    "factory raises": ({"model": _raises}, "model factory.*failed.*KeyError: 'colour'"),
    "factory makes nothing": ({"model": lambda: None}, "returned no module"),
    "wrong width": ({"model": lambda: nn.Linear(4, 3)}, r"fails on a batch.*inputs \[2, 5\] float32"),
    "output of the wrong kind": (
        {"model": lambda: nn.LSTM(5, 3, batch_first=True)},
        "cross_entropy does not fit.*outputs \\(|fails on a batch",
    ),
    "nothing to train": ({"model": nn.Flatten}, "shares nothing"),
    "detached": (
        {"loss": lambda o, t: nn.functional.cross_entropy(o.detach(), t)},
        "does not depend on any trainable",
    ),
}


def broken(*, mistake: str) -> Task:
    """Make a task with this mistake."""
    good = Task(name="broken", model=lambda: nn.Linear(5, 3), data=_data)
    return dataclasses.replace(good, **{"metrics": {}, **MISTAKES[mistake][0]})


def raising() -> Task:
    """Fail, as a factory may."""
    raise OSError("no such disk")


def uneven() -> Task:
    """Work, with columns that differ much in scale."""
    scales = torch.tensor([1.0, 2.0, 3000.0, 4.0, 0.5])
    data = _data()
    return Task(
        name="uneven",
        model=lambda: nn.Linear(5, 3),
        data=lambda: dataclasses.replace(data, train_inputs=data.train_inputs * scales),
    )

"""Kinds of modules that people bring: small ones of each, with samples they take."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gossipfl.errors import InvalidTask
from gossipfl.tasks import Dataset, Task
from gossipfl.training import NodeData, Trainer, TrainingSettings
from tests.gossipfl.training.zoo import convolutional, dense, normalised, others, sequences
from tests.gossipfl.training.zoo.form import Kind

__all__ = ["DOCUMENT", "EACH", "KINDS", "document", "task_of"]

EACH = 6  # samples of a node
DOCUMENT = Path(__file__).parents[4] / "docs" / "modules.md"
KINDS: dict[str, Kind] = {
    **dense.KINDS,
    **convolutional.KINDS,
    **normalised.KINDS,
    **sequences.KINDS,
    **others.KINDS,
}


def _samples(inputs: str, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    if inputs == "tokens":
        return torch.randint(0, 11, (count, 6), generator=generator)
    shape = {
        "vector": (16,),
        "image": (1, 8, 8),
        "sequence": (6, 8),
        "signal": (2, 12),
        "volume": (1, 4, 4, 4),
    }
    return torch.randn(count, *shape[inputs], generator=generator)


def task_of(kind: str, nodes: int = 3) -> Task:
    """Task of a kind of module, with `EACH` samples a node, in order."""

    def data() -> Dataset:
        count = EACH * nodes
        inputs = _samples(KINDS[kind].inputs, count)
        targets = torch.arange(count) % 3
        return Dataset(
            train_inputs=inputs, train_targets=targets, test_inputs=inputs[:4], test_targets=targets[:4]
        )

    return Task(name=f"zoo/{kind}", model=KINDS[kind].model, data=data)


def how(kind: str) -> str:
    """How a kind is trained, as the document says it."""
    task = task_of(kind, 1)
    data = task.data()
    try:
        whole = NodeData.of_one_node(data.train_inputs, data.train_targets)
        trainer = Trainer.of(task, whole, TrainingSettings(batch_size=EACH))
    except InvalidTask:
        return "refused"
    return "together" if trainer.gradients.vectorised else "one by one"


def document() -> str:
    """The table in the documentation."""
    lines = [
        "# Modules",
        "",
        "Whatever a module computes in torch it computes here, or it is refused by name. Each of these is held to",
        "`torch.optim` for five steps of SGD and of AdamW, in a trainer and in the simulator's traced programmes",
        "(`tests/gossipfl/training/test_as_torch.py`). *Together*: a simulation trains many models at once.",
        "*One by one*: each goes through the module alone, with the same numbers, more slowly. A peer has one",
        "model, and always runs the module itself.",
        "",
        "Compositions of these and of odder layers, drawn at random with losses, optimisers and batch sizes,",
        "are held to the same (`tests/gossipfl/training/test_any_modules.py`). As in torch, a parameter that a",
        "batch's loss does not depend on stays as it is in that step, weight decay and AdamW's counters",
        "included. In evaluation, what a module draws comes from one seed, so a model has one loss. Refused are",
        "parameters and buffers that lie in one another's memory, and modules whose second evaluation differs",
        "from the first.",
        "",
        "This table is made by `python -m tests.gossipfl.training.zoo`.",
        "",
        "| family | module | trained | |",
        "|---|---|---|---|",
    ]
    lines += [f"| {kind.family} | {name} | {how(name)} | {kind.note} |" for name, kind in KINDS.items()]
    return "\n".join(lines) + "\n"

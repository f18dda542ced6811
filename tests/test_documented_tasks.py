"""Every example of docs/tasks.md trains."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import torch

from gossipfl.tasks import Task
from gossipfl.tasks.loss_kinds import default_metrics
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings, rehearse

PAGE = Path(__file__).parent.parent / "docs" / "tasks.md"


def test_examples_train():
    namespace: dict[str, object] = {}
    for requires, code in re.findall(r"```python(?: requires=(\S+))?\n(.*?)```", PAGE.read_text(), re.DOTALL):
        if all(importlib.util.find_spec(name) for name in filter(None, requires.split(","))):
            exec(compile(code, str(PAGE), "exec"), namespace)
    tasks = {name: each for name, each in namespace.items() if isinstance(each, Task)}
    assert {"task", "tagging", "weighted", "stored", "augmented"} <= set(tasks)
    for task in tasks.values():
        data = task.dataset()
        nodes = NodeData.of_one_node(data.train_inputs, data.train_targets)
        trainer = Trainer.of(task, nodes, TrainingSettings(batch_size=4))
        rehearse(task, trainer, data.test_inputs, data.test_targets)
        after, _ = trainer.train(Nodes.start(task.initial_row()[None]), np.zeros(1, dtype=np.int64))
        assert (after.rows != task.initial_row()).any(), task.name


def test_the_table_of_metrics_is_that_of_the_library():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|[^|]*\|([^|]*)\|$", PAGE.read_text(), re.MULTILINE)
    losses = {name: told for names, told in rows for name in re.findall(r"`(\w+)`", names)}
    losses = {name: told for name, told in losses.items() if hasattr(torch.nn.functional, name)}
    assert len(losses) >= 11
    for name, told in losses.items():
        for metric in default_metrics(getattr(torch.nn.functional, name)):
            assert f"`{metric}`" in told, name

"""Tasks whose training labels are false: what hostile peers train on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from gossipfl.attacks import Poisoned, find_attack
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Dataset, Task, find_task

FALSE_LABELS = "examples.false_labels:false_labels"


def falsified(settings: PeerSettings, attack: Poisoned) -> PeerSettings:
    """Settings whose task is the same with false labels, so that a replay trains on these, too."""
    if settings.task.name == FALSE_LABELS:
        return settings
    options = {"task": settings.task.name, "attack": attack.name, "options": settings.task.options}
    task = settings.task.model_copy(update={"name": FALSE_LABELS, "options": options})
    return settings.model_copy(update={"task": task})


def false_labels(*, task: str, attack: str, options: Mapping[str, object]) -> Task:
    """A task with false labels; peers take it for the true one, since data are nobody else's affair."""
    true, poisoned = find_task(task, options), find_attack(attack)()

    def data() -> Dataset:
        found = true.dataset()
        classes = 1 + int(torch.cat([found.train_targets, found.test_targets]).max())
        return replace(found, train_targets=poisoned.poison(found.train_targets, classes=classes))

    return replace(true, data=data)

"""Fingerprints of tasks: digests of what two peers must have in common to learn together."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from torch import nn

from gossipfl.fingerprints import fingerprint_of
from gossipfl.tasks.factory import constants_digest, untrained_digest
from gossipfl.tasks.naming import name_of, settings_of
from gossipfl.tasks.structure import structure_digest

if TYPE_CHECKING:
    from gossipfl.tasks.task import Task

__all__ = ["earlier_fingerprints", "task_fingerprint"]


def task_fingerprint(task: Task) -> bytes:
    """Digest of what `gossipfl.tasks.Task.fingerprint` covers: 32 bytes."""
    module = task.build_module()
    agreed = _agreed(task, module)
    agreed["loss"] = [agreed["loss"], settings_of(task.loss)]
    if task.transform is not None:
        agreed["transform"] = [agreed["transform"], settings_of(task.transform)]
    untrained = untrained_digest(module, task.share)
    agreed |= {} if untrained is None else {"untrained": untrained.hex()}
    return fingerprint_of({**agreed, "structure": structure_digest(module, task.share).hex()})


def earlier_fingerprints(task: Task) -> list[bytes]:
    """Digests that earlier versions made, which left some of it out; the first version's first."""
    module = task.build_module()
    agreed, untrained = _agreed(task, module), untrained_digest(module, task.share)
    known = [agreed] if untrained is None else [agreed, {**agreed, "untrained": untrained.hex()}]
    return [hashlib.sha256(json.dumps(each, sort_keys=True).encode()).digest() for each in known]


def _agreed(task: Task, module: nn.Module) -> dict[str, Any]:
    shared = task.initial_row()[: task.layout.shared_size]
    return {
        "name": task.name,
        "layout": task.layout.digest.hex(),
        "loss": name_of(task.loss),
        "metrics": sorted(task.metrics),
        **({} if task.transform is None else {"transform": name_of(task.transform)}),
        "start": [task.start, task.seed, hashlib.sha256(shared.numpy().data).hexdigest()],
        **({} if task.statistics is None else {"statistics": task.statistics}),
        "constants": constants_digest(module, task.share).hex(),
    }

"""The first record of each start of a peer."""

from __future__ import annotations

from typing import Any

import torch

from gossipfl.peer.device import hardware_of
from gossipfl.peer.gossip.events import State
from gossipfl.peer.renewal import described
from gossipfl.peer.store.checkpoint import Checkpoint
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Dataset, Task

__all__ = ["start_record"]


def start_record(
    state: State,
    *,
    peer_id: str,
    task: Task,
    settings: PeerSettings,
    data: Dataset,
    resumed: Checkpoint | None,
) -> dict[str, Any]:
    """Return the record of everything that a replay must know before the first event."""
    return {
        "kind": "start",
        "peer": peer_id,
        "number": settings.runtime.number,
        "task": task.fingerprint.hex(),
        "layout": task.layout.digest.hex(),
        **described(data),
        "event": state.event,
        "age": state.age,
        "step": state.step,
        "merges_pending": state.merges_pending,
        "resumed_from": resumed.incarnation if resumed else None,
        "settings": settings.model_dump_json(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": str(task.device or "cpu"),
        "hardware": hardware_of(task.device),
    }

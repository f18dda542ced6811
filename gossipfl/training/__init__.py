"""Local training, batched over rows: one code path for a peer's single row and a simulation's thousands."""

from __future__ import annotations

from gossipfl.training.batches import batch_positions
from gossipfl.training.data import NodeData
from gossipfl.training.nodes import Nodes
from gossipfl.training.settings import Schedule, TrainingSettings, learning_rates
from gossipfl.training.trainer import Trainer

__all__ = [
    "NodeData",
    "Nodes",
    "Schedule",
    "Trainer",
    "TrainingSettings",
    "batch_positions",
    "learning_rates",
]

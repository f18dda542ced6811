"""Local training, batched over rows: one code path for a peer's single row and a simulation's thousands."""

from __future__ import annotations

from gossipfl.training.batches import batch_positions
from gossipfl.training.constant import constants_apart, without_constants
from gossipfl.training.data import NodeData
from gossipfl.training.fine_tuning import fine_tuned, places_of_head
from gossipfl.training.nodes import PERSONAL, Nodes, has_diverged
from gossipfl.training.optimisers import SGD, AdamW, Optimiser, optimiser_of
from gossipfl.training.rehearsal import rehearse
from gossipfl.training.settings import Schedule, TrainingSettings, learning_rates
from gossipfl.training.trainer import Trainer, TrainingStopped

__all__ = [
    "PERSONAL",
    "SGD",
    "AdamW",
    "NodeData",
    "Nodes",
    "Optimiser",
    "Schedule",
    "Trainer",
    "TrainingSettings",
    "TrainingStopped",
    "batch_positions",
    "constants_apart",
    "fine_tuned",
    "has_diverged",
    "learning_rates",
    "optimiser_of",
    "places_of_head",
    "rehearse",
    "without_constants",
]

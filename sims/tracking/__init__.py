"""Experiment trackers: callbacks that runs tell of their evaluations while they go on."""

from __future__ import annotations

from sims.tracking.callback import Callback, CallbackWarning
from sims.tracking.mlflow import MLflow
from sims.tracking.tensorboard import TensorBoard
from sims.tracking.wandb import WeightsAndBiases

__all__ = ["Callback", "CallbackWarning", "MLflow", "TensorBoard", "WeightsAndBiases"]

"""Measurements of models: of each node, and of all together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.consensus import consensus_distance
from gossipfl.training import fine_tuned
from sims.metrics.evaluation import Evaluator
from sims.metrics.network_metrics import network_metrics, observed_columns
from sims.world import World

if TYPE_CHECKING:
    from sims.running.simulation import Simulation

__all__ = ["Measured", "measured", "used"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An evaluation.

    Parameters
    ----------
    nodes : dict of str to ndarray
        Loss and metrics of each node of the evaluator, float64 ``[k]``.
    ages : ndarray
        Of all models, int64 ``[N]``.
    network : dict of str to float
        The consensus distance, and what else is measured of all together.
    """

    nodes: dict[str, NDArray[np.float64]]
    ages: NDArray[np.int64]
    network: dict[str, float]


def measured(
    simulation: Simulation, world: World, evaluator: Evaluator, among: NDArray[np.bool_]
) -> Measured:
    """Measure models that are all in one place.

    Parameters
    ----------
    simulation : Simulation
    world : World
    evaluator : Evaluator
    among : ndarray
        The nodes that count where all are measured together, bool ``[N]``.
    """
    rows, nodes = simulation.engine.rows_in_parts(), evaluator.nodes
    everyone = len(nodes) == len(rows)
    models, ages = simulation.models(None if everyone else nodes), simulation.ages()
    return Measured(
        nodes=evaluator(used(world, models, ages[nodes], nodes)),
        ages=ages,
        network={
            "consensus_distance": consensus_distance(rows, world.layout.shared_size, among),
            **network_metrics(world, rows, among),
            **observed_columns(simulation.observed(), among),
        },
    )


def used(world: World, models: Tensor, ages: NDArray[np.int64], owners: NDArray[np.int64]) -> Tensor:
    """Models as they are measured: fine-tuned on their owners' samples if the scenario says so."""
    evaluate = world.scenario.evaluate
    if evaluate.fine_tune is None:
        return models
    with torch.no_grad():
        return fine_tuned(world.trainer, models, ages, owners, steps=evaluate.fine_tune, head=evaluate.head)

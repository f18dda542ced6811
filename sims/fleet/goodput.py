"""Goodput: the share of training steps that is in the models in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sims.privacy.linear_run import LinearRun
from sims.privacy.timelines import message_run
from sims.scenario import Scenario
from sims.scenario.scenario import TrainingSection
from sims.world import World

__all__ = ["Goodput", "goodput", "weights_in_the_mean"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FOLLOWED = 4  # numbers of a model: each takes as long as a run of whole models


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodput:
    """Training steps of a run, and how much of each is in the mean of all models.

    A step of node i changes its model by some u, and so the mean of n models by u/n. In the end, after all merges,
    the mean holds w·u/n, where w depends on who sent what to whom and when, and on nothing else. A step with w = 0
    is lost, one with w = 1 counts as it did when it was done, and one with w > 1 was copied.

    Parameters
    ----------
    weights : ndarray
        w of each step, float64 ``[S]``; where messages carry parts of models, for each number that was followed,
        ``[numbers, S]``.
    owners : ndarray
        The node that did each, int64 ``[S]``.
    sent, received : ndarray
        Models that arrived, by who sent and who took them in, int64 ``[n]``.
    """

    weights: Floats
    owners: Ints
    sent: Ints
    received: Ints

    @property
    def share(self) -> float:
        """Goodput: the mean of min(w, 1), so that copies of one step do not make up for the loss of another."""
        return float(np.minimum(self.weights, 1.0).mean()) if self.weights.size else float("nan")

    @property
    def kept(self) -> float:
        """Share of the steps with w of at least one half."""
        return float((self.weights >= 0.5).mean()) if self.weights.size else float("nan")

    def of_nodes(self, nodes: NDArray[np.bool_]) -> float:
        """Goodput of the steps of these nodes, bool ``[n]``."""
        chosen = nodes[self.owners]
        return float(np.minimum(self.weights[..., chosen], 1.0).mean()) if chosen.any() else float("nan")


def goodput(world: World, *, on_time: Callable[[float], None] = lambda rounds: None) -> Goodput:
    """Find the goodput of a scenario whose nodes send on their own schedule, without training anything.

    The run is the linear one by which `sims.privacy` accounts for what others learn, with the change of a step as
    its value: what weight decay, momentum and step sizes make of a gradient is part of that change. Where messages
    carry parts of models, each number of a model has a linear run of its own; a few of them stand for all.

    Parameters
    ----------
    world : World
    on_time : callable, optional
        Told how many rounds are done.

    Raises
    ------
    NotAccountable
        If merges depend on what models say.
    """
    scenario = world.scenario
    plain = replace(world, scenario=scenario.model_copy(update={"training": _of_changes(scenario)}))
    size = world.layout.shared_size
    is_whole = world.message_algorithm.behaviour.sharing.kind == "whole"
    followed = [None] if is_whole else np.unique(np.linspace(0, size - 1, _FOLLOWED).astype(int)).tolist()
    runs = [message_run(plain, private_start=False, number=each, on_time=on_time) for each in followed]
    weights, run, n = [weights_in_the_mean(each) for each in runs], runs[0], runs[0].nodes
    senders, receivers = (
        np.concatenate([getattr(stage, name) for stage in run.stages]) for name in ("senders", "receivers")
    )
    return Goodput(
        weights=weights[0] if is_whole else np.stack(weights),
        owners=run.owners,
        sent=np.bincount(senders, minlength=n),
        received=np.bincount(receivers, minlength=n),
    )


def weights_in_the_mean(run: LinearRun) -> Floats:
    """Return n times the weight of each value in the mean of the nodes' final states, in magnitude, ``[V]``."""
    weights = np.zeros(len(run.owners))
    behind = np.zeros(int(run.stages[-1].transition.shape[0]))
    behind[: run.nodes] = 1.0
    for stage in reversed(run.stages):
        before = stage.transition.T @ behind
        weights[stage.values] = np.abs(before[stage.width :])
        behind = before[: stage.width]
    return weights


def _of_changes(scenario: Scenario) -> TrainingSection:
    """Training in which a step adds its value as it is."""
    training = scenario.training
    return TrainingSection(
        learning_rate=1.0,
        local_steps=training.local_steps,
        enabled=training.enabled,
        step_seconds=training.step_seconds,
    )

"""The measurements of one run."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.consensus import consensus_distance, layer_distances
from gossipfl.errors import GossipflError
from sims.analysis.comparison.questions import Questions
from sims.analysis.distances import pairwise_distances, sampled
from sims.analysis.measures.participation import Participation, participation_of
from sims.analysis.measures.pooled import Pooled
from sims.analysis.measures.worth import worth_of
from sims.analysis.runs.network import Network, network_of
from sims.analysis.runs.problem import Problem, problem_of
from sims.analysis.runs.run import Run
from sims.analysis.theory.critical import EffectiveRate, effective_rate
from sims.analysis.theory.gathering import Theory, theory_of
from sims.metrics.direction import is_lower_better
from sims.metrics.fairness import Fairness, fairness
from sims.metrics.network_metrics import OBSERVED
from topology.errors import TopologyError

__all__ = ["Measured", "measure"]

_NODES = 4096
_MAP_NODES = 256

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """A run and its measurements.

    Parameters
    ----------
    run : Run
    metric : str
        The measure of success.
    network : Network, optional
    nodes : ndarray
        The metric on each node's final model, ``[k]``; from the records where no models were kept.
    mean_of_models : float
        Its mean over nodes.
    mean_model : float
        The metric of the mean of all final models; NaN where none were kept.
    worst_node : str
        Label of the node that does worst; empty if nodes are not known.
    consensus_distance : float
    layers : dict of str to float
        Consensus distance of each tensor of the last models.
    fairness : Fairness, optional
    effective : EffectiveRate, optional
    pooled : Pooled, optional
    distances : ndarray, optional
        Distances of the last models from one another, ``[k, k]``; of more than 256 nodes, evenly spaced ones.
    distance_labels : tuple of str
        Whose.
    theory : Theory
    participation : Participation, optional
        Who gained and who gave, if that was asked.
    notes : tuple of str
    """

    run: Run
    metric: str
    network: Network | None
    nodes: Floats
    mean_of_models: float
    mean_model: float
    worst_node: str
    consensus_distance: float
    layers: dict[str, float]
    fairness: Fairness | None
    effective: EffectiveRate | None
    pooled: Pooled | None
    distances: Floats | None
    distance_labels: tuple[str, ...]
    theory: Theory = field(default_factory=Theory)
    participation: Participation | None = None
    notes: tuple[str, ...] = ()

    @property
    def worst(self) -> float:
        """The metric of the worst node, by the evaluations if no models were kept; NaN if nothing was measured."""
        is_lower = is_lower_better(self.metric)
        if not len(self.nodes):
            return self.run.last(f"{self.metric}_{'max' if is_lower else 'min'}")
        return float(self.nodes.max() if is_lower else self.nodes.min())

    @property
    def gap(self) -> float:
        """Gap between pooled training and the worst node; NaN where either is unknown."""
        if self.pooled is None or self.metric not in self.pooled.values:
            return float("nan")
        behind = self.pooled.values[self.metric] - self.worst
        return -behind if is_lower_better(self.metric) else behind


def measure(run: Run, metric: str, *, pooled: Pooled | None, questions: Questions | None = None) -> Measured:
    """Measure a run.

    Parameters
    ----------
    run : Run
    metric : str
    pooled : Pooled, optional
        Pooled training to compare with.
    questions : Questions, optional
        Whether to compare with theory, which takes some seconds for the gradients it needs; whether to train each
        node alone, and to simulate coalitions of them.
    """
    asked = questions or Questions()
    notes: list[str] = list(run.notes)
    notes += _observed(run)
    problem = _problem(run, notes)
    network = network_of(run, problem)
    rows = run.rows
    if rows is not None and not np.isfinite(rows).all():
        notes.append(
            "the last models hold NaN or infinity: the run diverged, and what needs models is left out"
        )
        rows = None
    if rows is None or problem is None:
        nodes, labels, mean_model = _recorded(run, metric), (), run.last(f"mean_model_{metric}")
    else:
        chosen = sampled(len(rows), _NODES)
        if len(chosen) < len(rows):
            notes.append(f"evaluated {len(chosen)} of {len(rows)} last models, evenly spaced")
        nodes = problem.evaluate(torch.from_numpy(rows[chosen]))[metric]
        labels = tuple(run.labels[index] for index in chosen)
        mean = torch.from_numpy(rows.mean(axis=0, dtype=np.float64))
        mean_model = float(problem.evaluate(mean[None])[metric][0])
    worst = ""
    if len(labels) == len(nodes) and len(nodes):
        worst = labels[int(nodes.argmax() if is_lower_better(metric) else nodes.argmin())]
    shared = problem.task.layout.shared_size if problem is not None else None
    shown = None if rows is None or shared is None else sampled(len(rows), _MAP_NODES)
    distances = None
    if shown is not None and rows is not None and shared is not None:
        distances = pairwise_distances(rows[shown], shared)
    return Measured(
        run=run,
        metric=metric,
        network=network,
        nodes=nodes,
        mean_of_models=float(nodes.mean()) if len(nodes) else run.last(f"{metric}_mean"),
        mean_model=mean_model,
        worst_node=worst,
        consensus_distance=(
            consensus_distance(torch.from_numpy(rows).double(), shared)
            if rows is not None and shared is not None and len(rows) == len(run.labels)
            else run.last("consensus_distance")
        ),
        layers={}
        if rows is None or problem is None
        else layer_distances(torch.from_numpy(rows).double(), problem.task.layout),
        fairness=fairness(nodes, lower_is_better=is_lower_better(metric)) if len(nodes) else None,
        effective=None if problem is None else effective_rate(run, problem.task.layout.trainable_size),
        pooled=pooled,
        distances=distances,
        distance_labels=() if shown is None else tuple(run.labels[index] for index in shown),
        theory=_theory(run, network, problem, notes) if asked.theory else Theory(),
        participation=_participation(run, problem, metric, asked, notes),
        notes=tuple(dict.fromkeys(notes)),
    )


def _observed(run: Run) -> list[str]:
    """What the run's algorithm measured itself, at the end."""
    columns = [name for name in run.curves.columns if name.startswith(OBSERVED) and not name.endswith("_max")]
    return [
        f"{name.removeprefix(OBSERVED).replace('_', ' ')} at the end: {run.last(name):.3g} in the mean of nodes, "
        f"{run.last(f'{name}_max'):.3g} at the most"
        for name in columns
    ]


def _problem(run: Run, notes: list[str]) -> Problem | None:
    """The task made again; a run is worth analysing without it."""
    try:
        return problem_of(run)
    except GossipflError as error:
        notes.append(f"the task cannot be made here, so models are not evaluated: {error.what}")
        return None


def _theory(run: Run, network: Network | None, problem: Problem | None, notes: list[str]) -> Theory:
    try:
        return theory_of(run, network, problem)
    except (GossipflError, TopologyError) as error:
        notes.append(f"theory is left out: {error.what}")
        return Theory()


def _participation(
    run: Run, problem: Problem | None, metric: str, asked: Questions, notes: list[str]
) -> Participation | None:
    if problem is None or not (asked.gains or asked.contributions):
        return None
    try:
        found = participation_of(run, problem, metric, confidence=asked.confidence)
    except GossipflError as error:
        notes.append(f"who gained and who gave is left out: {error}")
        return None
    if not asked.contributions:
        return found
    try:
        worth = worth_of(run, problem, metric, permutations=asked.permutations, confidence=asked.confidence)
    except (GossipflError, TopologyError) as error:
        notes.append(f"what nodes are worth to the network is left out: {error}")
        return found
    return found.with_worth(worth)


def _recorded(run: Run, metric: str) -> Floats:
    """The last measurements of every node, from the records."""
    if run.nodes is None or metric not in run.nodes.columns or not len(run.nodes):
        return np.zeros(0)
    last = run.nodes.filter(run.nodes["round"] == run.nodes["round"].max())
    return last[metric].to_numpy().astype(np.float64)

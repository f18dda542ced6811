"""Contributions of a run's nodes to the network: what coalitions of them learn, simulated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gossipfl.errors import GossipflError, InvalidTask
from gossipfl.peer import Home, read_records
from sims.analysis.runs.problem import Problem
from sims.analysis.runs.run import Run
from sims.contribution.estimation import estimated
from sims.contribution.game import LearningGame
from sims.contribution.shapley import leave_one_out
from sims.scenario import Scenario
from sims.world import World

__all__ = ["Worth", "world_of_run", "worth_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Worth:
    """What each of n nodes is worth to the network, the more the better.

    Parameters
    ----------
    left_out : ndarray
        What all together lose without it, ``[n]``.
    shapley, low, high : ndarray
        Shapley values, ``[n]``, and their intervals where permutations were sampled.
    gave : ndarray, optional
        Its part in what the others gained, ``[n]``; None where not all coalitions were simulated.
    permutations : int
        How many were sampled; 0 if all coalitions were simulated.
    coalitions : int
        How many were simulated.
    """

    left_out: Floats
    shapley: Floats
    low: Floats
    high: Floats
    gave: Floats | None
    permutations: int
    coalitions: int

    def of_nodes(self, numbers: NDArray[np.int64]) -> Worth:
        """The same of some of the nodes."""
        return replace(
            self,
            left_out=self.left_out[numbers],
            shapley=self.shapley[numbers],
            low=self.low[numbers],
            high=self.high[numbers],
            gave=None if self.gave is None else self.gave[numbers],
        )


def worth_of(
    run: Run, problem: Problem, metric: str, *, permutations: int | None = None, confidence: float = 0.95
) -> Worth:
    """Simulate the run's network without some of its nodes.

    A simulated run is simulated by its scenario, a network of real peers by the one that follows from their
    records or settings, on the peers' own samples.

    Parameters
    ----------
    run : Run
    problem : Problem
    metric : str
    permutations, confidence
        As for `sims.contribution.contributions`.

    Raises
    ------
    SimulationError
        If nodes cannot be looked at in coalitions.
    InvalidTask
        If no scenario follows from the records.
    """
    game = LearningGame(world_of_run(run, problem), metric=metric)
    estimate, matrix = estimated(game, permutations=permutations, confidence=confidence)
    return Worth(
        left_out=leave_one_out(game, game.n),
        shapley=estimate.values,
        low=estimate.low,
        high=estimate.high,
        gave=None if matrix is None else np.asarray(matrix.sum(axis=0)),
        permutations=estimate.permutations,
        coalitions=game.coalitions,
    )


def world_of_run(run: Run, problem: Problem) -> World:
    """The world in which a run's network can be simulated without some of its nodes.

    Raises
    ------
    InvalidTask
        If no scenario follows from the records.
    """
    if problem.world is not None:
        return problem.world
    scenario = run.scenario
    if scenario is None and run.topology:
        scenario = _in_rounds(run)
    if scenario is None:
        raise InvalidTask(
            "no scenario follows from the records of these peers, so nobody can be left out of it"
        )
    return World(
        scenario=scenario,
        task=problem.task,
        trainer=problem.trainer(),
        test_inputs=problem.test_inputs,
        test_targets=problem.test_targets,
        own_tests=problem.own_tests,
    )


def _in_rounds(run: Run) -> Scenario:
    """The scenario of peers that learn in rounds, from their settings."""
    own = {
        key.removeprefix("algorithm."): value
        for key, value in run.configuration.items()
        if key.startswith("algorithm.")
    }
    rounds = 0
    for home in run.homes:
        done = read_records(Home(home).records).filter(pl.col("kind") == "round")
        rounds = max([rounds, *done["event"].to_list()])
    if not rounds:
        raise GossipflError("the peers completed no round")
    return Scenario.model_validate(
        {
            "name": run.name,
            "seed": run.seed,
            "population": {"nodes": len(run.homes)},
            "task": {"name": run.task},
            "algorithm": own,
            "topology": run.topology,
            "training": run.training.model_dump(),
            "evaluate": {"every": float(rounds)},
            "stop": {"rounds": float(rounds)},
        }
    )

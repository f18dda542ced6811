"""Algorithms in rounds that add noise themselves: what their own settings promise to whoever sees all rows."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gossipfl.algorithms.round_noise import PrivateRounds
from gossipfl.privacy import gaussian_guarantee
from gossipfl.privacy.correlated import composed_epsilon
from sims.scenario import Scenario
from sims.world import build_world
from sims.world.networks import round_network

__all__ = ["RoundsLoss", "noise_multiplier_of", "rounds_loss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsLoss:
    """What all rounds together give away of one node's gradients, each of which may be replaced.

    Parameters
    ----------
    node, rounds : int
        The node that loses most, and how many rounds there are.
    per_round : float
        ε₁: a round loses αε₁ of Rényi order α, at most.
    epsilon : float
        Of all rounds, exact for Gaussian noise.
    epsilon_by_rdp : float
        ``Tε₁ + 2√(Tε₁ ln 1/δ)``, as papers state it.
    squares : ndarray
        μ² of each node by the formula, for whoever sees all rows and knows no noise, ``[nodes]``.
    """

    node: int
    rounds: int
    per_round: float
    epsilon: float
    epsilon_by_rdp: float
    squares: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """All of it for machines."""
        return {**asdict(self), "squares": self.squares.tolist()}


def noise_multiplier_of(scenario: Scenario) -> float | None:
    """Noise on each gradient over its sensitivity, if the algorithm adds it; None if it does not."""
    if not scenario.algorithm.in_rounds or not scenario.training.enabled:
        return None
    algorithm = scenario.algorithm.of_rounds()
    return algorithm.noise_multiplier if isinstance(algorithm, PrivateRounds) else None


def rounds_loss(scenario: Scenario, *, delta: float) -> RoundsLoss | None:
    """Account for the noise that an algorithm adds, correlated noise included; None if it adds none.

    Against observers, one or colluding, who see the rows that all others send, and what they themselves drew.
    """
    if noise_multiplier_of(scenario) is None:
        return None
    algorithm = scenario.algorithm.of_rounds()
    assert isinstance(algorithm, PrivateRounds)  # noqa: S101  (it has a multiplier)
    network = round_network(scenario, class_counts=build_world(scenario).class_counts)
    rounds = math.ceil(scenario.stop.rounds)
    squares, largest = np.zeros(scenario.population.nodes), 0.0
    alone = np.zeros(scenario.population.nodes)
    known: dict[bytes, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for number in range(rounds):
        linked = network.sequence.matrix(number).toarray() != 0
        np.fill_diagonal(linked, val=False)
        key = np.packbits(linked).tobytes()
        if key not in known:
            either = linked | linked.T
            known[key] = (
                np.square(algorithm.shifts(either)),
                np.square(algorithm.shifts(either, colluding=0)),
            )
        worst, unaided = known[key]
        squares += worst
        alone += unaided
        largest = max(largest, float(worst.max()))
    node = int(np.argmax(squares))
    whole = float(squares[node]) / 2
    return RoundsLoss(
        node=node,
        rounds=rounds,
        per_round=largest / 2,
        epsilon=gaussian_guarantee(math.sqrt(squares[node]), delta=delta).epsilon,
        epsilon_by_rdp=composed_epsilon(whole, steps=1, delta=delta),
        squares=alone,
    )

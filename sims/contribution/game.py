"""Cooperative games of participants who learn together."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sims.contribution.measuring import Measure
from sims.contribution.networks import Members
from sims.contribution.shapley import Masks
from sims.contribution.side_by_side import SideBySide
from sims.errors import DivergedCoalition, InvalidScenario
from sims.world import World

__all__ = ["LearningGame", "Value"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Value = Literal["members", "mean_model", "everyone"]


class LearningGame:
    """The values of coalitions: how good the models are if only these participants learn together.

    Parameters
    ----------
    world : World
    metric : str, optional
        As of `Measure`.
    value : {'members', 'mean_model', 'everyone'}, optional
        What a coalition is worth:

        * ``members``: the mean over its honest members' models; nobody, the first model.
        * ``mean_model``: the mean of these models; nobody, the first model.
        * ``everyone``: the mean over all honest participants, of whom those outside learn alone.

        By default ``members``, and ``everyone`` where participants have test samples of their own: who takes part
        must not decide what is measured.
    simulate : SideBySide, optional

    Attributes
    ----------
    together, alone : Tensor
        Last models of all participants, ``[n, D]``: after learning in the network of all, and alone for as many
        steps.

    Raises
    ------
    InvalidScenario
        If the value is unknown, or the first model cannot be measured on common test samples.
    DivergedCoalition
        If honest participants' models are not finite, alone or in a coalition.
    """

    def __init__(
        self,
        world: World,
        *,
        metric: str | None = None,
        value: Value | None = None,
        simulate: SideBySide | None = None,
    ) -> None:
        self.world, self.measure = world, Measure(world.task, world.own_tests, metric)
        self.value: Value = value or ("everyone" if len(world.own_tests) > 1 else "members")
        if self.value not in ("members", "mean_model", "everyone"):
            raise InvalidScenario(
                "the value of a coalition is unknown",
                expected="members, mean_model or everyone",
                got=self.value,
            )
        if len(world.own_tests) > 1 and self.value == "mean_model":
            raise InvalidScenario(
                "participants have test samples of their own, and the mean model is nobody's",
                expected="the value everyone or members",
            )
        self.simulate = simulate or SideBySide(world)
        self.n = world.scenario.population.nodes
        grand = next(self.simulate([tuple(range(self.n))]))
        self.together, self.steps = grand.rows, grand.steps
        self.alone = self.simulate.alone(grand.steps)
        everyone = np.arange(self.n)
        self.alone_values = self.measure(self.alone, everyone)
        for node in everyone.tolist():
            self._require_finite(self.alone[[node]], self.alone_values[[node]], (node,))
        first = world.first_rows().expand(self.n, -1)
        self._first_values = self.measure(first, everyone)
        self.mean_models: dict[Members, Tensor] = {}
        self._measured: dict[Members, Floats] = {}
        self._keep((tuple(range(self.n))), grand.rows)

    @property
    def coalitions(self) -> int:
        """How many coalitions have been simulated."""
        return len(self._measured)

    def __call__(self, masks: Masks) -> Floats:
        """Values of coalitions, bool ``[C, n]``: ``[C]``."""
        self._simulate_all(masks)
        return np.array([self._worth(mask) for mask in masks])

    def of_members(self, masks: Masks) -> Floats:
        """What each member has in each coalition, ``[C, n]``; what it has alone where it is not in it."""
        self._simulate_all(masks)
        return np.stack([self._of_each(mask) for mask in masks])

    def _simulate_all(self, masks: Masks) -> None:
        wanted = dict.fromkeys(
            members for mask in masks if len(members := _members(mask)) > 1 and members not in self._measured
        )
        for outcome in self.simulate(list(wanted)):
            self._keep(outcome.members, outcome.rows)

    def _keep(self, members: Members, rows: Tensor) -> None:
        self._measured[members] = self.measure(rows, np.array(members))
        self._require_finite(rows, self._measured[members], members)
        honest = torch.from_numpy(self.world.honest[list(members)])
        if honest.any() and self.value == "mean_model":
            self.mean_models[members] = rows[honest].double().mean(dim=0).to(rows.dtype)

    def _require_finite(self, rows: Tensor, values: Floats, members: Members) -> None:
        honest = self.world.honest[list(members)]
        if not (rows[torch.from_numpy(honest)].isfinite().all() and np.isfinite(values[honest]).all()):
            who = (
                f"node {members[0]}, alone" if len(members) == 1 else f"nodes {', '.join(map(str, members))}"
            )
            raise DivergedCoalition(
                "models diverged, and what is not a number cannot be compared",
                got=who,
                remedy="Lower training.learning_rate, or set training.clip_norm.",
            )

    def _of_each(self, mask: NDArray[np.bool_]) -> Floats:
        members, found = _members(mask), self.alone_values.copy()
        if len(members) > 1:
            found[list(members)] = self._measured[members]
        return found

    def _worth(self, mask: NDArray[np.bool_]) -> float:
        honest = self.world.honest
        if self.value == "everyone":
            return float(self._of_each(mask)[honest].mean())
        if not (mask & honest).any():
            return float(self._first_values[honest].mean())
        members = _members(mask)
        if self.value == "mean_model":
            mean = self.mean_models[members] if len(members) > 1 else self.alone[members[0]]
            return float(self.measure(mean[None], np.array(members[:1]))[0])
        return float(self._of_each(mask)[mask & honest].mean())


def _members(mask: NDArray[np.bool_]) -> Members:
    return tuple(np.flatnonzero(mask).tolist())

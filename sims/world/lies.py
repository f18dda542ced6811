"""Lies of hostile nodes in message-driven simulations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.attacks import Liars, Poisoned, SameToAll
from sims.errors import NotSimulable
from sims.world.world import World

__all__ = ["Lies", "lies_of"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_PREFIX = "lies."


class Lies:
    """What hostile nodes say in place of their models, from a time on.

    They run the algorithm as the others do, and tell each other the truth. A lie is made when a hostile node's
    model changes, so the attack begins at each with the first change after that time.

    Parameters
    ----------
    attack : SameToAll
    hostile : ndarray
        Bool ``[N]``.
    begins : float
        Seconds.
    seed : int
    """

    def __init__(self, attack: SameToAll, hostile: Bools, *, begins: float, seed: int) -> None:
        self.hostile, self.begins = hostile, begins
        self.trains = attack.trains
        self._place = np.cumsum(hostile) - 1
        self._liars = Liars(attack, torch.from_numpy(np.flatnonzero(hostile)), seed=seed)

    def are_idle(self, nodes: Ints, seconds: NDArray[np.float64]) -> Bools:
        """Which nodes do not train at a time, bool ``[B]``: free riders."""
        return self.hostile[nodes] & (seconds >= self.begins) & (not self.trains)

    def changed(self, nodes: Ints, seconds: NDArray[np.float64]) -> Bools:
        """Which nodes make a lie of a new version of their models, bool ``[B]``."""
        return self.hostile[nodes] & (seconds >= self.begins)

    def told(self, nodes: Ints, rows: Tensor, ages: Tensor) -> tuple[Tensor, Tensor]:
        """Make the lies of hostile nodes for new versions of their models.

        Parameters
        ----------
        nodes : ndarray
            Numbers of different hostile nodes, int64 ``[h]``.
        rows, ages : Tensor
            ``[h, P]``, and int64 ``[h]`` or ``[h, parts]``.
        """
        device, places = rows.device, torch.from_numpy(self._place[nodes])
        lies, claimed = self._liars.lie(places, rows.cpu(), ages.cpu())
        return lies.to(device), claimed.to(device)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that changes, as named arrays, for a checkpoint."""
        return {f"{_PREFIX}{name}": kept.numpy() for name, kept in self._liars.state().items()}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Continue from a value of `state`; other arrays are left alone."""
        self._liars.restore(
            {
                name.removeprefix(_PREFIX): torch.from_numpy(array)
                for name, array in state.items()
                if name.startswith(_PREFIX)
            }
        )


def lies_of(world: World) -> Lies | None:
    """Lies of a scenario's hostile nodes; None if there are none, or only in their data.

    Raises
    ------
    NotSimulable
        The attack is not one on messages.
    """
    scenario, section = world.scenario, world.scenario.attack
    attack = None if section is None else section.build()
    if section is None or attack is None or isinstance(attack, Poisoned) or world.hostile is None:
        return None
    if not isinstance(attack, SameToAll):
        raise NotSimulable(
            f"attack {section.name!r} aims at the average of a round's neighbours, and "
            f"{scenario.algorithm.name!r} merges models one at a time",
            remedy="Choose an attack of single nodes such as sign_flip, or an algorithm in rounds such as d_psgd.",
        )
    begins = section.from_round * scenario.network.period
    return Lies(attack, world.hostile, begins=begins, seed=scenario.seed) if world.hostile.any() else None

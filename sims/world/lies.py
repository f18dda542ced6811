"""Lies of hostile nodes in message-driven simulations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.attacks import Aimed, Liars, Poisoned, SameToAll
from gossipfl.errors import InvalidAttack
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
    attack : SameToAll or Aimed
    hostile : ndarray
        Bool ``[N]``.
    begins : float
        Seconds.
    seed : int
    """

    def __init__(self, attack: SameToAll | Aimed, hostile: Bools, *, begins: float, seed: int) -> None:
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

    def hear(self, receivers: Ints, senders: Ints, rows: Tensor) -> None:
        """Let hostile nodes take note of models that they receive, where lies depend on those.

        Parameters
        ----------
        receivers, senders : ndarray
            Numbers of nodes, int64 ``[B]``; each receiver once.
        rows : Tensor
            ``[B, P]``.
        """
        hearing = np.flatnonzero(self.hostile[receivers])
        if self._liars.listens and len(hearing):
            of_accomplices = torch.from_numpy(self.hostile[senders[hearing]])
            places = torch.from_numpy(self._place[receivers[hearing]])
            self._liars.hear(places, rows[torch.from_numpy(hearing).to(rows.device)].cpu(), of_accomplices)

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
    if not isinstance(attack, SameToAll | Aimed):
        raise NotSimulable(
            f"attack {section.name!r} is neither one of single nodes nor aimed",
            expected="a class derived from gossipfl.attacks.SameToAll, Aimed or Poisoned",
            got=type(attack).__name__,
        )
    if isinstance(attack, Aimed) and world.message_algorithm.behaviour.sharing.kind != "whole":
        raise NotSimulable(
            f"attack {section.name!r} is made of whole models, and {scenario.algorithm.name!r} sends parts here",
            remedy="Choose an attack of single nodes such as sign_flip, or send whole models.",
        )
    if not world.hostile.any():
        return None
    begins = section.from_round * scenario.network.period
    try:
        return Lies(attack, world.hostile, begins=begins, seed=scenario.seed)
    except InvalidAttack as error:
        raise NotSimulable(f"attack: {error}") from error

"""Hostile nodes in rounds: what they send in place of their rows, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from gossipfl.algorithms import LocalTraining, Neighbourhood
from gossipfl.algorithms.author_calls import errors_of_author
from gossipfl.attacks import Aimed, Attack, Everyone, KnownLinks, Liars, Receivers, SameToAll
from gossipfl.errors import InvalidAttack
from gossipfl.settings import TrainingSettings
from gossipfl.training import Nodes

__all__ = ["HostileNodes", "Lies", "TrainingOfOthers"]


class Lies:
    """What hostile nodes send in one exchange.

    Parameters
    ----------
    hostile : HostileNodes
    told : Tensor
        Rows of the nodes here and of all whose rows they hear, as receivers decode them, with those that hostile
        nodes send to all: ``[B + H, D]``.
    liars : Tensor
        Which of these are hostile, bool ``[B + H]``.
    numbers : Tensor
        Their numbers in the network, int64 ``[B + H]``.
    everyone : Everyone
    """

    def __init__(
        self, hostile: HostileNodes, told: Tensor, liars: Tensor, numbers: Tensor, everyone: Everyone
    ) -> None:
        self._told, self._liars, self._numbers = told, liars, numbers
        self._hostile, self._everyone = hostile, everyone

    @property
    def victims(self) -> NDArray[np.bool_]:
        """Nodes here that may be lied to, bool ``[B]``: the honest."""
        return ~self._hostile.mask[self._hostile.here]

    def applied(
        self, around: Neighbourhood, neighbours: Tensor, outcome: Callable[[Neighbourhood], Tensor]
    ) -> Neighbourhood:
        """Neighbourhoods as they arrive.

        Parameters
        ----------
        around : Neighbourhood
            Of b nodes, as it would be if all were honest.
        neighbours : Tensor
            Places of the neighbours among the B + H, int64 ``[b, K]``.
        outcome : callable
            What the receivers make of a neighbourhood.
        """
        mask = self._liars
        lying = mask[neighbours] & around.present & ~mask[around.nodes][:, None]
        if not bool(lying.any()):
            return around
        sent = self._sent(around, neighbours, lying, outcome)
        return replace(around, rows=torch.where(lying[..., None], sent, around.rows))

    def _sent(
        self,
        around: Neighbourhood,
        neighbours: Tensor,
        lying: Tensor,
        outcome: Callable[[Neighbourhood], Tensor],
    ) -> Tensor:
        attack = self._hostile.attack
        if not isinstance(attack, Aimed):
            return self._told[neighbours]
        receivers = Receivers(
            around=around,
            numbers=self._numbers[around.nodes],
            neighbours=self._numbers[neighbours],
            hostile=lying,
            everyone=self._everyone,
            turn=self._hostile.turn,
            outcome=lambda rows: outcome(replace(around, rows=rows)),
        )
        with self._hostile.errors_named("send_to"):
            sent = attack.send_to(receivers)
            return sent.to(around.rows.dtype).expand_as(around.rows)


class HostileNodes:
    """The hostile nodes of a run in rounds.

    Parameters
    ----------
    attack : Attack
    hostile : ndarray
        Bool ``[N]``.
    here : ndarray, optional
        Numbers of the nodes whose rows are here, int64 ``[B]``; by default all N.
    from_round : float
        First round of the attack.
    seed : int
    device : torch.device
    """

    def __init__(
        self,
        attack: Attack,
        hostile: NDArray[np.bool_],
        *,
        from_round: float,
        seed: int,
        device: torch.device,
        here: NDArray[np.int64] | None = None,
    ) -> None:
        self.attack, self.mask, self.from_round, self._seed = attack, hostile, from_round, seed
        self.here: NDArray[np.int64] = np.arange(len(hostile)) if here is None else here
        self.numbers = torch.from_numpy(self.here[hostile[self.here]]).to(device)
        self._places = torch.from_numpy(np.flatnonzero(hostile[self.here])).to(device)
        self._idle = torch.from_numpy(hostile[self.here]).to(device)
        self._liars: dict[int, Liars] = {}
        self.turn = -1
        self._mask = torch.from_numpy(hostile).to(device)
        self._matrix: object = None
        self._links: KnownLinks | None = None

    def begin(self, number: int) -> None:
        """Turn to a round, counted from 0."""
        self.turn = int(np.floor(number - np.ceil(self.from_round)))

    @property
    def at_work(self) -> bool:
        """Whether the attack has begun, here or elsewhere."""
        return self.turn >= 0 and bool(self.mask.any())

    def training(self, local: LocalTraining) -> LocalTraining:
        """Local training of the nodes here in this round."""
        return local if self.attack.trains or not self.at_work else TrainingOfOthers(local, self._idle)

    def lies(
        self,
        rows: Tensor,
        exchange: int,
        matrix: Callable[[], csr_array],
        *,
        of: object,
        reach: Callable[[Tensor], Tensor],
        everybody: Callable[[Tensor], Tensor],
        numbers: NDArray[np.int64],
    ) -> Lies:
        """Decide what is sent in one exchange.

        Parameters
        ----------
        rows : Tensor
            Of the nodes here, as receivers would decode them if all were honest, ``[B, D]``.
        exchange : int
            Which exchange of the round.
        matrix : callable
            Gives the round's mixing matrix.
        of : object
            The same object as long as the matrix is the same.
        reach : callable
            From rows of the nodes here to these and those they hear, ``[B + H, D]``.
        everybody : callable
            From rows of the nodes here to those of all, ``[N, D]``.
        numbers : ndarray
            Numbers of these, int64 ``[B + H]``.
        """
        if of is not self._matrix or self._links is None:
            self._matrix, self._links = of, KnownLinks(matrix, self.mask)
        told = rows
        if isinstance(self.attack, SameToAll) and len(self.numbers):
            told = rows.index_copy(0, self._places, self._same_to_all(self.attack, rows, exchange))
        aimed = isinstance(self.attack, Aimed) and self.attack.sees_everyone
        everyone = Everyone(rows=everybody(rows) if aimed else rows, hostile=self._mask, links=self._links)
        known = torch.from_numpy(numbers).to(self._mask.device)
        return Lies(self, reach(told), self._mask[known], known, everyone)

    def _same_to_all(self, attack: SameToAll, rows: Tensor, exchange: int) -> Tensor:
        return self._liars_of(attack, exchange).rows(
            torch.arange(len(self.numbers), device=rows.device), rows.index_select(0, self._places)
        )

    def _liars_of(self, attack: SameToAll, exchange: int) -> Liars:
        if exchange not in self._liars:
            self._liars[exchange] = Liars(attack, self.numbers, seed=self._seed, exchange=exchange)
        return self._liars[exchange]

    def state(self) -> dict[str, Tensor]:
        """All that changes, for a checkpoint."""
        return {
            f"{exchange}.{name}": kept
            for exchange, liars in self._liars.items()
            for name, kept in liars.state().items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a value of `state`."""
        by_exchange: dict[int, dict[str, Tensor]] = {}
        for name, kept in state.items():
            of_exchange, _, own = name.partition(".")
            by_exchange.setdefault(int(of_exchange), {})[own] = kept.to(self.numbers.device)
        for exchange, kept_by_name in by_exchange.items():
            assert isinstance(self.attack, SameToAll)  # noqa: S101  (no others have any)
            self._liars_of(self.attack, exchange).restore(kept_by_name)

    def errors_named(self, function: str) -> AbstractContextManager[None]:
        """Names errors of the attack's own function."""
        kind = type(self.attack)
        failed = f"{kind.__name__}: {function} failed in round {self.turn} of the attack"
        return errors_of_author(failed, module=kind.__module__, error=InvalidAttack)


class TrainingOfOthers:
    """Local training of which some nodes take no part.

    Parameters
    ----------
    local : LocalTraining
    idle : Tensor
        Nodes that do not train, bool ``[N]``.
    """

    def __init__(self, local: LocalTraining, idle: Tensor) -> None:
        self._local, self._idle = local, idle

    @property
    def settings(self) -> TrainingSettings:
        """Settings of the training."""
        return self._local.settings

    @property
    def samples(self) -> Tensor:
        """How many samples each node has, int64 ``[N]``."""
        return self._local.samples

    def update(self, nodes: Nodes, steps: Tensor | None = None) -> Nodes:
        """Do steps of stochastic gradient descent, none on idle nodes."""
        if steps is None:
            steps = torch.full((len(nodes),), self.settings.local_steps, dtype=torch.int64)
        return self._local.update(nodes, steps.masked_fill(self._idle.to(steps.device), 0))

    def gradient(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        """Evaluate gradients, which are zero on idle nodes."""
        after, gradients = self._local.gradient(nodes)
        return after, gradients.masked_fill(self._idle[:, None], 0)

    def losses_of(self, nodes: Nodes, rows: Tensor, whose: Tensor) -> Tensor:
        """Evaluate rows on the next batches of nodes; see `LocalTraining`."""
        return self._local.losses_of(nodes, rows, whose)

    def learning_rates(self, nodes: Nodes) -> Tensor:
        """Step sizes at the nodes' ages, shape ``[N, 1]``."""
        return self._local.learning_rates(nodes)

"""The contract of an attack: what hostile nodes send, given what the paper lets them know.

An attack is declared as an algorithm is: one frozen dataclass whose fields are its parameters. Hostile nodes run
the algorithm of the honest, so each has a row that an honest node in its place would send. What it sends instead
is a pure function, by the kind of attack:

* `SameToAll`: of its own row, for all whom it sends to (sign flip, noise, free riding);
* `Aimed`: of everybody's rows, another one for each receiver (ALIE, IPM, dissensus): hostile nodes collude;
* `Poisoned`: what its rows make of false data (label flip).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from gossipfl.algorithms.declaration import Declaration
from gossipfl.algorithms.exchanges import Neighbourhood
from gossipfl.attacks.everyone import Everyone
from gossipfl.outgoing import Draws

__all__ = ["Aimed", "Attack", "Poisoned", "Receivers", "SameToAll", "Senders"]

_SEARCH = "the receivers' rule, for search = true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Senders:
    """Hostile nodes that are about to send, in an exchange of a round or as messages.

    Parameters
    ----------
    numbers : Tensor
        Of the nodes in the network, int64 ``[H]``.
    rows : Tensor
        Rows that honest nodes in their places would send, ``[H, D]``.
    turns : Tensor
        How many rounds, or messages of its own, each has been attacking, from 0, int64 ``[H]``.
    draws : Draws
        Keys of random draws: one for each row, and ``common``, which is the same in every exchange of the run.
    memory : mapping of str to Tensor
        What the attack remembered, ``[H, ...]`` each.

    Examples
    --------
    >>> keys = torch.arange(2)
    >>> senders = Senders(
    ...     numbers=keys, rows=torch.ones(2, 3), turns=torch.zeros(2, dtype=torch.int64), draws=Draws(keys=keys))
    >>> senders.scales
    tensor([[1.],
            [1.]])
    """

    numbers: Tensor
    rows: Tensor
    turns: Tensor
    draws: Draws
    memory: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def scales(self) -> Tensor:
        """Root mean squares of the rows, ``[H, 1]``."""
        return self.rows.square().mean(dim=1, keepdim=True).sqrt()

    def normals(self) -> Tensor:
        """Standard normals, independent for each row, ``[H, D]``."""
        return self.draws.normals(self.draws.keys, self.rows.shape[1]).to(self.rows)

    def common_direction(self) -> Tensor:
        """A random unit vector, the same for all hostile nodes and all of the run, ``[1, D]``."""
        key = torch.tensor([self.draws.common], device=self.rows.device)
        normals = self.draws.normals(key, self.rows.shape[1])
        return normals.div(normals.norm()).to(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receivers:
    """Honest nodes that hostile ones are about to send to, and what colluding hostile nodes know.

    Parameters
    ----------
    around : Neighbourhood
        Of b honest nodes, as it would be if all their neighbours were honest.
    numbers : Tensor
        Numbers of these nodes in the network, int64 ``[b]``.
    neighbours : Tensor
        Numbers of their neighbours, int64 ``[b, K]``; anything where none is present.
    hostile : Tensor
        Which of those are hostile, bool ``[b, K]``.
    everyone : Everyone
        All nodes' rows and links.
    turn : int
        How many rounds the attack has been going on, from 0.
    outcome : callable
        What the receivers' rule would make of other rows ``[b, K, D]`` than those of ``around``: ``[b, M]``.
    """

    around: Neighbourhood
    numbers: Tensor
    neighbours: Tensor
    hostile: Tensor
    everyone: Everyone
    turn: int
    outcome: Callable[[Tensor], Tensor]

    @property
    def good(self) -> Tensor:
        """Which neighbours are honest, bool ``[b, K]``."""
        return self.around.present & ~self.hostile

    def mean_of_good(self) -> Tensor:
        """Mean of the honest neighbours' rows, ``[b, D]``; the receiver's own where it has none."""
        count = self.good.sum(dim=1, keepdim=True)
        total = torch.einsum("bk,bkd->bd", self.good.to(self.around.rows.dtype), self.around.rows)
        return torch.where(count > 0, total / count.clamp(min=1), self.around.own)

    def deviation_of_good(self) -> Tensor:
        """Standard deviation of each coordinate over the honest neighbours (n − 1), ``[b, D]``; 0 for one."""
        centred = self.around.rows - self.mean_of_good()[:, None]
        squares = torch.einsum("bk,bkd->bd", self.good.to(centred.dtype), centred.square())
        return (squares / (self.good.sum(dim=1, keepdim=True) - 1).clamp(min=1)).sqrt()

    def told(self, lies: Tensor) -> Tensor:
        """The rows that arrive, ``[b, K, D]``: lies (that broadcast to it) from those who are hostile."""
        return torch.where(self.hostile[..., None], lies.to(self.around.rows.dtype), self.around.rows)


class Attack(Declaration, ABC):
    """The declaration common to all attacks.

    Examples
    --------
    >>> from gossipfl.attacks import SignFlip
    >>> issubclass(SignFlip, Attack)
    True
    """

    __slots__ = ()

    trains: ClassVar[bool] = True
    """Whether hostile nodes train as the honest do; free riders do not."""

    def claim(self, ages: Tensor) -> Tensor:
        """Ages that go with what is sent, int64 as the true ones: these, by default. Rows of rounds have none."""
        return ages


class SameToAll(Attack):
    """An attack by which each node sends the same to all, knowing no more than itself.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Zero(SameToAll):
    ...     def send(self, senders):
    ...         return torch.zeros_like(senders.rows)
    >>> Zero().start(torch.ones(2, 3))
    {}
    """

    __slots__ = ()

    def start(self, rows: Tensor) -> dict[str, Tensor]:
        """What is remembered at first, tensors ``[H, ...]``, of rows ``[H, D]``; by default nothing."""
        del rows
        return {}

    @abstractmethod
    def send(self, senders: Senders) -> Tensor:
        """Rows that are sent, ``[H, D]``."""

    def remembered(self, senders: Senders) -> Mapping[str, Tensor]:
        """What is remembered after sending; by default what was before."""
        return senders.memory


class Aimed(Attack):
    """An attack that sends each receiver what harms it most, knowing everybody's rows.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Opposite(Aimed):
    ...     def send_to(self, receivers):
    ...         return -receivers.around.own[:, None]
    >>> issubclass(Opposite, Attack)
    True
    """

    __slots__ = ()

    sees_everyone: ClassVar[bool] = True
    """Whether it looks at ``receivers.everyone.rows``; in shards all rows are brought together for that."""

    @property
    def needs_more_than_heard(self) -> str | None:
        """What it needs besides the models that a node received last; None if those are enough.

        Where models come one at a time, they are all that a hostile node knows (`gossipfl.attacks.hearsay`).
        """
        return _SEARCH if getattr(self, "search", False) else None

    @abstractmethod
    def send_to(self, receivers: Receivers) -> Tensor:
        """Rows for b receivers from each of their neighbours, ``[b, K, D]`` or what broadcasts to it.

        They are used where ``receivers.hostile``.
        """


class Poisoned(Attack):
    """An attack by false data, from the start of the run; what hostile nodes send, they have honestly trained.

    Examples
    --------
    >>> from gossipfl.attacks import LabelFlip
    >>> LabelFlip().poison(torch.tensor([0, 3]), classes=10)
    tensor([9, 6])
    """

    __slots__ = ()

    @abstractmethod
    def poison(self, labels: Tensor, *, classes: int) -> Tensor:
        """Labels, int64 ``[n]``, that take the place of the true ones."""

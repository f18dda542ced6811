"""Lies of hostile nodes in place of their models, at the places of the engine's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.algorithms import Message
from sims.engine.table import Table

__all__ = ["Told"]

Ints = NDArray[np.int64]


@dataclass(slots=True, kw_only=True)
class Told:
    """Lies, at those places of a table that hold models of hostile nodes.

    Parameters
    ----------
    rows : Tensor
        ``[places, P]``, of which only the shared numbers are sent.
    ages : Tensor
        As of the table.
    is_lie : ndarray
        Bool ``[places]``: elsewhere the truth is told.
    """

    rows: Tensor
    ages: Tensor
    is_lie: NDArray[np.bool_]

    @classmethod
    def of(cls, table: Table, size: int) -> Told:
        """No lies yet."""
        rows = table.rows.new_zeros(len(table.rows), size)
        return cls(rows=rows, ages=torch.zeros_like(table.ages), is_lie=np.zeros(len(rows), dtype=bool))

    def follow(self, table: Table) -> None:
        """Have as many places as a table that may have grown."""
        missing = len(table.rows) - len(self.rows)
        if missing > 0:
            self.rows = torch.cat([self.rows, self.rows.new_zeros(missing, self.rows.shape[1])])
            self.ages = torch.cat([self.ages, self.ages.new_zeros(missing, *self.ages.shape[1:])])
            self.is_lie = np.pad(self.is_lie, (0, missing))

    def write(self, nodes: Ints, rows: Tensor, ages: Tensor) -> None:
        """Put down the lies of nodes."""
        places = torch.from_numpy(nodes).to(self.rows.device)
        self.rows[places], self.ages[places], self.is_lie[nodes] = rows, ages, True

    def copy(self, origins: Ints, places: Ints) -> None:
        """Copy from nodes to slots."""
        lying = self.is_lie[origins]
        self.is_lie[places] = lying
        if lying.any():
            source, target = (torch.from_numpy(each[lying]) for each in (origins, places))
            self.rows[target], self.ages[target] = self.rows[source], self.ages[source]

    def taken(self, places: Ints) -> tuple[NDArray[np.generic], ...]:
        """Which of some places have lies, and these: bool ``[k]``, and rows and ages of as many as have."""
        lying = self.is_lie[places]
        at = torch.from_numpy(places[lying]).to(self.rows.device)
        return lying, self.rows[at].cpu().numpy(), self.ages[at].cpu().numpy()

    def put(self, places: Ints, taken: Sequence[NDArray[np.generic]]) -> None:
        """Put a value of `taken` elsewhere."""
        lying = taken[0].astype(bool)
        self.is_lie[places] = False
        if lying.any():
            rows, ages = (torch.from_numpy(np.array(each)).to(self.rows.device) for each in taken[1:])
            self.write(places[lying], rows, ages)

    def instead(self, message: Message, sources: Tensor, are_lies: Tensor) -> Message:
        """Messages ``[B]`` from these places, lies where ``are_lies``."""
        if not bool(are_lies.any()):
            return message
        told = are_lies.view(-1, *[1] * (message.ages.dim() - 1))
        return replace(
            message,
            shared=torch.where(are_lies[:, None], self.rows[sources], message.shared),
            ages=torch.where(told, self.ages[sources], message.ages),
        )

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that changes, as named arrays, for a checkpoint."""
        return {
            "told.rows": self.rows.cpu().numpy(),
            "told.ages": self.ages.cpu().numpy(),
            "told.is_lie": self.is_lie,
        }

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Continue from a value of `state`."""
        device = self.rows.device
        self.rows, self.ages = (
            torch.from_numpy(state[f"told.{name}"]).to(device) for name in ("rows", "ages")
        )
        self.is_lie = state["told.is_lie"].astype(bool)

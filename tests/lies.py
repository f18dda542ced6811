"""Lies that are aimed at one victim, whose own model the liar knows: a row and an age.

Attacks that know no more than the liar's own model are in `gossipfl.attacks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

OLDEST = 2**40


@dataclass(frozen=True, slots=True)
class Heard:
    """What a liar knows of a victim: its newest model, an early one, and how often it was lied to."""

    row: torch.Tensor
    age: int
    early: torch.Tensor
    told: int


class Teller(Protocol):
    """Who lies: with a model of its own, and noise."""

    own: torch.Tensor

    def noise(self) -> torch.Tensor: ...


Lie = Callable[[Teller, Heard], tuple[torch.Tensor, int]]

#: Lies by name: the row and the age that a victim is told.
LIES: dict[str, Lie] = {
    "zeros": lambda liar, heard: (torch.zeros_like(heard.row), OLDEST),
    "denormals": lambda liar, heard: (torch.full_like(heard.row, 1e-40), OLDEST),
    "garbage": lambda liar, heard: (0.2 * liar.noise(), 10_000),
    "huge": lambda liar, heard: (torch.full_like(heard.row, 1e6), 100),
    "flipped": lambda liar, heard: (-heard.row, heard.age + 1000),
    "constant": lambda liar, heard: (liar.own, OLDEST),
    "aged": lambda liar, heard: (heard.row, OLDEST),
}

#: Lies that look more like an honest member's models.
SUBTLE_LIES: dict[str, Lie] = {
    "constant that ages": lambda liar, heard: (liar.own, heard.age + 1),
    "tripled": lambda liar, heard: (3 * heard.row, heard.age + 1),
    "shrunk": lambda liar, heard: (0.3 * heard.row, heard.age + 1),
    "alternating": lambda liar, heard: (heard.row if heard.told % 2 else -heard.row, heard.age + 1),
    "drifting": lambda liar, heard: (
        heard.row + 0.05 * heard.row.norm() * liar.direction,
        heard.age + 1,
    ),
    "replayed": lambda liar, heard: (heard.early, heard.age + 1),
    "permuted": lambda liar, heard: (heard.row[liar.permutation], heard.age + 1),
}

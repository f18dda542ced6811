"""Sharing: how much of a model one message carries.

Hegedűs, Danner & Jelasity, "Decentralized learning works: an empirical comparison of gossip learning and federated
learning", J. Parallel Distrib. Comput. 148, 2021, Section 4: *partitioning* sends one of S fixed parts, each of
which has an age of its own; *subsampling* sends a fresh random 1/S of the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from gossipfl.algorithms.declaration import Parameter

__all__ = ["WHOLE", "Sharing"]

_BLOCK = 2**21  # numbers whose places are looked at together: each takes some tens of bytes meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """The share of a model in one message.

    Parameters
    ----------
    kind : {'whole', 'partitioned', 'subsampled'}
    parts : int
        S: a message carries one S-th of the shared parameters, unless it carries all of them.

    Examples
    --------
    >>> Sharing(kind="partitioned", parts=4).parts
    4
    """

    kind: Literal["whole", "partitioned", "subsampled"] = "whole"
    parts: Annotated[
        int,
        Parameter(
            "S: a message carries one of S fixed parts (partitioned) or 1/S of the numbers (subsampled)", ge=2
        ),
    ] = 10

    @property
    def ages(self) -> int:
        """Ages of a model: one for each part of a partitioned model, else one in all."""
        return self.parts if self.kind == "partitioned" else 1

    def share_of(self, amount: int) -> int:
        """One message's share of an amount for a whole model, rounded up."""
        return amount if self.kind == "whole" else -(-amount // self.parts)

    @property
    def count(self) -> int:
        """Parts that may be drawn; of subsamples, numbers that determine one."""
        return {"whole": 1, "partitioned": self.parts, "subsampled": 2**31 - 1}[self.kind]

    def account(self, part: int) -> int:
        """Which age, and which token account of a node, is that of a part: each fixed part has its own."""
        return part if self.kind == "partitioned" else 0

    def bounds(self, size: int) -> tuple[int, int]:
        """Fewest and most of ``size`` shared parameters that a message carries."""
        if self.kind == "whole":
            return size, size
        if self.kind == "partitioned":
            return size // self.parts, self.share_of(size)
        return 0, min(size, 2 * self.share_of(size) + 64)

    def numbers(self, rows: Tensor, part: int) -> Tensor:
        """The numbers of rows ``[B, size]`` that messages with one part carry, ``[B, K]``."""
        return rows if self.kind == "whole" else rows[:, self._places(part, rows)]

    def filled(self, rows: Tensor, part: int, numbers: Tensor) -> Tensor:
        """Rows ``[B, size]`` with other numbers ``[B, K]`` in one part."""
        if self.kind == "whole":
            return numbers
        rows = rows.clone()
        rows[:, self._places(part, rows)] = numbers
        return rows

    def _places(self, part: int, rows: Tensor) -> slice | Tensor:
        if self.kind == "partitioned":
            return slice(part, None, self.parts)
        return self.chosen(torch.tensor([part], device=rows.device), rows.shape[1])[0]

    def chosen(self, part: Tensor, size: int) -> Tensor:
        """Mark the shared parameters that each message carries.

        Parameters
        ----------
        part : Tensor
            Int64 ``[B]``: the number of the part, 0 … S − 1; of a subsample, any number below 2**31, from which
            sender and receiver compute the same choice.
        size : int
            Number of shared parameters.

        Returns
        -------
        Tensor
            Bool ``[B, size]``.
        """
        if self.kind == "whole":
            return torch.ones(size, dtype=torch.bool, device=part.device).expand(len(part), size)
        if size <= _BLOCK:
            return self._marked(part, 0, size)
        return torch.cat(
            [self._marked(part, start, min(start + _BLOCK, size)) for start in range(0, size, _BLOCK)], dim=1
        )

    def carries(self, part: Tensor, number: int) -> Tensor:
        """Whether messages carry one number of a model, bool ``[B]``; ``part`` is as in `chosen`."""
        if self.kind == "whole":
            return torch.ones(len(part), dtype=torch.bool, device=part.device)
        return self._marked(part, number, number + 1)[:, 0]

    def _marked(self, part: Tensor, start: int, end: int) -> Tensor:
        place = torch.arange(start, end, device=part.device)
        if self.kind == "partitioned":
            return place % self.parts == part[:, None]
        return _scrambled(_scrambled(place) ^ part[:, None]) % self.parts == 0


def _scrambled(x: Tensor) -> Tensor:
    """Hash of numbers below 2**32: two rounds of multiply and shift, within int64."""
    for _ in range(2):
        x = (((x >> 16) ^ x) * 0x45D9F3B) & 0xFFFFFFFF
    return (x >> 16) ^ x


WHOLE = Sharing()

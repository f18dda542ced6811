"""Attacks that keep honest nodes apart: dissensus and the spectral attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from gossipfl.algorithms.declaration import Parameter
from gossipfl.attacks.base import Aimed, Receivers
from gossipfl.attacks.search import most_harmful

__all__ = ["Dissensus", "Spectral"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dissensus(Aimed):
    """Cancels what a receiver hears from its honest neighbours, so that gossip brings nobody closer.

    With ε = 1 the weighted sum of differences is exactly zero; above 1 receivers are pushed apart. He,
    Karimireddy & Jaggi, "Byzantine-robust decentralized learning via ClippedGossip", 2022, section 4.
    """

    name = "dissensus"
    paper = "He, Karimireddy & Jaggi, 2022"
    rule = "x_i − ε Σ_{j good} w_ij (x_j − x_i) / Σ_{j hostile} w_ij"
    sees_everyone = False

    factor: Annotated[float, Parameter("ε", ge=0)] = 1.0
    search: Annotated[bool, Parameter("search for the ε that moves the receiver most, up to `at_most`")] = (
        False
    )
    at_most: Annotated[float, Parameter("largest ε of the search", gt=0)] = 10.0

    def send_to(self, receivers: Receivers) -> Tensor:
        """Push each receiver away from its honest neighbours."""
        around = receivers.around
        weights = torch.where(receivers.good, around.weights, 0)
        pull = (
            torch.einsum("bk,bkd->bd", weights, around.rows) - weights.sum(dim=1, keepdim=True) * around.own
        )
        of_hostile = torch.where(receivers.hostile, around.weights, 0).sum(dim=1, keepdim=True)
        step = -pull / torch.where(of_hostile != 0, of_hostile, 1)
        if self.search:
            return most_harmful(receivers, start=around.own, step=step, at_most=self.at_most)
        return (around.own + self.factor * step)[:, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectral(Aimed):
    """Keeps the honest graph's slowest mode of disagreement alive.

    With v the Fiedler vector of the honest nodes' graph, each node is pushed along its share v_i of the mode's
    present amplitude Σ_j v_j x_j. Gaucher, Dieuleveut & Hendrikx, "Unified breakdown analysis for Byzantine robust
    gossip", ICML 2025.
    """

    name = "spectral"
    paper = "Gaucher, Dieuleveut & Hendrikx, ICML 2025"
    rule = "x_i + a v_i Σ_j v_j x_j, v the Fiedler vector"

    factor: Annotated[float, Parameter("a", ge=0)] = 1.0
    search: Annotated[bool, Parameter("search for the a that moves the receiver most, up to `at_most`")] = (
        False
    )
    at_most: Annotated[float, Parameter("largest a of the search", gt=0)] = 10.0

    @property
    def needs_more_than_heard(self) -> str:
        """The mode and its amplitude."""
        return "the links and rows of all nodes"

    def send_to(self, receivers: Receivers) -> Tensor:
        """Push each receiver along the mode."""
        rows = receivers.everyone.rows
        mode = receivers.everyone.links.fiedler.to(rows)
        amplitude = mode @ torch.where(receivers.everyone.hostile[:, None], 0, rows)
        own, step = receivers.around.own, mode[receivers.numbers][:, None] * amplitude
        if self.search:
            return most_harmful(receivers, start=own, step=step, at_most=self.at_most)
        return (own + self.factor * step)[:, None]

"""Means in which a node counts as much as it has trained in the round."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

from gossipfl.algorithms.base import AnyExchange, Exchange, Mixed

__all__ = ["STEP_WEIGHTING", "StepWeighting", "mixed_by_steps"]

StepWeighting = Literal["nodes", "steps"]
"""Whether nodes have equal weights in a mean, or weights proportional to the steps they did."""

STEP_WEIGHTING = "every node counts as W says, or that times the local steps it did (P + 1 numbers)"


def mixed_by_steps(
    rows: Tensor, steps: Tensor, *, over: Literal["neighbours", "server"] = "neighbours"
) -> Generator[AnyExchange, Mixed, Tensor]:
    """Exchange rows ``[B, P]`` of nodes that did so many steps, int64 ``[B]``; return ``Σ w s x / Σ w s``.

    A node that did none counts as if it had done one.
    """
    weights = steps.clamp(min=1).to(rows.dtype).to(rows.device)[:, None]
    mixed = yield Exchange(torch.cat([weights * rows, weights], dim=1), over=over)
    return mixed.rows[:, :-1] / mixed.rows[:, -1:]

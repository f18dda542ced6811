"""Nodes whose rows are coefficients: all their parts stacked, and put back."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gossipfl.training import Nodes

__all__ = ["NOT_A_WIDTH", "stacked", "with_parts"]

NOT_A_WIDTH = 5
"""Of anything that algorithms keep beside rows, so that rows are known by their width."""

_OPTIMISER = "optimiser_state"


def stacked(nodes: Nodes) -> Tensor:
    """All that nodes keep as rows, one below the other."""
    return torch.cat(list(_parts(nodes).values()))


def with_parts(nodes: Nodes, rows: Tensor) -> Nodes:
    """Return the same nodes with other rows, of any width, in the place of all their parts."""
    parts = _parts(nodes)
    given = dict(zip(parts, torch.split(rows, [len(part) for part in parts.values()]), strict=True))
    return replace(
        nodes,
        rows=given.pop("rows"),
        optimiser_state=given.pop(_OPTIMISER, rows[:0].new_zeros(len(nodes), 0)),
        auxiliary={**nodes.auxiliary, **given},
    )


def _parts(nodes: Nodes) -> dict[str, Tensor]:
    width = nodes.rows.shape[1]
    kept = {"rows": nodes.rows, _OPTIMISER: nodes.optimiser_state, **nodes.auxiliary}
    return {name: part for name, part in kept.items() if part.dim() == 2 and part.shape[1] == width}

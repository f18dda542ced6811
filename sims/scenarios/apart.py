"""A network of groups without links between them: what clusters known in advance, or nodes alone, reach."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

__all__ = ["apart"]


def apart(
    n: int, groups: Annotated[int, "number of groups; n for nodes without neighbours"] = 2
) -> NDArray[np.float64]:
    """Means over groups of nodes, to which these belong in turn as to clusters of data; no links in between."""
    number = np.arange(n) % groups
    together: NDArray[np.bool_] = number[:, None] == number
    weights: NDArray[np.float64] = together / together.sum(axis=1, keepdims=True)
    return weights

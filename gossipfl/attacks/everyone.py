"""All nodes as colluding attackers know them: rows and links."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from topology.spectrum import fiedler_vector

__all__ = ["Everyone", "KnownLinks"]


class KnownLinks:
    """Links among the honest nodes of a round, and what attackers compute of them once.

    Parameters
    ----------
    matrix : callable
        Gives the mixing matrix, whose entries off the diagonal are links.
    hostile : ndarray
        Bool ``[N]``.
    """

    def __init__(self, matrix: Callable[[], csr_array], hostile: NDArray[np.bool_]) -> None:
        self._matrix, self._hostile = matrix, hostile

    @cached_property
    def fiedler(self) -> Tensor:
        """Fiedler vector of the honest nodes' graph, 0 for the hostile: float64 ``[N]``.

        The eigenvector of the second smallest eigenvalue of its Laplacian, of norm 1, its largest entry positive.
        """
        honest = np.flatnonzero(~self._hostile)
        among = csr_array(self._matrix())[honest][:, honest]
        links = csr_array((among + among.T) != 0).astype(np.float64)
        links.setdiag(0)
        links.eliminate_zeros()
        vector = np.zeros(len(self._hostile))
        vector[honest] = fiedler_vector(csr_array(links))
        return torch.from_numpy(vector)


@dataclass(frozen=True, slots=True, kw_only=True)
class Everyone:
    """All N nodes in one exchange.

    Parameters
    ----------
    rows : Tensor
        Rows that they would send if all were honest, ``[N, D]``.
    hostile : Tensor
        Bool ``[N]``.
    links : KnownLinks
        Links among the honest.
    """

    rows: Tensor
    hostile: Tensor
    links: KnownLinks = field(repr=False)

"""Neighbourhoods of all nodes, a few nodes at a time, so that memory is bounded whatever the degrees."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from gossipfl.algorithms import Neighbourhood

__all__ = ["Complete", "Sparse", "neighbourhoods"]

Ints = NDArray[np.int64]
Padded = tuple[Ints, NDArray[np.float64], NDArray[np.bool_]]

_NUMBERS = (
    2**20
)  # in the rows of a chunk: 4 MiB of float32, and a rule's sorted copies still fit into the cache


class Sparse:
    """Neighbours by a sparse mixing matrix: entries off its diagonal that are not zero.

    Parameters
    ----------
    matrix : csr_array
        Shape ``[N, N]``; or N of its rows, and the columns that these have entries in, their own first.
    numbers : ndarray, optional
        Numbers of the columns; 0, 1, ... unless given.

    Attributes
    ----------
    degrees : ndarray
        How many neighbours each node hears from, ``[N]``.
    own_weights : ndarray
        Weights w_ii, ``[N]``.
    neighbours, weights : ndarray
        Columns of the neighbours of node after node, each node's by increasing numbers, and their weights.
    numbers : ndarray
        As given.
    """

    def __init__(self, matrix: csr_array, numbers: Ints | None = None) -> None:
        self.numbers: Ints = np.arange(matrix.shape[1]) if numbers is None else numbers
        owners = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        apart = (owners != matrix.indices) & (matrix.data != 0)
        order = np.lexsort((self.numbers[matrix.indices[apart]], owners[apart]))
        self.neighbours: Ints = matrix.indices[apart][order].astype(np.int64)
        self.weights: NDArray[np.float64] = matrix.data[apart][order].astype(np.float64)
        self.degrees: Ints = np.bincount(owners[apart], minlength=matrix.shape[0])
        self.own_weights: NDArray[np.float64] = matrix.diagonal().astype(np.float64)
        self._firsts = np.cumsum(self.degrees) - self.degrees

    def padded(self, nodes: Ints) -> Padded:
        """Neighbours of b nodes in increasing order, their weights, and which places are taken, ``[b, K]``."""
        degrees = self.degrees[nodes]
        places = np.arange(max(1, int(degrees.max())))
        present = places < degrees[:, None]
        entries = np.where(present, self._firsts[nodes][:, None] + places, 0)
        if not len(self.neighbours):
            return np.zeros_like(entries), np.zeros(entries.shape), present
        return self.neighbours[entries], np.where(present, self.weights[entries], 0.0), present


class Complete:
    """The complete graph with all weights 1/n, without a matrix of n² entries; as `Sparse`.

    Parameters
    ----------
    n : int
    here : ndarray, optional
        Numbers of the nodes whose neighbours are asked for, increasing, int64 ``[B]``; by default all.
    """

    def __init__(self, n: int, here: Ints | None = None) -> None:
        self.n, self._here = n, np.arange(n) if here is None else here
        self.numbers: Ints = np.concatenate([self._here, np.setdiff1d(np.arange(n), self._here)])
        self.degrees: Ints = np.full(len(self._here), n - 1)
        self.own_weights: NDArray[np.float64] = np.full(len(self._here), 1 / n)
        self._columns = np.argsort(self.numbers)

    def padded(self, nodes: Ints) -> Padded:
        """All others; as `Sparse.padded`."""
        others = np.arange(self.n - 1)
        neighbours = self._columns[others + (others >= self._here[nodes][:, None])]
        return neighbours, np.full(neighbours.shape, 1 / self.n), np.ones(neighbours.shape, dtype=np.bool_)


def neighbourhoods(
    lists: Sparse | Complete,
    rows: Tensor,
    *,
    width: int | None = None,
    among: NDArray[np.bool_] | None = None,
    numbers: int = _NUMBERS,
) -> Iterator[Neighbourhood]:
    """Give the neighbourhoods of nodes, in chunks of nodes of like degrees.

    Parameters
    ----------
    lists : Sparse or Complete
    rows : Tensor
        Rows that nodes sent, one a column of the lists' matrix, ``[N, D]``.
    width : int, optional
        Width of the rows after decoding; by default D.
    among : ndarray, optional
        Which nodes, bool ``[N]``; all unless given.
    numbers : int
        Largest total size of the neighbours' rows in a chunk, unless a single node needs more.
    """
    numbers_of = lists.numbers
    order, device, dtype = np.argsort(-lists.degrees, kind="stable"), rows.device, rows.dtype
    if among is not None:
        order = order[among[order]]
    widths, own_weights = np.maximum(1, lists.degrees[order]), torch.from_numpy(lists.own_weights).to(dtype)
    first = 0
    while first < len(order):
        count = max(1, numbers // max(1, int(widths[first]) * (width or rows.shape[1])))
        nodes = order[first : first + count]
        first += count
        neighbours, weights, present = lists.padded(nodes)
        index, there = torch.from_numpy(nodes).to(device), torch.from_numpy(present).to(device)
        gathered = rows.index_select(0, torch.from_numpy(neighbours.reshape(-1)).to(device))
        gathered = gathered.view(*neighbours.shape, rows.shape[1])
        if not present.all():
            gathered.masked_fill_(~there[..., None], 0)
        yield Neighbourhood(
            nodes=index,
            own=rows.index_select(0, index),
            own_weights=own_weights[torch.from_numpy(nodes)].to(device),
            rows=gathered,
            weights=torch.from_numpy(weights).to(device, dtype),
            present=there,
            neighbours=torch.from_numpy(np.where(present, numbers_of[neighbours], -1)).to(device),
        )

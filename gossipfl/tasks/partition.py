"""Partitions of samples among peers, as in the federated learning literature.

Each is seeded, total and exact: every sample belongs to exactly one peer, and every peer has at least one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from gossipfl.errors import InvalidPartition
from topology.spelling import did_you_mean

__all__ = ["PARTITIONS", "parse_partition", "partition"]

#: From this concentration on, Dirichlet proportions are equal to the last bit; beyond 1e300 they overflow.
_EQUAL_SHARES = 1e30

Parts = list[NDArray[np.int64]]


def partition(labels: NDArray[np.int64], peers: int, scheme: str, *, seed: int) -> Parts:
    """Divide samples among peers.

    Parameters
    ----------
    labels : ndarray
        Class of each sample, shape ``[n]``, int64.
    peers : int
        Number of parts.
    scheme : str
        ``"iid"``; ``"shards:k"``, k label shards a peer (McMahan et al. 2017, Section 3); ``"dirichlet:α"``,
        each class divided in Dirichlet(α) proportions (Yurochkin et al. 2019, Section 4);
        ``"quantity:σ"``, identically distributed parts whose sizes are lognormal with deviation σ.
    seed : int
        At least 0; the same seed gives the same partition.

    Returns
    -------
    list of ndarray
        For each peer the indices of its samples, ascending, int64; disjoint, and together all of them.

    Raises
    ------
    InvalidPartition
        If the scheme is unknown, its parameter or the seed is out of range, or there are too few samples.
    """
    name, parameter = parse_partition(scheme)
    if peers < 1 or peers > len(labels):
        raise InvalidPartition(
            "cannot give every peer a sample", expected=f"1 … {len(labels)} peers", got=peers
        )
    if seed < 0:
        raise InvalidPartition("the seed of a partition is negative", expected="0 or more", got=seed)
    generator = np.random.Generator(np.random.Philox(seed))
    parts = PARTITIONS[name](labels, peers, parameter, generator)
    return [np.sort(part).astype(np.int64) for part in _without_empty(parts)]


def parse_partition(scheme: str) -> tuple[str, float]:
    """Read a scheme, before there is any data to divide.

    Returns
    -------
    name : str
    parameter : float
        0 if the scheme takes none.

    Raises
    ------
    InvalidPartition
        If the scheme is unknown, or its parameter is out of range.
    """
    name, _, argument = scheme.partition(":")
    if name not in PARTITIONS:
        raise InvalidPartition(
            f"unknown partition {scheme!r}",
            expected="iid, shards:K, dirichlet:ALPHA or quantity:SIGMA",
            remedy=did_you_mean(name, PARTITIONS),
        )
    if name != "iid":
        return name, _number(name, argument, int if name == "shards" else float)
    if argument:
        raise InvalidPartition("partition 'iid' takes no parameter", got=repr(argument))
    return name, 0.0


def _number(scheme: str, argument: str, kind: type[int] | type[float]) -> float:
    try:
        value = kind(argument)
    except ValueError:
        value = kind(-1)
    if not 0 < value < np.inf:
        raise InvalidPartition(
            f"partition {scheme!r} needs a parameter",
            expected=f"{scheme}:NUMBER with a positive {'whole ' if kind is int else ''}number",
            got=repr(argument),
        )
    return value


def _iid(labels: NDArray[np.int64], peers: int, _: float, generator: np.random.Generator) -> Parts:
    return np.array_split(generator.permutation(len(labels)), peers)


def _shards(
    labels: NDArray[np.int64], peers: int, shards_each: float, generator: np.random.Generator
) -> Parts:
    each = int(shards_each)
    if peers * each > len(labels):
        raise InvalidPartition(
            "more shards than samples", expected=f"at most {len(labels)} shards", got=f"{peers} × {each}"
        )
    shuffled = generator.permutation(len(labels))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    shards = np.array_split(by_label, peers * each)
    order = generator.permutation(peers * each).reshape(peers, each)
    return [np.concatenate([shards[shard] for shard in own]) for own in order]


def _dirichlet(labels: NDArray[np.int64], peers: int, alpha: float, generator: np.random.Generator) -> Parts:
    alpha = min(alpha, _EQUAL_SHARES)
    parts: list[list[NDArray[np.int64]]] = [[] for _ in range(peers)]
    for label in np.unique(labels):
        samples = generator.permutation(np.flatnonzero(labels == label))
        shares = generator.dirichlet(np.full(peers, alpha))
        if not np.isfinite(shares).all():  # all gamma draws underflowed: the limit is one peer taking all
            shares = np.eye(peers)[generator.integers(peers)]
        cuts = np.floor(np.cumsum(shares)[:-1] * len(samples) + 0.5).astype(np.int64)
        for part, piece in zip(parts, np.split(samples, cuts), strict=True):
            part.append(piece)
    return [np.concatenate(part) for part in parts]


def _quantity(labels: NDArray[np.int64], peers: int, sigma: float, generator: np.random.Generator) -> Parts:
    logs = generator.normal(0.0, sigma, peers)
    shares = np.exp(logs - logs.max())
    cuts = np.floor(np.cumsum(shares / shares.sum())[:-1] * len(labels) + 0.5).astype(np.int64)
    return np.split(generator.permutation(len(labels)), cuts)


def _without_empty(parts: Parts) -> Parts:
    """Give every peer without samples one from the peer that has most."""
    sizes = np.array([len(part) for part in parts])
    for empty in np.flatnonzero(sizes == 0):
        richest = int(sizes.argmax())
        parts[empty], parts[richest] = parts[richest][-1:], parts[richest][:-1]
        sizes[empty], sizes[richest] = 1, sizes[richest] - 1
    return parts


PARTITIONS: Mapping[str, Callable[[NDArray[np.int64], int, float, np.random.Generator], Parts]] = {
    "iid": _iid,
    "shards": _shards,
    "dirichlet": _dirichlet,
    "quantity": _quantity,
}

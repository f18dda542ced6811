"""Speeds of links: each node's own, the paths between hosts, shared ones, and how they change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims.compiler.timeline.delays import hosts_of
from sims.compiler.timeline.draws import SLOW, uniform
from sims.compiler.timeline.traces import read_bandwidths
from sims.errors import InvalidScenario
from sims.scenario.network import LinkChange, LinksSection, MatrixDelay, NetworkSection

__all__ = ["Change", "Links", "links_of"]

_MBIT = 1e6


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """A time of slower or faster links.

    Parameters
    ----------
    times : tuple of float
        When it begins and ends, and after how long it comes again (0: it does not), in seconds.
    factor : float
    nodes : ndarray
        Whose links change, bool ``[n]``.
    """

    times: tuple[float, float, float]
    factor: float
    nodes: NDArray[np.bool_]

    def is_under_way(self, now: float) -> bool:
        """Whether links are different at a time, in seconds."""
        return any(begins <= now < ends for begins, ends in self._around(now))

    def next(self, now: float) -> float:
        """When after ``now`` it begins or ends next, in seconds; infinite if it never does."""
        return min((at for each in self._around(now) for at in each if at > now), default=float("inf"))

    def _around(self, now: float) -> list[tuple[float, float]]:
        """Begin and end of the turns around a time: the same numbers for both questions, whatever is rounded."""
        since, until, every = self.times
        turn = int((now - since) // every) if every and now > since else 0
        turns = range(max(0, turn - 1), turn + 2) if every else (0,)
        return [(since + each * every, until + each * every) for each in turns]


@dataclass(frozen=True, kw_only=True, eq=False)
class Links:
    """Speeds of links in bits per second; infinite where there is no limit.

    Parameters
    ----------
    up, down : ndarray
        Of each node's own link, ``[n]``.
    paths : ndarray
        From host to host, ``[hosts, hosts]``.
    hosts : ndarray
        Each node's host, int32 ``[n]``; empty if there are no paths.
    group : ndarray
        Which shared link each node is behind, int64 ``[n]``; −1 for none.
    group_up, group_down : ndarray
        Of the shared links.
    changes : tuple of Change
    both_ways : float
        Share of its speed that a link has each way while it carries rows both ways.
    """

    up: NDArray[np.float64]
    down: NDArray[np.float64]
    paths: NDArray[np.float64]
    hosts: NDArray[np.int32]
    group: NDArray[np.int64]
    group_up: NDArray[np.float64]
    group_down: NDArray[np.float64]
    changes: tuple[Change, ...] = ()
    both_ways: float = 1.0

    def path(self, sender: int, receiver: int) -> float:
        """Speed of the path between two nodes, their own links left out."""
        return float(self.paths[self.hosts[sender], self.hosts[receiver]]) if len(self.hosts) else np.inf

    def factors(self, now: float) -> NDArray[np.float64]:
        """What each node's links are multiplied by at a time, ``[n]``."""
        factors = np.ones(len(self.up))
        for change in self.changes:
            if change.is_under_way(now):
                factors[change.nodes] *= change.factor
        return factors

    def next_change(self, now: float) -> float:
        """When after ``now`` links change next, in seconds."""
        return min((change.next(now) for change in self.changes), default=float("inf"))


def links_of(network: NetworkSection, *, seed: int, numbers: Sequence[int]) -> Links:
    """Read the links of a scenario; without a table of links, each node has the uplink ``bandwidth``.

    Parameters
    ----------
    network : NetworkSection
    seed : int
    numbers : sequence of int
        The number by which each node's host and slowness are drawn.

    Raises
    ------
    MalformedTrace
        If a matrix is not in its format.
    InvalidScenario
        If numbers of nodes do not fit.
    """
    section, n = network.links or LinksSection(), len(numbers)
    up = section.up if network.bandwidth is None else network.bandwidth
    slow = _slowness(section, seed=seed, numbers=numbers)
    paths, hosts = np.full((1, 1), np.inf), np.zeros(0, dtype=np.int32)
    if section.file is not None:
        paths = read_bandwidths(section.file) * _MBIT
        given, delay = section.hosts, network.delay
        if given is None and isinstance(delay, MatrixDelay) and delay.hosts is not None:
            given = tuple(delay.hosts)
        hosts = hosts_of("network.links", given, count=len(paths), seed=seed, numbers=numbers)
    group = np.full(n, -1, dtype=np.int64)
    for number, shared in enumerate(section.shared):
        group[_within("shared", shared.nodes, n)] = number
    return Links(
        up=_speeds("up", up, n) / slow,
        down=_speeds("down", section.down, n) / slow,
        paths=paths,
        hosts=hosts,
        group=group,
        group_up=np.array([_MBIT * (each.up or np.inf) for each in section.shared]),
        group_down=np.array([_MBIT * (each.down or np.inf) for each in section.shared]),
        changes=tuple(_change(each, n) for each in section.changes),
        both_ways=section.both_ways,
    )


def _speeds(name: str, given: float | Sequence[float] | None, n: int) -> NDArray[np.float64]:
    if given is None:
        return np.full(n, np.inf)
    if not isinstance(given, Sequence):
        return np.full(n, _MBIT * given)
    if len(given) != n:
        raise InvalidScenario(f"network.links.{name}: a number for each node", expected=n, got=len(given))
    return _MBIT * np.array(given)


def _slowness(section: LinksSection, *, seed: int, numbers: Sequence[int]) -> NDArray[np.float64]:
    """What each node's speeds are divided by: of a share of the nodes, those that draw the smallest numbers."""
    drawn = np.array([uniform(seed, SLOW, number, 0) for number in numbers])
    count = round(section.slow * len(numbers))
    if section.slow and not count:
        raise InvalidScenario(
            f"network.links.slow: of {len(numbers)} nodes that is none",
            expected=f"more than {0.5 / len(numbers):g}, or 0",
            got=section.slow,
        )
    slow = np.argsort(drawn, kind="stable")[:count]
    factors = np.ones(len(numbers))
    factors[slow] = section.slowness
    return factors


def _within(name: str, nodes: Sequence[int], n: int) -> list[int]:
    if max(nodes, default=0) >= n:
        raise InvalidScenario(
            f"network.links.{name}: nodes have numbers", expected=f"0 to {n - 1}", got=max(nodes)
        )
    return list(nodes)


def _change(given: LinkChange, n: int) -> Change:
    concerned = np.full(n, not given.nodes)
    concerned[_within("changes", given.nodes, n)] = True
    return Change(times=(given.since, given.until, given.every or 0.0), factor=given.factor, nodes=concerned)

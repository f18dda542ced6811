"""Transfers under way at the same time, each at its fair share of the links between sender and receiver."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sims.clock.fair_shares import fair_rates
from sims.clock.plain import Arrays, as_array, of_array
from sims.compiler.timeline.links import Links

__all__ = ["Transfers"]

_NONE = -1
Key: TypeAlias = tuple[tuple[int, int], int | None, int | None]
"""A round and its exchange, a sender and a receiver; None for a server."""


class Transfers:
    """Transfers in progress.

    A transfer passes through its sender's uplink and its receiver's downlink, and through the shared links that
    either is behind alone. Rates change when a transfer begins or ends, and when links do.

    Parameters
    ----------
    links : Links
    """

    def __init__(self, links: Links) -> None:
        self._links, self.now = links, 0.0
        self._keys: list[Key] = []
        self._through = np.zeros((0, 4), dtype=np.int64)
        self._limits, self._left, self._rates = (np.zeros(0) for _ in range(3))
        self._times: NDArray[np.float64] | None = None  # seconds to the end of each, until something changes
        self._soonest = math.inf
        self._new: list[tuple[Key, list[int], float, float]] = []
        self._stale = False
        self._capacities = self._capacities_now()
        self._changes_at = links.next_change(0.0)

    def __len__(self) -> int:
        return len(self._keys) + len(self._new)

    def begin(self, key: Key, *, sender: int | None, receiver: int | None, bits: float) -> None:
        """Begin a transfer now; without a sender or receiver from or to a server that is never the slower one."""
        through = [_NONE] * 4
        limit = math.inf
        if sender is not None:
            through[0] = sender
        if receiver is not None:
            through[1] = len(self._links.up) + receiver
        groups = [_NONE if node is None else int(self._links.group[node]) for node in (sender, receiver)]
        if groups[0] != groups[1]:
            first = 2 * len(self._links.up)
            through[2] = _NONE if groups[0] < 0 else first + groups[0]
            through[3] = _NONE if groups[1] < 0 else first + len(self._links.group_up) + groups[1]
        if sender is not None and receiver is not None:
            limit = self._links.path(sender, receiver)
        self._new.append((key, through, limit, bits))
        self._stale = True

    def cancel(self, keys: set[Key]) -> list[Key]:
        """End transfers before they are done; return those that were under way."""
        self._take_in()
        gone = [place for place, key in enumerate(self._keys) if key in keys]
        ended = [self._keys[place] for place in gone]
        self._drop(gone)
        return ended

    def next_end(self) -> float:
        """When the next transfer ends, or links change; infinite if nothing is under way."""
        if not len(self):
            return math.inf
        self._share()
        self._know_times()
        return min(self.now + self._soonest, self._changes_at)

    def advance(self, to: float) -> list[Key]:
        """Let time pass, no further than `next_end`; return the transfers that are done."""
        if not len(self):
            self._at(to)
            return []
        self._share()
        times, passed = self._know_times(), to - self.now
        ends_before = passed + 4 * float(np.spacing(max(to, 1e-3)))
        done = np.flatnonzero(times <= ends_before).tolist() if self._soonest <= ends_before else []
        if passed > 0:
            moving = np.isfinite(self._rates)
            if moving.all():
                np.maximum(0.0, self._left - self._rates * passed, out=self._left)
            else:
                self._left[moving] = np.maximum(0.0, self._left[moving] - self._rates[moving] * passed)
            self._times = None
        self._at(to)
        ended = [self._keys[place] for place in done]
        self._drop(done)
        return ended

    def state(self) -> Arrays:
        """All that changes."""
        return {
            "through": self._through.copy(),
            "limits": self._limits.copy(),
            "left": self._left.copy(),
            "rates": self._rates.copy(),
            "capacities": self._capacities.copy(),
            "others": as_array([self._keys, self._new, self._stale, self.now, self._changes_at]),
        }

    def restore(self, state: Arrays) -> None:
        """Continue from a state."""
        self._through = np.array(state["through"], dtype=np.int64)
        self._limits, self._left, self._rates, self._capacities = (
            np.array(state[name], dtype=np.float64) for name in ("limits", "left", "rates", "capacities")
        )
        keys, new, self._stale, self.now, self._changes_at = of_array(state["others"])
        self._keys = [_key(each) for each in keys]
        self._new = [(_key(key), through, limit, bits) for key, through, limit, bits in new]
        self._times = None

    def _at(self, now: float) -> None:
        self.now = now
        if now >= self._changes_at:
            self._capacities, self._stale = self._capacities_now(), True
            self._changes_at = self._links.next_change(now)

    def _know_times(self) -> NDArray[np.float64]:
        if self._times is None:
            self._times = np.where(np.isinf(self._rates), 0.0, self._left / np.maximum(self._rates, 1e-300))
            self._soonest = float(self._times.min())
        return self._times

    def _capacities_now(self) -> NDArray[np.float64]:
        links = self._links
        factors = links.factors(self.now)
        return np.concatenate([links.up * factors, links.down * factors, links.group_up, links.group_down])

    def _take_in(self) -> None:
        if self._new:
            keys, through, limits, bits = zip(*self._new, strict=True)
            self._keys.extend(keys)
            self._through = np.concatenate([self._through, np.array(through, dtype=np.int64)])
            self._limits = np.concatenate([self._limits, np.array(limits)])
            self._left = np.concatenate([self._left, np.array(bits, dtype=np.float64)])
            self._new = []

    def _share(self) -> None:
        if self._stale:
            self._take_in()
            both = self._links.both_ways
            limits, capacities = self._limits, self._capacities
            if both < 1:
                limits, capacities = self._used_both_ways(both)
            self._rates = fair_rates(self._through, limits, capacities)
            self._stale, self._times = False, None

    def _used_both_ways(self, share: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Speeds of paths and links, less where rows hold up what acknowledges those of the other direction."""
        n, groups = len(self._links.up), len(self._links.group_up)
        used = np.zeros(2 * (n + groups) + 1, dtype=np.bool_)
        used[self._through] = True  # without a link the last one
        nodes = used[:n] & used[n : 2 * n]
        shared = used[2 * n : 2 * n + groups] & used[2 * n + groups : -1]
        slower = np.where(np.concatenate([nodes, nodes, shared, shared, [False]]), share, 1.0)
        return self._limits * slower[self._through[:, :2]].min(axis=1), self._capacities * slower[:-1]

    def _drop(self, places: list[int]) -> None:
        if not places:
            return
        kept = np.ones(len(self._keys), dtype=np.bool_)
        kept[places] = False
        self._keys = [key for key, stays in zip(self._keys, kept, strict=True) if stays]
        self._through = self._through[kept]
        self._limits, self._left = self._limits[kept], self._left[kept]
        if len(self._rates) == len(kept):
            self._rates = self._rates[kept]
        self._stale = True


def _key(read: list[Any]) -> Key:
    (number, exchange), sender, receiver = read
    return (number, exchange), sender, receiver

"""Permission to train and to merge: the operator's pause and the policy together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Permission", "Permissions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What a learner may do.

    Parameters
    ----------
    trains : bool
        Whether it may train.
    merges : bool
        Whether it may merge models of others.
    """

    trains: bool = True
    merges: bool = True


class Permissions:
    """What a peer's learner may do now: what neither the operator nor the policy forbids.

    Parameters
    ----------
    allow : callable
        Called with each permission that differs from the one before; the first allows everything.
    record : callable
        Appends a record of each.

    Attributes
    ----------
    held : frozenset of str
        Reasons beside the policy why there is no training.
    """

    def __init__(
        self, allow: Callable[[Permission], None], record: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._allow = allow
        self._record = record
        self._is_paused = False
        self._policy = Permission()
        self._reasons: tuple[str, ...] = ()
        self.held: frozenset[str] = frozenset()
        self.current = Permission()

    def pause(self) -> None:
        """Forbid training and merging, whatever the policy says."""
        self._is_paused = True
        self._apply()

    def resume(self) -> None:
        """Leave the decision to the policy."""
        self._is_paused = False
        self._apply()

    def hold(self, reason: str) -> None:
        """Forbid training, for a reason beside the policy, until it is released."""
        self.held = self.held | {reason}
        self._apply()

    def release(self, reason: str) -> None:
        """Forbid training for this reason no longer."""
        self.held = self.held - {reason}
        self._apply()

    def obey(self, policy: Permission, reasons: tuple[str, ...] = ()) -> None:
        """Permit what a policy does.

        Parameters
        ----------
        reasons : tuple of str
            Names of the conditions that do not hold.
        """
        self._policy, self._reasons = policy, reasons
        self._apply()

    def _apply(self) -> None:
        policy, is_paused = self._policy, self._is_paused
        trains = policy.trains and not is_paused and not self.held
        now = Permission(trains=trains, merges=policy.merges and not is_paused)
        if now == self.current:
            return
        self.current = now
        self._allow(now)
        reasons = [*(["paused"] if is_paused else []), *sorted(self.held), *self._reasons]
        self._record({"kind": "permission", "trains": now.trains, "merges": now.merges, "reasons": reasons})

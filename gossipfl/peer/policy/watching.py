"""Repeated checks of a policy, and what follows from them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import trio

from gossipfl.peer.conditions import Conditions
from gossipfl.peer.permission import Permission, Permissions
from gossipfl.peer.policy.decision import Decision, Reading, conditions_of, decided, judged
from gossipfl.peer.policy.libraries import require_readable
from gossipfl.peer.policy.script import read_script
from gossipfl.peer.policy.sensors import Sensors
from gossipfl.peer.threads import run_abandonable
from gossipfl.settings import PolicySettings
from gossipfl.settings.hours import parse_zone

__all__ = ["PolicyWatch"]

logger = logging.getLogger(__name__)

_READ_SECONDS: Final = 5.0


@dataclass(eq=False)
class PolicyWatch:
    """Checks a policy every ``period`` seconds, and permits or forbids training.

    Until the first check training is forbidden. A change of the machine has its effect after at most ``period``,
    the five seconds that sensors have, or ``script_seconds``, and the training step in progress.

    Parameters
    ----------
    directory : Path
        The peer's home.
    permissions : Permissions
        Told each decision.
    conditions : Conditions
        Told what training waits for (``policy``), and what cannot be read (``readings``).
    clock : callable, optional
        Returns seconds since 1970.

    Raises
    ------
    SettingError
        A library or the script that the settings need is missing.
    """

    settings: PolicySettings
    directory: Path
    permissions: Permissions
    conditions: Conditions
    sensors: Sensors = field(default_factory=Sensors)
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self.require_readable(self.settings)
        self._decision: Decision | None = None
        self._is_new = True
        self._changed = trio.Event()
        self._at_work = threading.Lock()
        self._since = self.clock()
        self._told: set[str] = set()
        if conditions_of(self.settings):
            self.permissions.obey(self._permission(trains=False), ("unchecked",))

    def require_readable(self, settings: PolicySettings) -> None:
        """Require the libraries and the script that settings need.

        Raises
        ------
        SettingError
            One is missing.
        """
        require_readable(settings, self.directory)

    def reload(self, settings: PolicySettings) -> None:
        """Apply other settings at once, without waiting for ``dwell``."""
        if settings != self.settings:
            self.settings, self._is_new = settings, True
            self._changed.set()

    def to_values(self) -> dict[str, Any] | None:
        """Return plain values for the status; None without a decision."""
        if self._decision is None:
            return None
        return {
            "trains": self._decision.trains,
            "merge": self.settings.merge,
            "since": self._since,
            "conditions": [each.to_values() for each in self._decision.findings],
        }

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            self._changed = changed = trio.Event()
            settings = self.settings
            if not conditions_of(settings):
                self._lift()
                await changed.wait()
                continue
            readings = await self._read(settings)
            if not changed.is_set():
                self._tell(self._decided(settings, readings), settings)
                with trio.move_on_after(settings.period):
                    await changed.wait()

    async def check(self) -> Decision:
        """Check once, and tell nobody."""
        return self._decided(self.settings, await self._read(self.settings))

    async def _read(self, settings: PolicySettings) -> dict[str, Reading]:
        names, readings = conditions_of(settings), dict[str, Reading]()

        async def read_sensors() -> None:
            wanted = [name for name in names if name not in ("script", "hours")]
            readings.update(await self._read_sensors(wanted) if wanted else {})

        async def run_script() -> None:
            if settings.script is not None:
                path = self.directory.absolute() / settings.script
                readings["script"] = await read_script(path, seconds=settings.script_seconds)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_sensors)
            nursery.start_soon(run_script)
        return readings

    async def _read_sensors(self, wanted: Collection[str]) -> dict[str, Reading]:
        """Read in a thread, which is abandoned if a sensor hangs; while it does, no other is started."""
        found: dict[str, Reading] = {}

        def work() -> None:
            with self._at_work:
                self.sensors.read(wanted, found)

        if not self._at_work.locked():
            with trio.move_on_after(_READ_SECONDS):
                await run_abandonable(work)
        read = dict(found)
        silent = Reading(value=None, text=f"nothing answered within {_READ_SECONDS:g} s")
        return {name: read.get(name, silent) for name in wanted}

    def _decided(self, settings: PolicySettings, readings: dict[str, Reading]) -> Decision:
        before = None if self._is_new else self._decision
        zone = None if settings.timezone is None else parse_zone(settings.timezone)
        moment = datetime.fromtimestamp(self.clock(), tz=zone).astimezone(zone)
        findings = judged(settings, readings, moment, trains=before is None or before.trains)
        return decided(before, findings, now=trio.current_time(), dwell=settings.dwell)

    def _tell(self, after: Decision, settings: PolicySettings) -> None:
        trained = self._decision is None or self._decision.trains
        self._note(after, settings, trained=trained)
        self._decision, self._is_new = after, False
        self.permissions.obey(self._permission(trains=after.trains), _names(after))

    def _note(self, after: Decision, settings: PolicySettings, *, trained: bool) -> None:
        if after.trains != trained:
            self._since = self.clock()
        if after.unread:
            self.conditions.note("readings", "; ".join(each.text for each in after.unread))
        else:
            self.conditions.clear("readings")
        if after.trains:
            self._told.clear()
            self.conditions.clear("policy")
            if not trained:
                logger.info("training goes on: all conditions of the policy hold")
            return
        reasons = "; ".join(each.text for each in after.failing)
        what = "training waits" if settings.merge == "always" else "training and merging wait"
        why = f": {reasons}" if reasons else f" until all conditions have held for {settings.dwell:g} s"
        self.conditions.note("policy", f"{what}{why}")
        news = {each.name for each in after.failing} - self._told
        if news or trained:  # a value that comes and goes while training waits is no news
            logger.info("%s%s", what, why)
        self._told |= news

    def _lift(self) -> None:
        if self._decision is not None:
            logger.info("the policy has no condition any more: training is allowed")
        self._decision, self._is_new = None, True
        self._told.clear()
        for name in ("policy", "readings"):
            self.conditions.clear(name)
        self.permissions.obey(Permission())

    def _permission(self, *, trains: bool) -> Permission:
        return Permission(trains=trains, merges=trains or self.settings.merge == "always")


def _names(decision: Decision) -> tuple[str, ...]:
    return tuple(each.name for each in decision.failing) or (() if decision.trains else ("dwell",))

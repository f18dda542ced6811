"""The tasks of one start of a peer, besides learning: what each is called, and what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from gossipfl.peer.conditions import watch_clock
from gossipfl.peer.gossip.isolation import warn_of_isolation
from gossipfl.peer.membership.troubles import watch_troubles

if TYPE_CHECKING:
    from gossipfl.peer.incarnation import Incarnation

__all__ = ["tasks_beside_learning"]


def tasks_beside_learning(peer: Incarnation) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return the tasks by their names; each runs until cancelled."""
    housekeeping, host, conditions = peer.housekeeping, peer.host, peer.conditions
    knocks = host.members.knocks
    tasks: dict[str, Callable[[], Awaitable[object]]] = {
        **peer.participation.tasks,
        **peer.entrance.tasks(),
        "evaluation": partial(housekeeping.evaluate_for_ever, lambda: peer.settings.evaluation.period),
        "checkpoints": partial(housekeeping.save_for_ever, lambda: peer.settings.checkpoint.period),
        "examinations": peer.examiner.run,
        "policy": peer.policy.run,
        "telemetry": partial(housekeeping.report_for_ever, peer.status),
        "admission": partial(watch_troubles, lambda: peer.entrance.troubles(knocks), conditions),
        "isolation": partial(
            warn_of_isolation,
            host.connected,
            peer.settings.network.bootstrap,
            conditions,
            lambda: peer.entrance.why_alone(knocks),
        ),
        "versions": peer.neighbours.identify,
        "clock": partial(watch_clock, conditions, peer.records.append),
    }
    if peer.participation.renewal is not None:
        tasks["data"] = partial(peer.participation.renewal.run, housekeeping.renew)
    if peer.relay is not None:
        tasks["relaying"] = peer.relay
    if peer.reports is not None:
        tasks["estimates"] = peer.reports.run
    if peer.typing is not None and peer.device_loop is not None:
        tasks |= {"keyboard": peer.typing.run, "departures": peer.device_loop.run}
    if peer.page is not None:
        tasks["page"] = peer.page.run
    return tasks

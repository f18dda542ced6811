"""Reloading of data that grow while a peer runs."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from gossipfl.errors import InvalidTask
from gossipfl.peer.assembly import trainer_of
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.threads import run_abandonable
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Dataset, Task
from gossipfl.training import Trainer

__all__ = ["Renewal", "described", "require_renewable"]

logger = logging.getLogger(__name__)


def described(data: Dataset) -> Mapping[str, Any]:
    """Return the description of training data for records: their number and a fingerprint."""
    return {"samples": data.samples, "data": data.fingerprint()}


def require_renewable(task: Task, *, in_rounds: bool) -> None:
    """Require that a peer whose task's data grow does not learn in rounds.

    Raises
    ------
    InvalidTask
        It does; the number of steps of a round depends on the data.
    """
    if in_rounds and task.refresh_seconds is not None:
        raise InvalidTask(
            f"the data of task {task.name!r} grow, but this peer learns in rounds",
            expected="data that do not change",
            got=f"refresh_seconds={task.refresh_seconds:g}",
            remedy="Let it gossip, or make the task without refresh_seconds.",
        )


@dataclass(eq=False)
class Renewal:
    """Reloading of the data every ``task.refresh_seconds``, and when it is asked for.

    If they have changed, they are trained on from the next event on. If they cannot be read, the peer continues
    with those that it has.

    Parameters
    ----------
    first : Dataset
        The data that the peer started with.
    """

    task: Task
    settings: PeerSettings
    first: Dataset
    learner: Learner

    def __post_init__(self) -> None:
        self._asked = trio.Event()

    def ask(self) -> None:
        """Reload the data now."""
        self._asked.set()

    async def run(self, publish: Callable[[Dataset], None]) -> None:
        """Reload the data again and again, until cancelled.

        Parameters
        ----------
        publish : callable
            Called with new data, for evaluation.
        """
        period, before = self.task.refresh_seconds, described(self.first)
        while True:
            with trio.move_on_after(math.inf if period is None else period):
                await self._asked.wait()
            is_asked, self._asked = self._asked.is_set(), trio.Event()
            try:
                data, now, trainer = await run_abandonable(self._read, before)
            except InvalidTask as error:
                logger.warning("the data could not be reloaded: %s", error)
                continue
            if trainer is not None:
                logger.info("training on %d samples from now on", data.samples)
                before = now
                self.learner.renew(trainer, now)
                publish(data)
            elif is_asked:
                logger.info("the data are as before: %d samples", data.samples)

    def _read(self, before: Mapping[str, Any]) -> tuple[Dataset, Mapping[str, Any], Trainer | None]:
        data = self.task.dataset()
        now = described(data)
        return data, now, None if now == before else trainer_of(self.task, data, self.settings)

"""Periodic reloading of data that grow while a peer runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import trio

from gossipfl.errors import InvalidTask
from gossipfl.peer.assembly import trainer_of
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.threads import run_abandonable
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Dataset, Task
from gossipfl.training import Trainer

__all__ = ["described", "renew_for_ever", "require_renewable"]

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


async def renew_for_ever(
    task: Task,
    settings: PeerSettings,
    first: Dataset,
    learner: Learner,
    publish: Callable[[Dataset], None],
) -> None:
    """Reload the data every ``task.refresh_seconds``, and train on them if they have changed.

    If they cannot be read, the peer continues with those that it has.

    Parameters
    ----------
    first : Dataset
        The data that the peer started with.
    publish : callable
        Called with new data, for evaluation.
    """
    period, before = task.refresh_seconds, described(first)
    if period is None:
        return

    def read() -> tuple[Dataset, Mapping[str, Any], Trainer | None]:
        data = task.dataset()
        now = described(data)
        return data, now, None if now == before else trainer_of(task, data, settings)

    while True:
        await trio.sleep(period)
        try:
            data, now, trainer = await run_abandonable(read)
        except InvalidTask as error:
            logger.warning("the data could not be reloaded: %s", error)
            continue
        if trainer is not None:
            logger.info("training on %d samples from now on", data.samples)
            before = now
            learner.renew(trainer, now)
            publish(data)

"""Workers that do the jobs of a sweep: processes here, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sims.sweeping.jobs import Assignment, Outcome

__all__ = ["Room", "Workers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Memory that runs have.

    Parameters
    ----------
    size : int, optional
        Bytes; none where a run is given what it asks for.
    shared_by : int
        How many runs at a time share it.
    where : str
        Whose it is, for messages.
    """

    size: int | None
    shared_by: int = 1
    where: str = "together"


class Workers(Protocol):
    """Does jobs, several at a time."""

    @property
    def room(self) -> Room:
        """Memory for the runs."""

    def run(
        self,
        take: Callable[[], Assignment | None],
        done: Callable[[Outcome], None],
        *,
        on_wait: Callable[[float], None],
    ) -> bool:
        """Do jobs until there are none left, and return True.

        A first Ctrl-C lets the current runs stop and write checkpoints, and returns False; a second ends them.

        Parameters
        ----------
        take : callable
            Gives a job, or None for now; asked again whenever a job is done.
        done : callable
            Receives the outcome of each job.
        on_wait : callable
            Called a few times a second at most, with how many jobs' worth of work the runs under way have done.
        """

"""Kills of peers half-way through a demo, and the restart of one of them."""

from __future__ import annotations

from collections.abc import Sequence

from gossipfl.demo.processes import PeerProcess
from gossipfl.demo.watching import Observation

__all__ = ["Disruption"]

_RESTART_AFTER_SECONDS = 1.0
# A merge takes the larger age at once; that many models it takes to be like the others again.
_MESSAGES_TO_CATCH_UP = 40


class Disruption:
    """Kills the last peers of a demo with SIGKILL, and starts the first of those again.

    Parameters
    ----------
    processes : sequence of PeerProcess
        All peers.
    count : int
        Number of peers to kill; with 0 nothing happens.

    Attributes
    ----------
    killed_at, restarted_at : float or None
        When that was, on the clock of the observations.
    """

    def __init__(self, processes: Sequence[PeerProcess], *, count: int) -> None:
        self._victims = list(processes[len(processes) - count :])
        self.killed_at: float | None = None
        self.restarted_at: float | None = None

    def act(self, look: Observation, *, half_way: bool) -> str | None:
        """Kill or restart if it is time; return a description of what was done."""
        if not self._victims:
            return None
        if self.killed_at is None:
            if not half_way:
                return None
            for victim in self._victims:
                victim.kill()
            self.killed_at = look.seconds
            return f"gossip, after {len(self._victims)} peers were killed"
        back = self._victims[0]
        if back.killed and look.seconds >= self.killed_at + _RESTART_AFTER_SECONDS:
            back.restart()
            self.restarted_at = look.seconds
            return f"gossip, with {len(self._victims)} killed and one of them back"
        return None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is planned, and the restarted peer has caught up with the others."""
        if not self._victims:
            return True
        back = self._victims[0]
        status = back.status() if back.restarts else None
        return status is not None and status["network"]["messages_received"] >= _MESSAGES_TO_CATCH_UP

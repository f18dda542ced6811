"""Every error the simulator raises on purpose, as branches of gossipfl's own tree."""

from __future__ import annotations

from gossipfl.errors import GossipflError, SettingError

__all__ = [
    "InvalidScenario",
    "MalformedTrace",
    "NotEnoughMemory",
    "NotSimulable",
    "RunDirectoryError",
    "SimulationError",
]


class SimulationError(GossipflError):
    """A simulation cannot be set up, run or read back."""


class InvalidScenario(SimulationError, SettingError):
    """A scenario file, or one of its values, is wrong."""


class MalformedTrace(InvalidScenario):
    """A file that a scenario names (an availability trace, a round-trip matrix) is not in its format."""


class NotEnoughMemory(SimulationError):
    """The run would need more memory than there is; nothing was allocated for it."""


class NotSimulable(SimulationError):
    """The parts of a scenario do not fit together: this algorithm on that topology, this task at that size."""


class RunDirectoryError(SimulationError):
    """The directory of a run is missing, already taken, or holds no run that could be resumed."""

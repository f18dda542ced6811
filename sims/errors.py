"""Every error the simulator raises on purpose, as branches of gossipfl's own tree."""

from __future__ import annotations

from gossipfl.errors import GossipflError, SettingError

__all__ = [
    "ClusterMismatch",
    "ClusterUnreachable",
    "DivergedCoalition",
    "InvalidCallback",
    "InvalidScenario",
    "InvalidSweep",
    "MalformedTrace",
    "NotEnoughDisk",
    "NotEnoughMemory",
    "NotRecorded",
    "NotSimulable",
    "RunDirectoryError",
    "SimulationError",
    "SweepDirectoryError",
    "WorkersNotStarted",
]


class SimulationError(GossipflError):
    """A simulation cannot be set up, run or read back."""


class InvalidScenario(SimulationError, SettingError):
    """A scenario file, or one of its values, is wrong."""


class InvalidCallback(SimulationError, SettingError):
    """A callback of a run is named wrongly, or is none; nothing was run."""


class MalformedTrace(InvalidScenario):
    """A file that a scenario names (an availability trace, a round-trip matrix) is not in its format."""


class NotEnoughMemory(SimulationError):
    """The run would need more memory than there is; none was allocated."""


class NotEnoughDisk(SimulationError):
    """The directory for models that are not in memory has too little room, or is none."""


class NotRecorded(SimulationError):
    """What is asked of a run is not in its records."""


class NotSimulable(SimulationError):
    """The parts of a scenario do not fit together: this algorithm on that topology, this task at that size."""


class DivergedCoalition(SimulationError):
    """Participants' models are no numbers, so what these participants give and gain cannot be said."""


class RunDirectoryError(SimulationError):
    """The directory of a run is missing, already taken, or holds no run that could be resumed."""


class InvalidSweep(SimulationError, SettingError):
    """A sweep, or one of the points it would run, is wrong; nothing was run."""


class SweepDirectoryError(SimulationError):
    """The directory of a sweep is missing, already taken, in use, or holds another sweep."""


class WorkersNotStarted(SimulationError):
    """The processes that runs are shared out to could not be started."""


class ClusterUnreachable(SimulationError):
    """No cluster answers at the address, or it refuses this process or cannot run anything."""


class ClusterMismatch(SimulationError):
    """A machine of a cluster runs other software than the process that shares out the work."""

"""Status of a peer: one value for the terminal, the status file and programs that embed a peer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gossipfl.errors import HomeError
from gossipfl.files import write_atomically

__all__ = ["PeerStatus", "read_status", "write_status"]


@dataclass(frozen=True, kw_only=True)
class PeerStatus:
    """A peer at one instant.

    Parameters
    ----------
    peer_id : str
    process : int
        Its process id.
    task : str
        Name of the task.
    addresses : tuple of str
        Its addresses.
    incarnation : int
        Number of this start.
    age, step, event : int
        Age of the model; training steps done here; changes of the model.
    loss : float
        Of the batches of the last training; NaN before the first.
    divergences : int
        How many times in this start the model held NaN or an infinity, and went back to the last good one.
    metrics : mapping of str to float
        Of the last evaluation; empty before the first.
    saved_age : int
        Age of the last checkpoint.
    neighbours, connected : int
        Peers in the view; peers with a live connection.
    gate : mapping, optional
        Decisions of the gate by reason, and the peers that are quarantined; plain values.
    rounds : mapping, optional
        Of a peer that learns in rounds: which, how far it has come, whose rows were missing; plain values.
    conditions : list
        What is unusual, as `Conditions.to_values` gives it.
    network : mapping
        `NetworkCounters` as plain values.
    membership : mapping
        The door, who was turned away at it, and who turned this peer away; plain values.
    started, updated : float
        Seconds since 1970.
    """

    peer_id: str
    process: int
    task: str
    addresses: tuple[str, ...]
    incarnation: int
    age: int
    step: int
    event: int
    loss: float
    divergences: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    saved_age: int
    neighbours: int
    connected: int
    rounds: Mapping[str, Any] | None = None
    gate: Mapping[str, Any] | None = None
    conditions: list[dict[str, Any]] = field(default_factory=list)
    network: Mapping[str, Any]
    membership: Mapping[str, Any] = field(default_factory=dict)
    started: float
    updated: float

    def to_dict(self) -> dict[str, Any]:
        """As plain values; NaN becomes None, for JSON."""
        values = asdict(self)
        values["addresses"] = list(self.addresses)
        values["loss"] = self.loss if math.isfinite(self.loss) else None
        values["metrics"] = {
            name: value if math.isfinite(value) else None for name, value in self.metrics.items()
        }
        return values


def write_status(path: Path, status: PeerStatus) -> None:
    """Replace the status file; readers never see half of it."""
    write_atomically(path, json.dumps(status.to_dict()).encode(), durable=False)


def read_status(path: Path) -> dict[str, Any]:
    """Read a status file.

    Raises
    ------
    HomeError
        If there is none, or it is damaged or cannot be read.
    """
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise HomeError(
            f"there is no status in {path.parent}", remedy="Start the peer: gossipfl peer run --home DIR."
        ) from None
    except OSError as error:
        raise HomeError(f"{path} cannot be read", got=error.strerror) from error
    except ValueError as error:
        raise HomeError(f"{path} is damaged", got=str(error), remedy="Restart the peer.") from error
    if not isinstance(values, dict):
        raise HomeError(f"{path} is damaged", got=type(values).__name__, remedy="Restart the peer.")
    return values

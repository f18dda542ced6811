"""A peer's status, for the terminal, the status file and programs that embed a peer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from gossipfl.errors import HomeError
from gossipfl.files import write_atomically
from gossipfl.peer.permission import Permission
from topology.parsing import json_of

__all__ = ["PeerStatus", "read_status", "write_status"]

_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "tuple": list,
    "list": list,
    "Mapping": dict,
    "Permission": dict,
}


@dataclass(frozen=True, kw_only=True)
class PeerStatus:
    """The state of a peer at one moment.

    Parameters
    ----------
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
        Loss of the latest training batches; NaN before the first.
    divergences : int
        How often in this start the model held NaN or an infinity, and was reset to the last good one.
    metrics : mapping of str to float
        Metrics of the latest evaluation, of the model that is used; empty before the first.
    shared_metrics : mapping of str to float, optional
        The same before fine-tuning, where settings ask for that.
    saved_age : int
        Age of the last checkpoint.
    neighbours, connected : int
        Peers in the view; peers with a live connection.
    peers : list
        These peers, from `Neighbours.to_values`.
    permission : Permission
        Whether the peer may train and merge now: what neither the operator nor the policy forbids.
    policy : mapping, optional
        Its decision and the conditions behind it, as plain values; None if no condition is set.
    gate : mapping, optional
        Decisions of the gate by reason, and quarantined peers, as plain values.
    flow : mapping, optional
        For a peer whose messages are paid for with tokens: the flow, and the tokens in each account.
    rounds : mapping, optional
        For a peer that learns in rounds: algorithm, progress and missing rows, as plain values.
    conditions : list
        Unusual conditions, from `Conditions.to_values`.
    network : mapping
        `NetworkCounters` as plain values.
    membership : mapping
        The door, the peers that it refused, and those that refused this peer, as plain values.
    estimates : mapping, optional
        Estimates of the whole network, from `Estimates.to_dict`.
    keyboard : mapping, optional
        For a peer that is a keyboard: how much of what was typed is stored, and how much the owner's words weigh.
    page : str, optional
        Address of the peer's page on its own machine.
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
    shared_metrics: Mapping[str, float] | None = None
    saved_age: int
    neighbours: int
    connected: int
    peers: list[dict[str, Any]] = field(default_factory=list)
    permission: Permission = field(default_factory=Permission)
    policy: Mapping[str, Any] | None = None
    rounds: Mapping[str, Any] | None = None
    gate: Mapping[str, Any] | None = None
    flow: Mapping[str, Any] | None = None
    conditions: list[dict[str, Any]] = field(default_factory=list)
    network: Mapping[str, Any]
    membership: Mapping[str, Any] = field(default_factory=dict)
    estimates: Mapping[str, Any] | None = None
    keyboard: Mapping[str, Any] | None = None
    page: str | None = None
    started: float
    updated: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, with None in place of NaN."""
        values = asdict(self)
        values["addresses"] = list(self.addresses)
        values["loss"] = self.loss if math.isfinite(self.loss) else None
        for key in ("metrics", "shared_metrics"):
            told = values[key]
            values[key] = told and {
                name: value if math.isfinite(value) else None for name, value in told.items()
            }
        return values


def write_status(path: Path, status: PeerStatus) -> None:
    """Replace the status file atomically."""
    write_atomically(path, json.dumps(status.to_dict()).encode(), durable=False)


def read_status(path: Path, *, whole: bool = True) -> dict[str, Any]:
    """Read a status file.

    Parameters
    ----------
    path : Path
    whole : bool
        Whether it must have all that a status of this version has.

    Raises
    ------
    HomeError
        There is none, or it is damaged or cannot be read.
    """
    try:
        values = json_of(path.read_bytes())
    except FileNotFoundError:
        raise HomeError(
            f"there is no status file in {path.parent}",
            remedy=f"Start the peer: gossipfl peer run --home {path.parent}.",
        ) from None
    except OSError as error:
        raise HomeError(f"{path} cannot be read", got=error.strerror) from error
    except ValueError as error:
        raise HomeError(f"{path} is damaged", got=str(error), remedy="Restart the peer.") from error
    wrong = "no table" if not isinstance(values, dict) else next(_wrong_values(values, whole=whole), None)
    if wrong is not None:
        raise HomeError(f"{path} is damaged", got=wrong, remedy="Restart the peer.")
    return dict(values)


def _wrong_values(values: Mapping[str, Any], *, whole: bool) -> Iterator[str]:
    """What is missing, or of another kind than in any status."""
    for each in fields(PeerStatus):
        declared, value = str(each.type), values.get(each.name)
        if each.name not in values:
            if (
                (whole or each.name == "peer_id")
                and each.default is MISSING
                and each.default_factory is MISSING
            ):
                yield f"no {each.name}"
            continue
        kind, _, entry = declared.partition("[")
        may_be_none = "None" in declared or each.name == "loss"  # NaN is written as null
        if value is None and may_be_none:
            continue
        if not isinstance(value, _KINDS[kind.split()[0]]):
            yield f"{each.name}: {type(value).__name__}"
        elif isinstance(value, list):
            wanted = dict if entry.startswith("dict") else str
            yield from (
                f"{each.name}: a list with {type(one).__name__}"
                for one in value
                if not isinstance(one, wanted)
            )

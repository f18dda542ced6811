"""Settings of peers that learn in rounds, all in step, instead of gossiping each at its own times."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gossipfl.settings.table import Table

__all__ = ["RoundsSettings"]


class RoundsSettings(Table):
    """Learning in rounds with all peers in step; what is above ``roster_file`` must be the same for all."""

    algorithm: str | None = None
    """round-based algorithm, e.g. d_psgd; gossip learning if there is none"""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """parameters of the algorithm, each also as a flag of its own"""
    topology: str | None = None
    """topology, e.g. ring:8 (see gossipfl topology list)"""
    roster: list[str] = Field(default_factory=list)
    """all members in order of their numbers: peer ids, or addresses that end in /p2p/PEER_ID"""
    masked_sums: bool = False
    """whether a peer learns only the weighted sum of its neighbours' rows, and no single one"""
    sums_range: float = Field(64.0, ge=2.0**-20, le=2.0**20)
    """largest magnitude of a number in a masked sum, rounded up to a power of two"""
    seed: int = Field(0, ge=0)
    """seed of the algorithm's draws, e.g. for compression"""
    roster_file: str | None = None
    """file with the roster instead, a member a line; relative to the peer's directory"""
    deadline: float = Field(10.0, gt=0)
    """seconds an exchange waits for neighbours before it goes on without them"""
    period: float = Field(0.0, ge=0)
    """shortest time of a round, seconds"""
    gathering: float = Field(60.0, ge=0)
    """seconds the first round waits for all members of the roster"""
    patience: int = Field(3, gt=0)
    """rows missed in a row after which a neighbour is no longer waited for"""
    ahead: int = Field(4, gt=0, le=64)
    """number of rounds ahead of the peer's own for which rows are kept"""
    stop_after: int | None = Field(None, gt=0)
    """rounds after which the peer is done; never, if unset"""

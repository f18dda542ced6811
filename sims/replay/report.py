"""Distances between replayed models and saved ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gossipfl.peer.store.checkpoint import Checkpoint
from gossipfl.training import Nodes
from sims.replay.lives import RecordedPeer

__all__ = ["PeerComparison", "ReplayReport", "compare"]


@dataclass(frozen=True, kw_only=True)
class PeerComparison:
    """A peer's checkpoint compared with its replayed model.

    Parameters
    ----------
    peer : str
    home : Path
    events : int
        Events of this peer that were replayed, over all its starts.
    left_out : int
        Recorded events from which no saved model descends.
    starts : int
        How often the peer had been started.
    max_absolute : float
        Largest difference of a parameter; NaN where there is no checkpoint.
    max_relative : float
        The same as a share of the checkpoint's largest parameter.
    identical : bool
        Whether row, optimiser state, age, step and what the algorithm keeps are equal to the last bit.
    verdict : str
        ``identical``, ``within tolerance``, ``differs`` or ``no checkpoint``.
    """

    peer: str
    home: Path
    events: int
    left_out: int
    starts: int
    max_absolute: float
    max_relative: float
    identical: bool
    verdict: str


@dataclass(frozen=True, kw_only=True)
class ReplayReport:
    """The outcome of a replay.

    Parameters
    ----------
    batched : bool
    tolerance : float
        Largest relative difference allowed; 0 for a replay a row at a time.
    events : int
        Events replayed.
    waves : int
        Into how many waves they were compiled; 0 a row at a time.
    seconds : float
        Wall time of the computation, reading not included.
    peers : tuple of PeerComparison
    notes : tuple of str
        Possible explanations of a difference.
    """

    batched: bool
    tolerance: float
    events: int
    waves: int
    seconds: float
    peers: tuple[PeerComparison, ...]
    notes: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether every saved model was reproduced within the tolerance."""
        return all(peer.verdict != "differs" for peer in self.peers)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        values = asdict(self)
        for peer in values["peers"]:
            peer["home"] = str(peer["home"])
            if peer["verdict"] == "no checkpoint":
                peer["max_absolute"] = peer["max_relative"] = None
        return {"equal": self.equal, **values}


def compare(
    saved: Checkpoint | None,
    replayed: Nodes | None,
    *,
    peer: RecordedPeer,
    events: int,
    left_out: int,
    tolerance: float,
) -> PeerComparison:
    """Compare one peer's checkpoint (None if it never saved one) with its replayed model."""
    absolute = relative = float("nan")
    identical, verdict = False, "no checkpoint"
    if saved is not None and replayed is not None:
        pairs = [(saved.nodes.rows, replayed.rows), (saved.nodes.models, replayed.models)]
        absolute = max(float((one.double() - other.double()).abs().max()) for one, other in pairs)
        largest = max(float(one.abs().max()) for one, _ in pairs)
        relative = absolute / max(largest, torch.finfo(torch.float32).tiny)
        counted = torch.equal(saved.nodes.ages, replayed.ages) and torch.equal(
            saved.nodes.steps, replayed.steps
        )
        identical = (
            counted
            and torch.equal(saved.nodes.rows, replayed.rows)
            and torch.equal(saved.nodes.optimiser_state, replayed.optimiser_state)
            and saved.nodes.auxiliary.keys() == replayed.auxiliary.keys()
            and all(
                torch.equal(each, replayed.auxiliary[name]) for name, each in saved.nodes.auxiliary.items()
            )
        )
        close = counted and relative <= tolerance and tolerance > 0
        verdict = "identical" if identical else "within tolerance" if close else "differs"
    return PeerComparison(
        peer=peer.peer,
        home=peer.home.directory,
        events=events,
        left_out=left_out,
        starts=len(peer.lives),
        max_absolute=absolute,
        max_relative=relative,
        identical=identical,
        verdict=verdict,
    )

"""Replay: recorded runs of real peers, recomputed and compared with the models they saved."""

from __future__ import annotations

from sims.replay.replay import BATCHED_TOLERANCE, replay
from sims.replay.report import PeerComparison, ReplayReport

__all__ = ["BATCHED_TOLERANCE", "PeerComparison", "ReplayReport", "replay"]

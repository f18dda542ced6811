"""Replay: what real peers recorded, computed again and compared with what they saved."""

from __future__ import annotations

from sims.replay.replay import BATCHED_TOLERANCE, replay
from sims.replay.report import PeerComparison, ReplayReport

__all__ = ["BATCHED_TOLERANCE", "PeerComparison", "ReplayReport", "replay"]

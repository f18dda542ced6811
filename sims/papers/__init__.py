"""Published results measured again: claims, the sweeps that measure them, and the page that compares."""

from __future__ import annotations

from sims.papers.claim import Claim, Finding, reproduce
from sims.papers.claims import CLAIMS

__all__ = ["CLAIMS", "Claim", "Finding", "reproduce"]

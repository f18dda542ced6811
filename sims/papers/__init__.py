"""Published results measured again: claims, the sweeps that measure them, and the page that compares."""

from __future__ import annotations

from sims.papers.agreement import BASE_GRAPHS, BIAS_CORRECTION, CHOCO_GOSSIP
from sims.papers.claim import Claim, Finding, reproduce
from sims.papers.learning import EPIDEMIC_LEARNING, GOSSIP_LEARNING, QUASI_GLOBAL_MOMENTUM, RELAY_SGD
from sims.papers.robustness import DUMBBELL

__all__ = ["CLAIMS", "Claim", "Finding", "reproduce"]

CLAIMS: tuple[Claim, ...] = (
    EPIDEMIC_LEARNING,
    CHOCO_GOSSIP,
    GOSSIP_LEARNING,
    BASE_GRAPHS,
    BIAS_CORRECTION,
    QUASI_GLOBAL_MOMENTUM,
    RELAY_SGD,
    DUMBBELL,
)

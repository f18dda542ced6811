"""Mixing sequences: one mixing matrix a round, fixed, periodic or random.

Every function returns a `MixingSequence`. For random sequences, ``neighbours(t, i)`` and ``row(t, i)`` are
functions of (seed, t, i): a peer that knows the seed finds its partners without a coordinator.
"""

from topology.sequences.base import base, simple_base
from topology.sequences.exponential import k_peer_exponential, one_peer_exponential, static
from topology.sequences.grids import hyper_hypercube, moshpit
from topology.sequences.sequence import MixingSequence

__all__ = [
    "MixingSequence",
    "base",
    "hyper_hypercube",
    "k_peer_exponential",
    "moshpit",
    "one_peer_exponential",
    "simple_base",
    "static",
]

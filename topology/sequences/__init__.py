"""Mixing sequences: one mixing matrix a round, fixed, periodic or random.

Every function returns a `MixingSequence`. For random sequences, ``neighbours(t, i)`` and ``row(t, i)`` are
functions of (seed, t, i): a peer that knows the seed finds its partners without a coordinator.
"""

from topology.sequences.adaptive import adaptive_matching
from topology.sequences.base import base, simple_base
from topology.sequences.colouring import matching_decomposition
from topology.sequences.epidemic import epidemic
from topology.sequences.equi import equi_dynamic, equi_static
from topology.sequences.exponential import k_peer_exponential, one_peer_exponential, static
from topology.sequences.given import in_turn
from topology.sequences.grids import hyper_hypercube, moshpit
from topology.sequences.matcha import activation_probabilities, matcha
from topology.sequences.matching import random_matching
from topology.sequences.pushed import pushed
from topology.sequences.sequence import MixingSequence
from topology.sequences.shuffled import shuffled

__all__ = [
    "MixingSequence",
    "activation_probabilities",
    "adaptive_matching",
    "base",
    "epidemic",
    "equi_dynamic",
    "equi_static",
    "hyper_hypercube",
    "in_turn",
    "k_peer_exponential",
    "matcha",
    "matching_decomposition",
    "moshpit",
    "one_peer_exponential",
    "pushed",
    "random_matching",
    "shuffled",
    "simple_base",
    "static",
]

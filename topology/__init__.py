"""Graphs for decentralised learning, and their effect on information.

The parts are `topology.graphs`, `topology.mixing`, `topology.sequences` and `topology.spectrum` (what a
graph is and does), `topology.sampling` (overlays that peers maintain), `topology.cost` and
`topology.advice` (what it costs, and which to deploy), `topology.catalogue` and `topology.drawing` (all of
them by name, and in pictures). Everything is imported on first use, so ``import topology`` is cheap.

Examples
--------
>>> import topology
>>> graph = topology.graphs.ring(16)
>>> W = topology.mixing.metropolis_hastings(graph)
>>> round(topology.spectrum.spectral_gap(W), 6)
0.050747
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.lazy import lazy_attributes

if TYPE_CHECKING:
    from topology import (
        advice,
        catalogue,
        cost,
        drawing,
        errors,
        graphs,
        mixing,
        sampling,
        sequences,
        spectrum,
    )
    from topology.advice import advise
    from topology.graphs import Topology
    from topology.sequences import MixingSequence

__all__ = [
    "MixingSequence",
    "Topology",
    "advice",
    "advise",
    "catalogue",
    "cost",
    "drawing",
    "errors",
    "graphs",
    "mixing",
    "sampling",
    "sequences",
    "spectrum",
]

__getattr__, _ = lazy_attributes(
    __name__,
    {
        **{name: f"topology.{name}" for name in __all__ if name.islower()},
        "MixingSequence": "topology.sequences",
        "Topology": "topology.graphs",
        "advise": "topology.advice",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Graphs for decentralised learning, and what each does to information.

The parts are `topology.graphs`, `topology.mixing`, `topology.sequences` and `topology.spectrum` (what a
graph is and does), `topology.sampling` (overlays that peers maintain), `topology.cost` and
`topology.advice` (what it costs, and which to deploy), `topology.catalogue` and `topology.drawing` (all of
them by name, and in pictures). Everything is imported on first use, so that ``import topology`` costs
nothing.

Examples
--------
>>> import topology
>>> graph = topology.graphs.ring(16)
>>> W = topology.mixing.metropolis_hastings(graph)
>>> round(topology.spectrum.spectral_gap(W), 6)
0.050747
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

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

_MODULES = frozenset(
    {
        "advice",
        "catalogue",
        "cost",
        "drawing",
        "errors",
        "graphs",
        "mixing",
        "sampling",
        "sequences",
        "spectrum",
    }
)
_MEMBERS = {
    "MixingSequence": "topology.sequences",
    "Topology": "topology.graphs",
    "advise": "topology.advice",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"topology.{name}")
    if name in _MEMBERS:
        return getattr(import_module(_MEMBERS[name]), name)
    raise AttributeError(f"module 'topology' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""The families of topologies: what the command line lists, the gallery draws and expressions name."""

from __future__ import annotations

from topology.catalogue.family import Family
from topology.catalogue.graph_families import GRAPH_FAMILIES
from topology.catalogue.sequence_families import SEQUENCE_FAMILIES

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = GRAPH_FAMILIES + SEQUENCE_FAMILIES

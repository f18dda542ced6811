"""Graphs of the field, each in one line, as immutable `Topology` objects.

Functions that draw at random take an explicit ``seed``; functions that cannot give what was asked raise an
error of `topology.errors` that says how to mend it.
"""

from topology.graphs.assemble import largest_component
from topology.graphs.classic import complete, exponential, hypercube, path, ring, star, torus, tree
from topology.graphs.regular import random_regular
from topology.graphs.topology import Topology

__all__ = [
    "Topology",
    "complete",
    "exponential",
    "hypercube",
    "largest_component",
    "path",
    "random_regular",
    "ring",
    "star",
    "torus",
    "tree",
]

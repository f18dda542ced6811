"""Graphs of the field, each in one line, as immutable `Topology` objects.

Functions that draw at random take an explicit ``seed``; functions that cannot build what was asked for raise an
error of `topology.errors` that says how to fix it.
"""

from topology.graphs.assemble import largest_component
from topology.graphs.classic import complete, exponential, hypercube, path, ring, star, torus, tree
from topology.graphs.cliques import clique_skew, d_cliques
from topology.graphs.communities import dumbbell, two_worlds
from topology.graphs.convert import from_edges, from_networkx
from topology.graphs.files import from_file
from topology.graphs.internet import internet, internet_names
from topology.graphs.random import erdos_renyi, geometric, scale_free, small_world
from topology.graphs.regular import random_regular
from topology.graphs.topology import Topology

__all__ = [
    "Topology",
    "clique_skew",
    "complete",
    "d_cliques",
    "dumbbell",
    "erdos_renyi",
    "exponential",
    "from_edges",
    "from_file",
    "from_networkx",
    "geometric",
    "hypercube",
    "internet",
    "internet_names",
    "largest_component",
    "path",
    "random_regular",
    "ring",
    "scale_free",
    "small_world",
    "star",
    "torus",
    "tree",
    "two_worlds",
]

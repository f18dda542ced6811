"""Pictures of topologies: networks, curves, and sequences at work.

Needs matplotlib; nothing opens a window.
"""

from topology.drawing.animation import animate_mixing
from topology.drawing.curves import DegreeAndGap, plot_consensus_curves, plot_degree_against_gap
from topology.drawing.layouts import layout
from topology.drawing.networks import draw_network
from topology.drawing.style import save

__all__ = [
    "DegreeAndGap",
    "animate_mixing",
    "draw_network",
    "layout",
    "plot_consensus_curves",
    "plot_degree_against_gap",
    "save",
]

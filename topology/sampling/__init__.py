"""Overlays that real networks maintain: peer sampling as pure state machines, and whole networks of them.

`cyclon` and `hyparview` are what a peer runs. `cyclon_arrays` and `hyparview_arrays` are networks of such
peers as arrays, with the same outcome; `measures` says what an overlay is worth. Nothing here imports more
than NumPy, except `measures`, which needs SciPy and is therefore not imported with the package.
"""

from topology.sampling import cyclon, hyparview
from topology.sampling.cyclon_arrays import CyclonOverlay, cyclon_overlay, cyclon_period, draw_cyclon_period
from topology.sampling.hyparview_arrays import HyParViewOverlay, hyparview_overlay, hyparview_period
from topology.sampling.protocol import Draw, Envelope, Step
from topology.sampling.settings import CyclonSettings, HyParViewSettings

__all__ = [
    "CyclonOverlay",
    "CyclonSettings",
    "Draw",
    "Envelope",
    "HyParViewOverlay",
    "HyParViewSettings",
    "Step",
    "cyclon",
    "cyclon_overlay",
    "cyclon_period",
    "draw_cyclon_period",
    "hyparview",
    "hyparview_overlay",
    "hyparview_period",
]

"""Overlays that real networks maintain: peer-sampling protocols, and whole networks of peers that run them.

`cyclon` and `hyparview` are protocols without input and output, one state a peer, behind the seam
`SamplingProtocol`. `cyclon_arrays` and `hyparview_arrays` are networks of such peers as arrays: given the same
draws, every step leaves them in the states of the protocols, which tests show; a hundred thousand peers are beyond
one state at a time. `measures` holds the properties of an overlay. Nothing here imports more than NumPy, except
`measures`, which needs SciPy and is therefore not imported with the package.
"""

from topology.sampling import cyclon, hyparview
from topology.sampling.cyclon_arrays import CyclonOverlay, cyclon_overlay, cyclon_period, draw_cyclon_period
from topology.sampling.hyparview_arrays import HyParViewOverlay, hyparview_overlay, hyparview_period
from topology.sampling.protocol import Draw, Envelope, SamplingProtocol, Step
from topology.sampling.settings import CyclonSettings, HyParViewSettings

__all__ = [
    "CyclonOverlay",
    "CyclonSettings",
    "Draw",
    "Envelope",
    "HyParViewOverlay",
    "HyParViewSettings",
    "SamplingProtocol",
    "Step",
    "cyclon",
    "cyclon_overlay",
    "cyclon_period",
    "draw_cyclon_period",
    "hyparview",
    "hyparview_overlay",
    "hyparview_period",
]

"""Overlays that real networks maintain: peer-sampling protocols, and whole networks of peers that run them.

`brahms`, `cyclon` and `hyparview` are protocols without input and output, one state a peer, behind the seam
`SamplingProtocol`. `brahms_arrays` and the like are networks of such peers as arrays: given the same draws, every
step leaves them in the states of the protocols, which tests show; a hundred thousand peers are beyond one state at
a time. `measures` holds the properties of an overlay. Nothing here imports more than NumPy, except
`measures`, which needs SciPy and is therefore not imported with the package.
"""

from topology.sampling import brahms, cyclon, hyparview
from topology.sampling.brahms_arrays import BrahmsOverlay, brahms_overlay, brahms_period, draw_brahms_period
from topology.sampling.cyclon_arrays import CyclonOverlay, cyclon_overlay, cyclon_period, draw_cyclon_period
from topology.sampling.hyparview_arrays import HyParViewOverlay, hyparview_overlay, hyparview_period
from topology.sampling.protocol import Draw, Envelope, SamplingProtocol, Step
from topology.sampling.settings import BrahmsSettings, CyclonSettings, HyParViewSettings

__all__ = [
    "BrahmsOverlay",
    "BrahmsSettings",
    "CyclonOverlay",
    "CyclonSettings",
    "Draw",
    "Envelope",
    "HyParViewOverlay",
    "HyParViewSettings",
    "SamplingProtocol",
    "Step",
    "brahms",
    "brahms_overlay",
    "brahms_period",
    "cyclon",
    "cyclon_overlay",
    "cyclon_period",
    "draw_brahms_period",
    "draw_cyclon_period",
    "hyparview",
    "hyparview_overlay",
    "hyparview_period",
]

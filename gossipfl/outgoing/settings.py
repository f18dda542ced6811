"""The pipeline of outgoing rows, made from settings."""

from __future__ import annotations

from collections.abc import Sequence

from gossipfl.codecs import Compressor
from gossipfl.outgoing.mask import SharedMask
from gossipfl.outgoing.noise import GaussianNoise
from gossipfl.outgoing.norm import Clip
from gossipfl.outgoing.pipeline import Pipeline
from gossipfl.outgoing.transformation import Transformation
from gossipfl.settings.outgoing import ClipSettings, MaskSettings, NoiseSettings, OutgoingSettings

__all__ = ["pipeline_of"]


def pipeline_of(outgoing: Sequence[OutgoingSettings], *, codec: Compressor | None) -> Pipeline:
    """Make the pipeline that tables ``[[outgoing]]`` describe.

    Parameters
    ----------
    outgoing : sequence of OutgoingSettings
        In order.
    codec : Compressor, optional
        The one they name, or the short form does.
    """
    transformations: list[Transformation] = []
    for each in outgoing:
        match each:
            case ClipSettings():
                transformations.append(Clip(each.norm))
            case NoiseSettings():
                transformations.append(GaussianNoise(each.deviation, recorded=each.recorded))
            case MaskSettings():
                transformations.append(SharedMask(each.share))
    return Pipeline(transformations=tuple(transformations), codec=codec)

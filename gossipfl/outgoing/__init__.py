"""The pipeline of outgoing rows: an ordered list of transformations, and a codec at the end."""

from gossipfl.outgoing.mask import SharedMask
from gossipfl.outgoing.noise import GaussianNoise, secret_normals, secret_words
from gossipfl.outgoing.norm import Clip
from gossipfl.outgoing.pipeline import IN_FULL, Pipeline, restored
from gossipfl.outgoing.settings import pipeline_of
from gossipfl.outgoing.transformation import Draws, Effect, Transformation

__all__ = [
    "IN_FULL",
    "Clip",
    "Draws",
    "Effect",
    "GaussianNoise",
    "Pipeline",
    "SharedMask",
    "Transformation",
    "pipeline_of",
    "restored",
    "secret_normals",
    "secret_words",
]

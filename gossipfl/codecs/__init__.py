"""Codecs between a shared row and named tensors of bytes; pure, with no message and no network."""

from gossipfl.codecs.chunk_top import ChunkTop
from gossipfl.codecs.codec import Codec, Compressor
from gossipfl.codecs.dense import BFLOAT16, FLOAT16, FLOAT32, DenseCodec
from gossipfl.codecs.draws import exchange_keys, message_key
from gossipfl.codecs.fp4 import FP4
from gossipfl.codecs.int8 import Int8
from gossipfl.codecs.payload import (
    DTYPES,
    PayloadTensor,
    TensorHeader,
    TensorSpec,
    payload_of,
    require_admitted,
    tensor_of,
)
from gossipfl.codecs.qsgd import QSGD
from gossipfl.codecs.refusal import is_finite
from gossipfl.codecs.registry import CODECS, codec, model_codec
from gossipfl.codecs.residues import Residues, wrapped
from gossipfl.codecs.sign import ScaledSign
from gossipfl.codecs.sparse import RandomK, TopK

__all__ = [
    "BFLOAT16",
    "CODECS",
    "DTYPES",
    "FLOAT16",
    "FLOAT32",
    "FP4",
    "QSGD",
    "ChunkTop",
    "Codec",
    "Compressor",
    "DenseCodec",
    "Int8",
    "PayloadTensor",
    "RandomK",
    "Residues",
    "ScaledSign",
    "TensorHeader",
    "TensorSpec",
    "TopK",
    "codec",
    "exchange_keys",
    "is_finite",
    "message_key",
    "model_codec",
    "payload_of",
    "require_admitted",
    "tensor_of",
    "wrapped",
]

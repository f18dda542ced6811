"""Codecs by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from gossipfl.codecs.compressor import Compressor
from gossipfl.codecs.dense import BFLOAT16, FLOAT16, FLOAT32, DenseCodec
from gossipfl.codecs.int8 import Int8
from gossipfl.codecs.qsgd import QSGD
from gossipfl.codecs.sign import ScaledSign
from gossipfl.codecs.sparse import RandomK, TopK
from gossipfl.errors import SettingError, UnknownCodec
from gossipfl.settings.codec_names import CodecName, parse_codec_name, parse_model_codec_name

__all__ = ["CODECS", "codec", "model_codec"]

#: The bundled codecs without parameters.
CODECS: Mapping[str, Compressor] = MappingProxyType(
    {each.name: each for each in (FLOAT32, BFLOAT16, FLOAT16)}
)

_FAMILIES: Mapping[str, Callable[..., Compressor]] = MappingProxyType(
    {
        "float32": lambda: FLOAT32,
        "bfloat16": lambda: BFLOAT16,
        "float16": lambda: FLOAT16,
        "int8": lambda bucket=256: Int8(bucket=bucket),
        "qsgd": lambda levels, bucket=None: QSGD(levels=levels, bucket=bucket),
        "qsgd-shrunk": lambda levels, bucket=None: QSGD(levels=levels, bucket=bucket, shrunk=True),
        "sign": lambda bucket=None: ScaledSign(bucket=bucket),
        "top": TopK,
        "random": RandomK,
        "random-scaled": lambda share: RandomK(share, scaled=True),
    }
)
_LEAST_CONTRACTION = 0.5


def codec(name: str) -> Compressor:
    """Give the bundled codec of this name, e.g. ``float32``, ``top:0.01`` or ``qsgd:16:128``.

    Raises
    ------
    UnknownCodec
        No bundled codec has this name.
    """
    try:
        return _made(parse_codec_name(name))
    except SettingError as error:
        raise _unknown(error) from None


def model_codec(name: str, *, size: int) -> Compressor:
    """Give the bundled codec of this name, if what it makes of a whole model of ``size`` numbers is near it.

    What a codec leaves out of a model is lost where nothing sends it later. So it must not be more, in
    expectation, than half of the model's square norm.

    Raises
    ------
    UnknownCodec
        No bundled codec has this name, or it needs error feedback, or is too coarse.
    """
    try:
        made = _made(parse_model_codec_name(name))
    except SettingError as error:
        raise _unknown(error) from None
    contraction = made.contraction(size)
    if isinstance(made, DenseCodec) or (contraction is not None and contraction >= _LEAST_CONTRACTION):
        return made
    raise UnknownCodec(
        f"{made.name} may change a model of {size} numbers by more than half of its square norm",
        remedy="Use more levels or smaller buckets, e.g. qsgd:16:128.",
    )


def _made(name: CodecName) -> Compressor:
    return _FAMILIES[name.family](*name.parameters)


def _unknown(error: SettingError) -> UnknownCodec:
    return UnknownCodec(error.what, expected=error.expected, got=error.got, remedy=error.remedy)

"""Codecs by name: bundled ones, those of installed packages, and a user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gossipfl.codecs.chunk_top import ChunkTop
from gossipfl.codecs.codec import Compressor
from gossipfl.codecs.dense import BFLOAT16, FLOAT16, FLOAT32, DenseCodec
from gossipfl.codecs.fp4 import FP4
from gossipfl.codecs.int8 import Int8
from gossipfl.codecs.qsgd import QSGD
from gossipfl.codecs.sign import ScaledSign
from gossipfl.codecs.sparse import RandomK, TopK
from gossipfl.errors import SettingError, UnknownCodec
from gossipfl.settings.codec_names import GROUP, CodecName, parse_codec_name, parse_model_codec_name
from topology.plugins import is_object_name, load_object, load_offered, source_of

__all__ = ["CODECS", "codec", "model_codec", "own_source"]

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
        "fp4": lambda bucket=128: FP4(bucket=bucket),
        "qsgd": lambda levels, bucket=None: QSGD(levels=levels, bucket=bucket),
        "qsgd-shrunk": lambda levels, bucket=None: QSGD(levels=levels, bucket=bucket, shrunk=True),
        "sign": lambda bucket=None: ScaledSign(bucket=bucket),
        "top": TopK,
        "chunk-top": ChunkTop,
        "random": RandomK,
        "random-scaled": lambda share: RandomK(share, scaled=True),
    }
)
_LEAST_CONTRACTION = 0.5
_MEMBERS = ("name", "encode", "expected", "decode", "unbiased", "contraction", "compress", "payload_bytes")


def codec(name: str) -> Compressor:
    """Give the codec of this name, e.g. ``float32``, ``top:0.01``, ``qsgd:16:128`` or ``package.module:Class:16``.

    Raises
    ------
    UnknownCodec
        No codec has this name, or one of a user's own cannot be made.
    """
    try:
        return _made(parse_codec_name(name))
    except SettingError as error:
        raise _unknown(error) from None


def model_codec(name: str, *, size: int, own: bool = False) -> Compressor:
    """Return the codec of this name, if it approximates whole models of ``size`` numbers closely.

    What a codec leaves out of a model is lost where nothing sends it later. So it must not be more, in
    expectation, than half of the model's square norm.

    Parameters
    ----------
    name : str
    size : int
    own : bool
        Whether it may be a user's own or an installed package's; not if the name came in a frame, for a stranger
        must not choose what is imported.

    Raises
    ------
    UnknownCodec
        No such codec has this name, or it needs error feedback, or is too coarse.
    """
    try:
        parsed = parse_model_codec_name(name)
    except SettingError as error:
        raise _unknown(error) from None
    if parsed.family not in _FAMILIES and not own:
        raise UnknownCodec(
            "no bundled codec has this name", expected=" or ".join(_FAMILIES), got=f"{name[:64]!a}"
        )
    made = _made(parsed)
    contraction = made.contraction(size)
    if isinstance(made, DenseCodec) or (contraction is not None and contraction >= _LEAST_CONTRACTION):
        return made
    raise UnknownCodec(
        f"{made.name} may change a model of {size} numbers by more than half of its square norm",
        remedy="Use more levels or smaller buckets, e.g. qsgd:16:128.",
    )


def own_source(codec: Compressor) -> str | None:
    """Text of the module that defines a user's own codec; None for those of this package.

    Raises
    ------
    UnknownCodec
        If there is no such text.
    """
    declared = type(codec)
    if declared.__module__.startswith("gossipfl."):
        return None
    return source_of(declared, unusable=UnknownCodec)


def _made(name: CodecName) -> Compressor:
    if name.family in _FAMILIES:
        return _FAMILIES[name.family](*name.parameters)
    return _own(name)


def _own(name: CodecName) -> Compressor:
    """A codec from outside this package: a class that is called with the numbers in its name."""
    written = ":".join([name.family, *map(str, name.parameters)])
    kind: Callable[..., Any]
    if is_object_name(name.family):
        kind = load_object(name.family, kind="class", unknown=UnknownCodec, unusable=UnknownCodec)
    else:
        kind = load_offered(GROUP, name.family, kind="codec", unusable=UnknownCodec)
    try:
        made = kind(*name.parameters)
    except Exception as error:
        raise UnknownCodec(
            f"the codec {written} cannot be made", got=f"{type(error).__name__}: {error}"
        ) from error
    missing = [member for member in _MEMBERS if not hasattr(made, member)]
    if missing:
        raise UnknownCodec(
            f"{name.family} is not a codec", expected=f"{', '.join(_MEMBERS)}", got=f"no {', '.join(missing)}"
        )
    if made.name != written:
        raise UnknownCodec(
            f"the codec {written} has another name", expected=f"name = {written!r}", got=repr(made.name)
        )
    codec: Compressor = made
    return codec


def _unknown(error: SettingError) -> UnknownCodec:
    return UnknownCodec(error.what, expected=error.expected, got=error.got, remedy=error.remedy)

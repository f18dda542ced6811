"""Codecs by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gossipfl.codecs.codec import Codec
from gossipfl.codecs.dense import BFLOAT16, FLOAT16, FLOAT32
from gossipfl.errors import UnknownCodec

__all__ = ["CODECS", "codec"]

#: The bundled codecs. A peer names those it reads one by one, so one's own needs no entry here.
CODECS: Mapping[str, Codec] = MappingProxyType({each.name: each for each in (FLOAT32, BFLOAT16, FLOAT16)})


def codec(name: str) -> Codec:
    """Give the bundled codec of this name.

    Raises
    ------
    UnknownCodec
        No bundled codec has this name.
    """
    try:
        return CODECS[name]
    except KeyError:
        raise UnknownCodec(
            "no bundled codec has this name",
            expected=" or ".join(CODECS),
            came=f"{name[:64]!a}",
            remedy="Name one of these, or pass a Codec of your own.",
        ) from None

"""Names of codecs in settings, scenarios and messages: ``FAMILY[:PARAMETER[:PARAMETER]]``.

Named here, without torch, so that a settings file can be checked; `gossipfl.codecs` implements them, and installed
packages offer others by entry points of the group ``gossipfl.codecs``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import AfterValidator

from gossipfl.errors import GossipflError, SettingError
from topology.plugins import is_object_name, offered
from topology.spelling import did_you_mean

__all__ = [
    "AUTO",
    "CODEC_FAMILIES",
    "GROUP",
    "CodecFamily",
    "CodecName",
    "ExchangeCodec",
    "KnownCodec",
    "ModelCodec",
    "accepted",
    "parse_codec_name",
    "parse_model_codec_name",
    "require_model_codec",
]

GROUP = "gossipfl.codecs"
"""Entry point group in which installed packages offer codecs."""

_INTEGER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_FRACTION = re.compile(r"[01]?\.[0-9]{1,17}|[0-9](?:\.[0-9]{1,17})?e-[0-9]{1,3}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecFamily:
    """Codecs that differ in parameters only.

    Parameters
    ----------
    form : str
        How its names are written.
    least, most : int
        How many parameters follow the family's name.
    fractions : bool
        Whether the first parameter may be a fraction.
    keeps_models : bool
        Whether it approximates a whole model closely. What the others leave out must be sent later, as algorithms
        with error feedback do.
    """

    form: str
    least: int = 0
    most: int = 0
    fractions: bool = False
    keeps_models: bool = True


CODEC_FAMILIES: Mapping[str, CodecFamily] = MappingProxyType(
    {
        "float32": CodecFamily(form="float32"),
        "bfloat16": CodecFamily(form="bfloat16"),
        "float16": CodecFamily(form="float16"),
        "int8": CodecFamily(form="int8[:BUCKET]", most=1),
        "fp4": CodecFamily(form="fp4[:BUCKET]", most=1, keeps_models=False),
        "qsgd": CodecFamily(form="qsgd:LEVELS[:BUCKET]", least=1, most=2),
        "qsgd-shrunk": CodecFamily(form="qsgd-shrunk:LEVELS[:BUCKET]", least=1, most=2, keeps_models=False),
        "sign": CodecFamily(form="sign[:BUCKET]", most=1, keeps_models=False),
        "top": CodecFamily(form="top:SHARE", least=1, most=1, fractions=True, keeps_models=False),
        "chunk-top": CodecFamily(form="chunk-top:COUNT:CHUNK", least=2, most=2, keeps_models=False),
        "random": CodecFamily(form="random:SHARE", least=1, most=1, fractions=True, keeps_models=False),
        "random-scaled": CodecFamily(
            form="random-scaled:SHARE", least=1, most=1, fractions=True, keeps_models=False
        ),
    }
)


@dataclass(frozen=True, slots=True)
class CodecName:
    """A parsed name.

    Parameters
    ----------
    family : str
        A key of `CODEC_FAMILIES`, a name that an installed package offers, or ``package.module:Class``.
    parameters : tuple of int or float
    """

    family: str
    parameters: tuple[int | float, ...]


def parse_codec_name(name: str) -> CodecName:
    """Take a name apart, e.g. ``top:0.01`` or ``qsgd:16:128``.

    Raises
    ------
    SettingError
        There is no such family, or its parameters are others.
    """
    family, *written = name.split(":")
    if family not in CODEC_FAMILIES and written and is_object_name(f"{family}:{written[0]}"):
        return _own(name, f"{family}:{written[0]}", written[1:])
    known = CODEC_FAMILIES.get(family)
    if known is None and family in offered(GROUP):
        return _own(name, family, written)
    if known is None:
        raise SettingError(
            "no codec has this name",
            expected=" or ".join([*(each.form for each in CODEC_FAMILIES.values()), *offered(GROUP)]),
            got=f"{name[:64]!a}",
            remedy=did_you_mean(family, [*CODEC_FAMILIES, *offered(GROUP)]),
        )
    parameters = [_number(text, fraction=known.fractions and not i) for i, text in enumerate(written)]
    if not known.least <= len(parameters) <= known.most or None in parameters:
        raise SettingError(
            f"the codec {family} is written otherwise",
            expected=known.form
            + (", SHARE a count such as 20 or a fraction such as 0.01" if known.fractions else "")
            + (", with whole numbers" if known.most and not known.fractions else ""),
            got=f"{name[:64]!a}",
        )
    return CodecName(family, tuple(each for each in parameters if each is not None))


def _own(name: str, family: str, written: list[str]) -> CodecName:
    """Take apart the name of a codec from elsewhere, ``package.module:Class[:NUMBER…]`` or ``NAME[:NUMBER…]``."""
    numbers = [_number(text, fraction=True) for text in written]
    if None in numbers:
        raise SettingError(
            f"the codec {family} is written otherwise",
            expected=f"{family} with numbers after it, such as {family}:16",
            got=f"{name[:64]!a}",
        )
    return CodecName(family, tuple(each for each in numbers if each is not None))


def parse_model_codec_name(name: str) -> CodecName:
    """Parse the name of a codec that whole models may be sent with.

    Raises
    ------
    SettingError
        As `parse_codec_name`; or what the codec leaves out of a model would be lost.
    """
    parsed = parse_codec_name(name)
    known = CODEC_FAMILIES.get(parsed.family)
    if known is not None and not known.keeps_models:
        forms = " or ".join(each.form for each in CODEC_FAMILIES.values() if each.keeps_models)
        raise SettingError(
            f"{parsed.family} leaves so much of a model out that it needs error feedback, "
            "and models sent by gossip learning have none",
            expected=forms,
            got=f"{name[:64]!a}",
            remedy="Choose one of these; algorithms with error feedback are choco, deep_squeeze and sparseloco.",
        )
    return parsed


def _number(text: str, *, fraction: bool) -> int | float | None:
    if _INTEGER.fullmatch(text):
        return int(text)
    if fraction and _FRACTION.fullmatch(text) and 0 < float(text) <= 1:
        return float(text)
    return None


def require_model_codec(name: str) -> str:
    """Return a name that `parse_model_codec_name` takes, or raise ValueError, as pydantic expects."""
    return accepted(parse_model_codec_name, name)


def accepted(take: Callable[[str], object], name: str) -> str:
    """Return a name that a function takes, or raise its error as ValueError, as pydantic expects."""
    try:
        take(name)
    except GossipflError as error:
        raise ValueError(str(error)) from None
    return name


KnownCodec = Annotated[str, AfterValidator(partial(accepted, parse_codec_name))]
ModelCodec = Annotated[str, AfterValidator(require_model_codec)]

AUTO: Final = "auto"
"""In settings of exchanges: a codec for each neighbour, chosen by the link to it."""


def _require_exchange_codec(name: str) -> str:
    try:
        return name if name == AUTO else require_model_codec(name)
    except ValueError as error:
        raise ValueError(f"{error}; or {AUTO}, which chooses a codec for each link") from None


ExchangeCodec = Annotated[str, AfterValidator(_require_exchange_codec)]

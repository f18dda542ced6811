"""Expectations: the messages that a peer can accept, known before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gossipfl.codecs import FLOAT32, Codec
from gossipfl.errors import SettingError, UnknownCodec
from gossipfl.wire.carried import CarriedRow
from gossipfl.wire.limits import Limits
from gossipfl.wire.schema import DIGEST_BYTES, glimpse

__all__ = ["Expectation", "PartForm", "RoundForm", "RoundsExpectation", "codec_among", "row_bytes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundForm:
    """Form of the row in one exchange of a round.

    Parameters
    ----------
    size : int
        K, the length of the row.
    codecs : tuple of Codec
        Codecs that may encode it.
    """

    size: int
    codecs: tuple[Codec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartForm:
    """Form of the parts of rows, where these are not sent whole.

    Parameters
    ----------
    count : int
        Parts that may be sent: their numbers are below this.
    ages : int
        Ages of a row.
    least, most : int
        Fewest and most numbers of a part.
    size_of : callable
        Returns the exact count of a part's numbers; may take time linear in D.
    """

    count: int
    ages: int
    least: int
    most: int
    size_of: Callable[[int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsExpectation:
    """Messages that a peer in rounds can accept.

    Parameters
    ----------
    agreement : bytes, length 32
        Digest of everything that all peers in these rounds must have in common.
    forms : tuple of RoundForm
        Indexed by the number of the exchange within a round.
    """

    agreement: bytes
    forms: tuple[RoundForm, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Messages that a peer can accept.

    Parameters
    ----------
    task, layout : bytes, length 32
        Fingerprint of the peer's own task, and digest of its own layout, including further rows.
    size : int
        D, the length of the peer's own row.
    codecs : tuple of Codec
        Codecs that this peer reads.
    find_codec : callable, optional
        Returns further codecs by name, for families whose parameters are part of the name, or raises
        `UnknownCodec`.
    carried : tuple of CarriedRow
        Further rows of every gossiped message.
    parts : PartForm, optional
        For a peer that accepts parts of rows, and no whole ones.
    rounds : RoundsExpectation, optional
        For a peer that learns in rounds, which accepts no gossiped models.

    Raises
    ------
    SettingError
        A digest has the wrong length, the size is negative, or there are no codecs or two of the same name.
    """

    task: bytes
    layout: bytes
    size: int
    codecs: tuple[Codec, ...]
    find_codec: Callable[[str], Codec] | None = None
    carried: tuple[CarriedRow, ...] = ()
    parts: PartForm | None = None
    rounds: RoundsExpectation | None = None
    limits: Limits = field(default_factory=Limits)
    _by_name: Mapping[str, Codec] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value in (("task", self.task), ("layout", self.layout)):
            if type(value) is not bytes or len(value) != DIGEST_BYTES:
                raise SettingError(f"{name} is not a digest", expected="32 bytes", got=glimpse(value))
        if type(self.size) is not int or self.size < 0:
            raise SettingError("the size of a row is wrong", expected="an integer >= 0", got=repr(self.size))
        by_name = {codec.name: codec for codec in self.codecs}
        if not by_name or len(by_name) != len(self.codecs):
            names = [codec.name for codec in self.codecs]
            raise SettingError(
                "the codecs are wrong", expected="one or more, with different names", got=names
            )
        object.__setattr__(self, "_by_name", MappingProxyType(by_name))

    def codec(self, name: str) -> Codec:
        """Return the codec of this name.

        Raises
        ------
        UnknownCodec
            This peer does not read it.
        """
        if self.find_codec is not None and name not in self._by_name:
            return self.find_codec(name)
        return codec_among(self._by_name, name)


def row_bytes(expectation: Expectation) -> int:
    """Return the memory of a model and of the rows that come with it, once decoded."""
    return FLOAT32.payload_bytes(expectation.size + sum(row.numbers for row in expectation.carried))


def codec_among(codecs: Mapping[str, Codec], name: str) -> Codec:
    """Return the codec of this name.

    Raises
    ------
    UnknownCodec
        It is not among them.
    """
    try:
        return codecs[name]
    except KeyError:
        raise UnknownCodec(
            "this peer does not read the row's codec",
            expected=" or ".join(codecs),
            got=f"{name[:64]!a}",
            remedy="The sender must choose one of these codecs.",
        ) from None

"""The codec for each neighbour: the most precise one in which rows keep up with its link."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gossipfl.codecs import BFLOAT16, FLOAT32, Compressor, Int8
from gossipfl.recent import RecentMap

__all__ = ["LADDER", "ChosenCodecs", "Codecs", "OneCodec", "affordable"]

#: From the most precise to the shortest. None of them has a state, so each model can be sent by another one.
LADDER: Final[Sequence[Compressor]] = (FLOAT32, BFLOAT16, Int8(bucket=256))

#: A more precise codec is chosen again once the link could carry so many times as much as it needs.
_MARGIN: Final = 2.0
#: A link that was never measured, because no large row has passed it, is taken to carry this.
_UNMEASURED_BYTES_PER_SECOND: Final = 1e6
_MOST_PEERS: Final = 1024


def affordable(sizes: Sequence[int], *, capacity: float, before: int = 0) -> int:
    """Return the place of the first size that a link can carry, or the last place.

    Parameters
    ----------
    sizes : sequence of int
        Bytes of a row in each codec, from the most precise to the shortest.
    capacity : float
        Bytes that the link carries in the time of one row.
    before : int
        Place of the present choice. An earlier place must leave half of the capacity free, so that a throughput
        that varies by less than that does not change the codec with every row.

    Examples
    --------
    >>> [affordable((400, 200, 102), capacity=each) for each in (500, 300, 150, 50)]
    [0, 1, 2, 2]
    >>> affordable((400, 200, 102), capacity=500, before=1), affordable((400, 200, 102), capacity=800, before=1)
    (1, 0)
    """
    for place, size in enumerate(sizes):
        if size * (_MARGIN if place < before else 1) <= capacity:
            return place
    return len(sizes) - 1


class Codecs(Protocol):
    """Codecs of a peer's outgoing models.

    Attributes
    ----------
    row_seconds : float
        Seconds in which a link must carry one model.
    """

    row_seconds: float

    def choose(self, peer_id: str) -> Compressor:
        """Return the codec of the next model for a neighbour."""
        ...

    def latest(self, peer_id: str) -> str | None:
        """Return the name of the codec chosen last for a neighbour; None before there was one."""
        ...


class OneCodec:
    """The same codec for every neighbour, whatever its link."""

    def __init__(self, codec: Compressor) -> None:
        self._codec = codec
        self.row_seconds = 0.0

    def choose(self, peer_id: str) -> Compressor:
        """Return the codec."""
        del peer_id
        return self._codec

    def latest(self, peer_id: str) -> str | None:
        """Return its name."""
        del peer_id
        return self._codec.name


@dataclass(kw_only=True, eq=False)
class ChosenCodecs:
    """A codec for each neighbour, chosen by the link to it.

    Parameters
    ----------
    numbers : int
        Numbers in a model, and in the rows that come with it.
    row_seconds : float
        Seconds in which a link must carry one model.
    bytes_per_second : callable
        Returns what the link to a neighbour carries; None if it was never measured.
    """

    numbers: int
    row_seconds: float
    bytes_per_second: Callable[[str], float | None]

    def __post_init__(self) -> None:
        self._sizes = [codec.payload_bytes(self.numbers) for codec in LADDER]
        self._places: RecentMap[str, int] = RecentMap(_MOST_PEERS)

    def choose(self, peer_id: str) -> Compressor:
        """Return the codec of the next model for a neighbour."""
        carries = self.bytes_per_second(peer_id) or _UNMEASURED_BYTES_PER_SECOND
        before = self._places.get(peer_id, 0)
        place = affordable(self._sizes, capacity=carries * self.row_seconds, before=before)
        self._places[peer_id] = place
        return LADDER[place]

    def latest(self, peer_id: str) -> str | None:
        """Return the name of the codec chosen last for a neighbour; None before there was one."""
        place = self._places.get(peer_id)
        return None if place is None else LADDER[place].name

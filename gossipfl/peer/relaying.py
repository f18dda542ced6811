"""Relaying for a peer: what its settings ask for, with limits that suit rows of its model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from gossipfl.errors import GossipflError
from gossipfl.extras import is_installed, missing_library
from gossipfl.network import Host, Identity, ServiceLimits
from gossipfl.peer.conditions import Conditions
from gossipfl.settings import PeerSettings

__all__ = ["relaying"]

_DAY_SECONDS: Final = 86_400.0
_BYTES_PER_NUMBER: Final = 4
# A push and its answer in each direction, and as much again for retries and for views.
_ROWS_PER_PERIOD: Final = 8
_SPARE_BYTES: Final = 64 * 1024 * 1024
_SPARE_BYTES_PER_SECOND: Final = 256 * 1024.0
# Eight circuits, and a reservation beside them.
_STREAMS_PER_PEER: Final = 9


def relaying(
    settings: PeerSettings, host: Host, identity: Identity, conditions: Conditions, *, size: int
) -> Callable[[], Awaitable[None]] | None:
    """Return the task that relays as the settings say; None if they ask for no relaying.

    Parameters
    ----------
    conditions : Conditions
        Updated with the relays that do not relay to this peer.
    size : int
        Numbers in a row that is sent.

    Raises
    ------
    SettingError
        py-libp2p is not installed.
    """
    network = settings.network
    if not (network.relay or network.offer_relay):
        return None
    if not is_installed("libp2p"):
        named = "network.relay" if network.relay else "network.offer_relay"
        raise missing_library(named, "py-libp2p", extra="libp2p")
    from gossipfl.network.libp2p import relay_connections  # takes a second and 85 MB

    return partial(
        relay_connections,
        host,
        identity,
        relays=network.relay,
        offers=network.offer_relay,
        limits=circuit_limits(size, period=settings.exchange.period),
        report=_RelaysMissing(conditions).report,
    )


class _RelaysMissing:
    """The relays that do not relay to this peer, as a condition of the peer."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._reasons: dict[str, GossipflError] = {}

    def report(self, relay: str, error: GossipflError | None) -> None:
        """Record why a relay does not relay to this peer; None if it does."""
        self._reasons.pop(relay, None)
        if error is not None:
            self._reasons[relay] = error
        if self._reasons:
            reasons = "; ".join(f"{relay}: {error}" for relay, error in self._reasons.items())
            self._conditions.note("relay", f"others cannot reach this peer through {reasons}")
        else:
            self._conditions.clear("relay")


def circuit_limits(size: int, *, period: float) -> ServiceLimits:
    """Return the limits on circuits for rows of `size` numbers that are exchanged once a `period` of seconds."""
    row_bytes_per_second = _ROWS_PER_PERIOD * _BYTES_PER_NUMBER * size / period
    return ServiceLimits(
        streams=128,
        streams_per_peer=_STREAMS_PER_PEER,
        bytes=int(_SPARE_BYTES + _DAY_SECONDS * row_bytes_per_second),
        bytes_per_second=_SPARE_BYTES_PER_SECOND + _STREAMS_PER_PEER * row_bytes_per_second,
        seconds=_DAY_SECONDS,
    )

"""A peer's neighbours and other connected peers, for its status."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import trio

from gossipfl.errors import ExchangeFailed, MessageRefused
from gossipfl.network import Host
from gossipfl.peer.gossip.book import AddressBook
from gossipfl.peer.gossip.view import SampledView

__all__ = ["Neighbours"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 2.0
_IDENTIFY_SECONDS: Final = 5.0


@dataclass(kw_only=True, eq=False)
class Neighbours:
    """Descriptions of the peers in the view, and of all others that are connected.

    Parameters
    ----------
    model_ages : mapping of str to int
        Ages of the newest models received, by peer id.
    codec_to : callable
        Returns the name of the codec of the latest model for a peer.
    merges_from : callable
        Returns how many models of a peer were merged.
    effect_of : callable
        Returns what merges of a peer's models did to this one's loss; None if that was not measured.
    """

    host: Host
    view: AddressBook | SampledView
    model_ages: Mapping[str, int]
    codec_to: Callable[[str], str | None]
    merges_from: Callable[[str], int]
    effect_of: Callable[[str], Mapping[str, Any] | None] = lambda _: None

    async def identify(self) -> None:
        """Ask every peer that connects, once, which version it runs; until cancelled."""
        asked: set[str] = set()
        while True:
            connected = self.host.connected()
            asked &= connected
            for peer_id in connected - asked:
                asked.add(peer_id)
                try:
                    await self.host.identify.ask(peer_id, seconds=_IDENTIFY_SECONDS)
                except (ExchangeFailed, MessageRefused) as error:
                    logger.debug("%s did not identify itself: %s", peer_id, error)
            await trio.sleep(_LOOK_SECONDS)

    def to_values(self, *, quarantined: Collection[str] = ()) -> list[dict[str, Any]]:
        """Return a mapping of plain values for each peer, neighbours first.

        Parameters
        ----------
        quarantined : collection of str
            Peers from which the gate takes nothing.

        Returns
        -------
        list of dict
            ``peer_id``; ``neighbour``, whether it is in the view; ``connected``; ``addresses``; ``reached_at``,
            the IP address of the connection; ``failures`` in a row; ``model_age``; ``merges``, its models merged
            in this start; ``effect``: how much its models lowered the loss on test samples of one's own, with
            ``merges`` measured, their ``mean`` and its ``standard_error``; ``last_success`` in seconds since 1970;
            ``round_trip`` in seconds; ``upload``,
            ``download``, bytes a second to and from it when large rows were last exchanged; ``codec`` of
            the models for it; ``version``, its software as it claims; ``bytes_sent``, ``bytes_received``;
            ``quarantined``. None where unknown.
        """
        known = {peer.peer_id: peer for peer in self.view.known}
        connected = self.host.connected()
        listed = []
        for peer_id in [*sorted(known), *sorted(connected - set(known))]:
            peer, traffic = known.get(peer_id), self.host.counters.peers.get(peer_id)
            reached_at = self.host.remote_address(peer_id)
            upload, download = self.host.link.throughput(peer_id)
            listed.append(
                {
                    "peer_id": peer_id,
                    "neighbour": peer is not None,
                    "connected": peer_id in connected,
                    "addresses": [str(each) for each in peer.addresses] if peer else [],
                    "reached_at": reached_at or None,
                    "failures": peer.failures if peer else 0,
                    "model_age": self.model_ages.get(peer_id),
                    "merges": self.merges_from(peer_id),
                    "effect": self.effect_of(peer_id),
                    "last_success": traffic.succeeded_at if traffic else None,
                    "round_trip": self.host.round_trip(peer_id),
                    "upload": upload,
                    "download": download,
                    "codec": self.codec_to(peer_id),
                    "version": self.host.identify.agents.get(peer_id),
                    "bytes_sent": traffic.bytes_sent if traffic else 0,
                    "bytes_received": traffic.bytes_received if traffic else 0,
                    "quarantined": peer_id in quarantined,
                }
            )
        return listed

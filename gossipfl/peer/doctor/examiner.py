"""Observations that only a running peer can make: what its neighbours see of it, and what it needs."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import trio

from gossipfl import __version__
from gossipfl.errors import ExchangeFailed, MessageRefused, ProtocolNotSpoken
from gossipfl.files import write_atomically
from gossipfl.network import Host
from gossipfl.network.bandwidth import Bandwidth, Rate
from gossipfl.network.dial_back import DialBack
from gossipfl.network.reachability import interface_addresses
from gossipfl.peer.store.home import Home

__all__ = ["Examiner"]

logger = logging.getLogger(__name__)

_MOST_NEIGHBOURS: Final = 16
_AT_A_TIME: Final = 8
_MOST_MEASURED: Final = 4
_MEASURING_SECONDS: Final = 20.0


@dataclass(kw_only=True, eq=False)
class Examiner:
    """Asks neighbours to dial back when the operator wants an examination, and writes the answers into the home.

    Links that no row has measured are measured meanwhile.

    Parameters
    ----------
    row_bytes : int
        Bytes of a model in memory.
    may_measure : callable
        Whether the link may be used now for others' measurements and for one's own.
    dial_back : DialBack, optional
        The host's service, made here by default.
    """

    home: Home
    host: Host
    row_bytes: int
    may_measure: Callable[[], bool]
    dial_back: DialBack | None = None

    def __post_init__(self) -> None:
        self._service = self.dial_back or DialBack(self.host)
        self._bandwidth = Bandwidth(self.host, may=self.may_measure)
        self._wanted = 0
        self._asked = trio.Event()

    def ask_for(self, number: int) -> None:
        """Have an examination made; one that is asked for meanwhile comes after it."""
        self._wanted = number
        self._asked.set()

    async def run(self) -> None:
        """Make the examinations that are asked for, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            number = self._wanted
            content = json.dumps({"number": number, **await self.examine()}).encode()
            try:
                await trio.to_thread.run_sync(self._write, content)
            except OSError as error:
                logger.warning("the examination could not be written: %s", error)

    async def examine(self) -> dict[str, Any]:
        """Return addresses, needs and what connected peers see, as plain values."""
        reachability = self.host.reachability
        announced = [each for each in reachability.addresses() if each.relay is None]
        own = reachability.own()
        ports = list(dict.fromkeys(each.port for each in announced or own))
        connected = sorted(
            self.host.connected(), key=lambda each: (not self.host.standing.is_valued(each), each)
        )
        seen: dict[str, dict[str, Any]] = {}
        places = trio.CapacityLimiter(_AT_A_TIME)

        async def ask(peer_id: str) -> None:
            async with places:
                seen[peer_id] = await self._seen_from(peer_id, ports)

        async with trio.open_nursery() as nursery:
            for peer_id in connected[:_MOST_NEIGHBOURS]:
                nursery.start_soon(ask, peer_id)
        with trio.move_on_after(_MEASURING_SECONDS):
            for peer_id in self._to_measure(connected):
                seen[peer_id]["bandwidth"] = await self._bandwidth_to(peer_id)
        return {
            "made": time.time(),
            "version": __version__,
            "row_bytes": self.row_bytes,
            "announced": [str(each) for each in reachability.addresses()],
            "is_announced": reachability.is_announced,
            "own": [str(each) for each in own],
            "interfaces": list(await trio.to_thread.run_sync(interface_addresses)),
            "relayed": bool(reachability.circuits),
            "neighbours": [seen[each] for each in sorted(seen)],
        }

    def _write(self, content: bytes) -> None:
        write_atomically(self.home.examination, content, durable=False)

    def _to_measure(self, connected: Sequence[str]) -> list[str]:
        """Return the peers whose links are to be measured; relays are for others' models."""
        return [
            each
            for each in connected[:_MOST_NEIGHBOURS]
            if None in self.host.link.throughput(each) and self.host.remote_address(each)
        ][:_MOST_MEASURED]

    async def _bandwidth_to(self, peer_id: str) -> dict[str, Any]:
        try:
            upload, download = await self._bandwidth.measure(peer_id)
        except ProtocolNotSpoken:
            return {"failure": "the neighbour's version measures no links"}
        except (ExchangeFailed, MessageRefused) as error:
            return {"failure": error.what}
        return {"upload": _rate_values(upload), "download": _rate_values(download)}

    async def _seen_from(self, peer_id: str, ports: list[int]) -> dict[str, Any]:
        values: dict[str, Any] = {"peer_id": peer_id, "reached_at": self.host.remote_address(peer_id)}
        try:
            seen = await self._service.ask(peer_id, ports)
        except (ExchangeFailed, MessageRefused) as error:
            return {**values, "failure": str(error)}
        return {
            **values,
            "host": seen.host,
            "ports": {str(port): outcome for port, outcome in seen.ports.items()},
            "clock_offset": seen.clock_offset,
            "round_trip": seen.round_trip,
        }


def _rate_values(rate: Rate) -> dict[str, Any]:
    return {"bytes_per_second": rate.bytes_per_second, "is_least": rate.is_least}

"""Discovery on the local network by multicast DNS (RFC 6762 and 6763), in py-zeroconf's thread.

Its messages are not signed. They only name a bounded number of addresses to dial, where the handshake
authenticates the peer.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import trio

from gossipfl.errors import GossipflError
from gossipfl.extras import missing_library
from gossipfl.network import PeerAddress, Scope, parse_address
from gossipfl.peer.gossip.discovery import Discovery
from gossipfl.peer.threads import run_abandonable

__all__ = ["LocalNetwork", "require_zeroconf"]

logger = logging.getLogger(__name__)

_SERVICE: Final = "_gossipfl._tcp.local."
_RENEWAL_SECONDS: Final = 5.0
_ASKING_MILLISECONDS: Final = 2000
_MOST_PEERS: Final = 32
_MOST_ADDRESSES: Final = 4


def require_zeroconf() -> Any:  # noqa: ANN401 - a module
    """Import py-zeroconf.

    Raises
    ------
    SettingError
        It is not installed.
    """
    try:
        return importlib.import_module("zeroconf")
    except ImportError as error:
        raise missing_library("bootstrap.mdns", "py-zeroconf", extra="mdns") from error


class LocalNetwork:
    """Announces this peer on the local network, and discovers others of the same task.

    Parameters
    ----------
    addresses : callable
        Returns the multiaddresses at which others can reach this peer now.
    task : bytes
        Fingerprint of the task, of which a digest is announced.
    discovery : Discovery
        Notified of discovered peers.
    """

    def __init__(
        self, *, peer_id: str, addresses: Callable[[], tuple[str, ...]], task: bytes, discovery: Discovery
    ) -> None:
        self._peer_id = peer_id
        self._addresses = addresses
        self._task = blake2b(task, digest_size=8).hexdigest()
        self._discovery = discovery
        self._found: dict[str, tuple[str, ...]] = {}

    async def run(self) -> None:
        """Announce and discover until cancelled; return with a warning if the network refuses multicast."""
        zeroconf = require_zeroconf()
        token = trio.lowlevel.current_trio_token()

        def heard(name: str, properties: Any, hosts: list[str], port: int) -> None:  # noqa: ANN401 - bytes
            token.run_sync_soon(self._heard, name, dict(properties), hosts, port)

        own = self._own(zeroconf)
        if own is None:
            logger.warning("this peer has no address to announce on the local network")
            return
        loopback = all(each.scope <= Scope.LOOPBACK for each in self._direct())
        choice = ["127.0.0.1"] if loopback else zeroconf.InterfaceChoice.All
        try:
            service = await run_abandonable(_Service, zeroconf, choice, own, heard)
        except (OSError, zeroconf.Error) as error:
            logger.warning("cannot look for peers on the local network: %s", error or type(error).__name__)
            return
        try:
            while True:
                await trio.sleep(_RENEWAL_SECONDS)
                now = self._own(zeroconf)
                if now is not None:
                    await trio.to_thread.run_sync(service.update, now)
        finally:
            with trio.move_on_after(2.0) as closing:
                closing.shield = True
                await run_abandonable(service.close)

    def _own(self, zeroconf: Any) -> Any:  # noqa: ANN401 - an untyped library
        addresses = [each for each in self._direct() if not each.is_name]
        if not addresses:
            return None
        port = addresses[0].port
        return zeroconf.ServiceInfo(
            _SERVICE,
            f"{self._peer_id}.{_SERVICE}",
            parsed_addresses=[each.host for each in addresses if each.port == port],
            port=port,
            properties={"task": self._task},
            server=f"{self._peer_id}.local.",
        )

    def _direct(self) -> list[PeerAddress]:
        """Return the addresses that lead through no relay."""
        parsed = (parse_address(each, circuits=True) for each in self._addresses())
        return [each for each in parsed if each.relay is None]

    def _heard(self, name: str, properties: dict[bytes, bytes | None], hosts: list[str], port: int) -> None:
        """Record a service's announcement, or forget a service that has gone or has another task."""
        peer_id = name.removesuffix(f".{_SERVICE}")
        self._found.pop(peer_id, None)
        if peer_id != self._peer_id and properties.get(b"task") == self._task.encode():
            places = [f"/ip{'6' if ':' in host else '4'}/{host}/tcp/{port}/p2p/{peer_id}" for host in hosts]
            sound = tuple(each for each in places[:_MOST_ADDRESSES] if _is_sound(each))
            if sound and len(self._found) < _MOST_PEERS:
                self._found[peer_id] = sound
        self._discovery.found("local network", dict(self._found))


def _is_sound(address: str) -> bool:
    try:
        parse_address(address, smallest_port=1)
    except GossipflError:
        return False
    return True


class _Service:
    """A registered service, and a browser for others; used from worker threads."""

    def __init__(self, zeroconf: Any, interfaces: Any, own: Any, heard: Callable[..., None]) -> None:  # noqa: ANN401
        self._zeroconf = zeroconf.Zeroconf(interfaces=interfaces)
        self._heard = heard
        self._own = own
        try:
            zeroconf.ServiceBrowser(self._zeroconf, _SERVICE, self)
            self._zeroconf.register_service(own)
        except BaseException:
            self._zeroconf.close()
            raise

    def add_service(self, zeroconf: Any, kind: str, name: str) -> None:  # noqa: ANN401
        """Handle a discovered service; called by the browser."""
        info = zeroconf.get_service_info(kind, name, _ASKING_MILLISECONDS)
        if info is not None and info.port:
            self._heard(name, info.properties, info.parsed_addresses(), info.port)

    update_service = add_service

    def remove_service(self, zeroconf: Any, kind: str, name: str) -> None:  # noqa: ANN401
        """Handle a service that has gone; called by the browser."""
        del zeroconf, kind
        self._heard(name, {}, [], 0)

    def update(self, own: Any) -> None:  # noqa: ANN401
        """Announce changed addresses."""
        if (own.port, own.parsed_addresses()) != (self._own.port, self._own.parsed_addresses()):
            self._own = own
            self._zeroconf.update_service(own)

    def close(self) -> None:
        """Withdraw the announcement."""
        self._zeroconf.unregister_all_services()
        self._zeroconf.close()

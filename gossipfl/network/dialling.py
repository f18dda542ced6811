"""Connecting to a peer at one of its addresses.

Only the caller of an exchange dials: connecting to known peers automatically would turn any topology into a full
mesh. Addresses that the caller trusts are always dialled; those learned from other peers, only where `Hearsay`
and the `DialBook` allow it. Whatever goes wrong fails only that dial.
"""

from __future__ import annotations

import socket as system_socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from gossipfl.errors import (
    ExchangeFailed,
    GossipflError,
    IdentityMismatch,
    IncompatibleCharter,
    InvalidAddress,
    NotAdmitted,
    NotAMember,
    PeerUnreachable,
)
from gossipfl.network.addresses import Hearsay, PeerAddress, parse_address, scope_of
from gossipfl.network.dial_book import DialBook
from gossipfl.network.failures import ConnectionLost
from gossipfl.network.log_limits import limited_logger
from gossipfl.network.noise.upgrade import SecuredSocket, Upgrader
from gossipfl.network.resolving import Resolver

__all__ = ["CircuitOpener", "DialManner", "Dialler"]

# The head start of an address over the next one (RFC 8305, section 5).
_STAGGER_SECONDS: Final = 0.25
_log = limited_logger(__name__)

Attempt = Callable[[], Awaitable[SecuredSocket]]
Endpoint = tuple[str, int]

CircuitOpener = Callable[[str, PeerAddress, Hearsay | None], Awaitable[tuple[trio.SocketStream, str]]]
"""Opens a circuit to a peer through the relay of an address; returns its near end, and the relay's IP address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialManner:
    """Options of a dial.

    Parameters
    ----------
    source : (str, int) or None
        IP address and port to dial from, at which this peer also listens. If both sides do so simultaneously,
        the routers in front of them let each other's packets in.
    answers : bool
        Whether this side acts as the one that was dialled, as one of two sides that dial each other must.
    """

    source: Endpoint | None = None
    answers: bool = False


_PLAIN: Final = DialManner()


@dataclass(kw_only=True, eq=False)
class Dialler:
    """Dials peers and secures the connections.

    Parameters
    ----------
    seconds : float
        Time for a dial, from resolving names to a proven identity.
    circuits : callable, optional
        Opens circuits; without it, addresses that lead through a relay are skipped.
    """

    upgrader: Upgrader
    resolver: Resolver
    book: DialBook
    seconds: float
    circuits: CircuitOpener | None = None

    async def dial(
        self,
        peer_id: str,
        addresses: Sequence[str | Hearsay],
        manner: DialManner = _PLAIN,
    ) -> SecuredSocket:
        """Connect to a peer at the first of its addresses where it proves its identity.

        Parameters
        ----------
        addresses : sequence of str or Hearsay
            Tried in order, each with a short head start over the next. Invalid ones are skipped.

        Raises
        ------
        PeerUnreachable
            No address answered in time.
        IdentityMismatch
            Another peer answered.
        NotAMember, IncompatibleCharter, NotAdmitted
            One side did not let the other in.
        """
        attempts: list[Attempt] = []
        for told in addresses:
            try:
                address = parse_address(str(told), smallest_port=1, circuits=True)
            except InvalidAddress as error:
                _log.warning("skipped an address of peer %s: %s", peer_id[:60], error)
                continue
            if address.peer_id not in (None, peer_id):
                raise PeerUnreachable("an address belongs to another peer", expected=peer_id, got=address)
            hearsay = told if isinstance(told, Hearsay) else None
            if address.relay is None:
                attempts.append(partial(self._attempt, peer_id, address, hearsay, manner))
            elif self.circuits is not None:
                attempts.append(partial(self._through_relay, self.circuits, peer_id, address, hearsay))
        if not attempts:
            raise PeerUnreachable(f"no address at which peer {peer_id} can be dialled is known")
        with trio.move_on_after(self.seconds):
            return await _first_of(attempts)
        raise PeerUnreachable(
            f"peer {peer_id} cannot be reached",
            expected=f"an answer at {', '.join(map(str, addresses))}",
            got=f"no answer within {self.seconds:g} s",
        )

    async def carry(
        self, socket: trio.SocketStream, *, remote_address: str, expected_peer: str | None
    ) -> SecuredSocket:
        """Secure a socket that reaches a peer other than by a dial, for example through a relay.

        Parameters
        ----------
        socket : trio.SocketStream
            Closed on failure.
        remote_address : str
            IP address whose limits the connection counts towards.
        expected_peer : str or None
            The peer that this side contacted; None if the other side contacted this one.

        Raises
        ------
        PeerUnreachable
            No identity was proved in time.
        MessageRefused
            The identity is a different one, or not admitted.
        """
        lost: object = f"no identity within {self.seconds:g} s"
        try:
            with trio.move_on_after(self.seconds):
                return await self.upgrader.secure(
                    socket, remote_address=remote_address, expected_peer=expected_peer
                )
        except ConnectionLost as failure:
            lost = failure
        except BaseException:
            await trio.aclose_forcefully(socket)
            raise
        await trio.aclose_forcefully(socket)
        raise PeerUnreachable("the other end did not prove an identity", got=lost)

    async def _through_relay(
        self, circuits: CircuitOpener, peer_id: str, address: PeerAddress, hearsay: Hearsay | None
    ) -> SecuredSocket:
        socket, relay_host = await circuits(peer_id, address, hearsay)
        try:
            return await self.upgrader.secure(socket, remote_address=relay_host, expected_peer=peer_id)
        except BaseException:
            await trio.aclose_forcefully(socket)
            raise

    async def _attempt(
        self,
        peer_id: str,
        address: PeerAddress,
        hearsay: Hearsay | None,
        manner: DialManner,
    ) -> SecuredSocket:
        hosts = [address.host]
        if address.is_name:
            hosts = await self.resolver.resolve(address, trusted=hearsay is None)
        if hearsay is not None:
            hosts = [host for host in hosts if scope_of(host) >= hearsay.narrowest]
        if not hosts:
            raise PeerUnreachable(
                f"{address} has a narrower scope than the peer it was learned from",
                remedy="Add the address to network.bootstrap, or set view.narrower.",
            )
        return await _first_of(
            [partial(self._connect, peer_id, (host, address.port), hearsay, manner) for host in hosts]
        )

    async def _connect(
        self,
        peer_id: str,
        endpoint: Endpoint,
        hearsay: Hearsay | None,
        manner: DialManner,
    ) -> SecuredSocket:
        if hearsay is not None:
            self.book.admit(endpoint, now=trio.current_time())
        socket = await _open_stream(endpoint, manner.source)
        try:
            secured = await self.upgrader.secure(
                socket, remote_address=endpoint[0], expected_peer=None if manner.answers else peer_id
            )
            _require_peer(secured, peer_id)
        except BaseException as error:
            proved = isinstance(error, IdentityMismatch) and error.proved is not None
            if proved or isinstance(error, IncompatibleCharter | NotAMember | NotAdmitted):
                self.book.succeeded(endpoint)  # some peer is there
            elif (
                not isinstance(error, trio.Cancelled)
                or trio.current_effective_deadline() <= trio.current_time()
            ):
                self.book.failed(endpoint, now=trio.current_time())
            await trio.aclose_forcefully(socket)
            raise
        self.book.succeeded(endpoint)
        return secured


def _require_peer(secured: SecuredSocket, peer_id: str) -> None:
    if secured.peer_id != peer_id:
        raise IdentityMismatch(
            "another peer dialled", expected=peer_id, got=secured.peer_id, proved=secured.peer_id
        )


async def _open_stream(endpoint: Endpoint, source: Endpoint | None) -> trio.SocketStream:
    if source is None:
        return await trio.open_tcp_stream(*endpoint)
    family = system_socket.AF_INET6 if ":" in endpoint[0] else system_socket.AF_INET
    socket = trio.socket.socket(family, system_socket.SOCK_STREAM)
    try:
        for option in (system_socket.SO_REUSEADDR, system_socket.SO_REUSEPORT):
            socket.setsockopt(system_socket.SOL_SOCKET, option, 1)
        await socket.bind(source)
        await socket.connect(endpoint)
    except BaseException:
        socket.close()
        raise
    return trio.SocketStream(socket)


async def _first_of(attempts: Sequence[Attempt]) -> SecuredSocket:
    """Run attempts, each with a head start over the next, until one succeeds; cancel the others.

    Raises
    ------
    IdentityMismatch, PeerUnreachable
        All attempts failed.
    """
    winner: list[SecuredSocket] = []
    errors: list[Exception] = []

    async def run(attempt: Attempt, failed: trio.Event) -> None:
        try:
            secured = await attempt()
        except Exception as error:  # whatever is at an address must fail this attempt only
            if not isinstance(error, OSError | ConnectionLost | GossipflError):
                _log.warning("a dial failed", exc_info=error)
            errors.append(error)
            failed.set()
            return
        if winner:
            await trio.aclose_forcefully(secured.socket)
            return
        winner.append(secured)
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for attempt in attempts:
                failed = trio.Event()
                nursery.start_soon(run, attempt, failed)
                with trio.move_on_after(_STAGGER_SECONDS):
                    await failed.wait()
    except BaseException:
        for secured in winner:
            await trio.aclose_forcefully(secured.socket)
        raise
    if winner:
        return winner[0]
    for error in errors:
        if len(errors) == 1 and isinstance(error, ExchangeFailed):
            raise error
        if isinstance(error, IdentityMismatch | IncompatibleCharter | NotAMember | NotAdmitted):
            raise error
    raise PeerUnreachable("the peer cannot be reached", got="; ".join(str(error)[:200] for error in errors))

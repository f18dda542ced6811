"""Reaching a peer at one of its addresses.

Nobody dials but the caller of an exchange: there is no automatic connecting to known peers, which would turn
any topology into a full mesh. Addresses that the caller trusts are dialled whenever it says; those that other
peers told of only where `Hearsay` and the `DialBook` allow it. Whatever goes wrong fails that dial.
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

__all__ = ["DialManner", "Dialler"]

# The head start of an address over the next one (RFC 8305, section 5).
_STAGGER_SECONDS: Final = 0.25
_log = limited_logger(__name__)

Attempt = Callable[[], Awaitable[SecuredSocket]]
Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DialManner:
    """How a dial is made.

    Parameters
    ----------
    source : (str, int) or None
        IP address and port that this peer listens at, to dial from. If the other side does so at the same time,
        the routers before both let the other's packets in.
    answers : bool
        Whether this side has the part of the one that was dialled, as one of two that dial each other must.
    """

    source: Endpoint | None = None
    answers: bool = False


_PLAIN: Final = DialManner()


class Dialler:
    """Dials.

    Parameters
    ----------
    upgrader : Upgrader
    resolver : Resolver
    book : DialBook
    seconds : float
        For a dial, from resolving names to a proven identity.
    """

    def __init__(self, *, upgrader: Upgrader, resolver: Resolver, book: DialBook, seconds: float) -> None:
        self._upgrader = upgrader
        self._resolver = resolver
        self._book = book
        self._seconds = seconds

    async def dial(
        self,
        peer_id: str,
        addresses: Sequence[str | Hearsay],
        manner: DialManner = _PLAIN,
    ) -> SecuredSocket:
        """Connect to a peer at the first of its addresses where it proves to be itself.

        Parameters
        ----------
        peer_id : str
        addresses : sequence of str or Hearsay
            Tried in order, each with a short head start over the next. Those that are none are passed over.
        manner : DialManner, optional

        Raises
        ------
        PeerUnreachable
            Nobody answered in time.
        IdentityMismatch
            Whoever answered was somebody else.
        NotAMember, IncompatibleCharter, NotAdmitted
            One side did not let the other in.
        """
        attempts: list[Attempt] = []
        for told in addresses:
            try:
                address = parse_address(str(told), smallest_port=1)
            except InvalidAddress as error:
                _log.warning("an address of peer %s is passed over: %s", peer_id[:60], error)
                continue
            if address.peer_id not in (None, peer_id):
                raise PeerUnreachable("an address is another peer's", expected=peer_id, got=address)
            hearsay = told if isinstance(told, Hearsay) else None
            attempts.append(partial(self._attempt, peer_id, address, hearsay, manner))
        if not attempts:
            raise PeerUnreachable(f"no address of peer {peer_id} is known")
        with trio.move_on_after(self._seconds):
            return await _first_of(attempts)
        raise PeerUnreachable(
            f"peer {peer_id} cannot be reached",
            expected=f"an answer at {', '.join(map(str, addresses))}",
            got=f"no answer within {self._seconds:g} s",
        )

    async def carry(
        self, socket: trio.SocketStream, *, remote_address: str, expected_peer: str | None
    ) -> SecuredSocket:
        """Secure a socket that leads to a peer by other means than a dial, as through a relay.

        Parameters
        ----------
        socket : trio.SocketStream
            Is closed if that fails.
        remote_address : str
            IP address that the connection counts for.
        expected_peer : str or None
            Whom this side reached; None if it was reached.

        Raises
        ------
        PeerUnreachable
            No identity was proved in time.
        MessageRefused
            It is another one, or not admitted.
        """
        lost: object = f"no identity within {self._seconds:g} s"
        try:
            with trio.move_on_after(self._seconds):
                return await self._upgrader.secure(
                    socket, remote_address=remote_address, expected_peer=expected_peer
                )
        except ConnectionLost as failure:
            lost = failure
        except BaseException:
            await trio.aclose_forcefully(socket)
            raise
        await trio.aclose_forcefully(socket)
        raise PeerUnreachable("nobody is at the other end", got=lost)

    async def _attempt(
        self,
        peer_id: str,
        address: PeerAddress,
        hearsay: Hearsay | None,
        manner: DialManner,
    ) -> SecuredSocket:
        hosts = [address.host]
        if address.is_name:
            hosts = await self._resolver.resolve(address, trusted=hearsay is None)
        if hearsay is not None:
            hosts = [host for host in hosts if scope_of(host) >= hearsay.narrowest]
        if not hosts:
            raise PeerUnreachable(
                f"{address} reaches less far than whoever told of it",
                remedy="Configure the address, or set view.narrower.",
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
            self._book.admit(endpoint, now=trio.current_time())
        socket = await _open_stream(endpoint, manner.source)
        try:
            secured = await self._upgrader.secure(
                socket, remote_address=endpoint[0], expected_peer=None if manner.answers else peer_id
            )
            _require_peer(secured, peer_id)
        except BaseException as error:
            proved = isinstance(error, IdentityMismatch) and error.proved is not None
            if proved or isinstance(error, IncompatibleCharter | NotAMember | NotAdmitted):
                self._book.succeeded(endpoint)  # a peer is there, whoever it is
            elif (
                not isinstance(error, trio.Cancelled)
                or trio.current_effective_deadline() <= trio.current_time()
            ):
                self._book.failed(endpoint, now=trio.current_time())
            await trio.aclose_forcefully(socket)
            raise
        self._book.succeeded(endpoint)
        return secured


def _require_peer(secured: SecuredSocket, peer_id: str) -> None:
    if secured.peer_id != peer_id:
        raise IdentityMismatch(
            "somebody else dialled", expected=peer_id, got=secured.peer_id, proved=secured.peer_id
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
    """Run attempts until one succeeds, each with a head start over the next, and cancel the others.

    Raises
    ------
    IdentityMismatch, PeerUnreachable
        All have failed.
    """
    winner: list[SecuredSocket] = []
    errors: list[Exception] = []

    async def run(attempt: Attempt, failed: trio.Event) -> None:
        try:
            secured = await attempt()
        except Exception as error:  # whatever an address leads to ends this attempt, and nothing else
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

"""Dialling back: a service by which a peer learns whether a neighbour can reach it, and the neighbour's time."""

from __future__ import annotations

import ipaddress
import math
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from gossipfl.errors import (
    ExchangeFailed,
    ExchangeTimedOut,
    GossipflError,
    IdentityMismatch,
    MalformedFrame,
    NotAdmitted,
    NotAMember,
)
from gossipfl.network.addresses import Hearsay, PeerAddress
from gossipfl.network.failures import StreamFailure
from gossipfl.network.host import Host
from gossipfl.network.rates import TokenBucket
from gossipfl.network.service_streams import ServiceLimits, ServiceStream
from gossipfl.recent import RecentMap

__all__ = ["DIAL_BACK_PROTOCOL", "MOST_PORTS", "DialBack", "DialBackAllowance", "SeenFrom"]

DIAL_BACK_PROTOCOL: Final = "/gossipfl/dial-back/1.0.0"
MOST_PORTS: Final = 4
_OUTCOMES: Final = ("reached", "unreached", "another peer", "not admitted", "not tried")
_DIAL_SECONDS: Final = 5.0
_LONGEST_HOST: Final = 45  # of an IPv6 address as text
_MOST_HOSTS: Final = 4096
_DIALS_PER_SECOND: Final = 1.0
_DIALS_PER_HOST_PER_SECOND: Final = 0.2
_BURST: Final = 4.0
_PORT: Final = struct.Struct("<H")
_TIME: Final = struct.Struct("<d")
_LIMITS: Final = ServiceLimits(
    streams=8, streams_per_peer=2, streams_per_second=1.0, bytes=256, bytes_per_second=256.0, seconds=30.0
)


class DialBackAllowance:
    """A limit on dials that others ask for: each IP address at most once in 5 s, and once a second in all.

    Bursts of four are allowed.
    """

    def __init__(self) -> None:
        self._total = TokenBucket(rate=_DIALS_PER_SECOND, burst=_BURST, now=trio.current_time())
        self._shares: RecentMap[str, TokenBucket] = RecentMap(_MOST_HOSTS)

    def take(self, host: str) -> bool:
        """Take a dial to an IP address, if there may be one now."""
        now = trio.current_time()
        share = self._shares.get(host)
        if share is None:
            share = TokenBucket(rate=_DIALS_PER_HOST_PER_SECOND, burst=_BURST, now=now)
        self._shares[host] = share
        return share.take(1, now=now) and self._total.take(1, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFrom:
    """A host as one of its neighbours sees it.

    Parameters
    ----------
    host : str
        IP address that the neighbour sees; "" through a relay.
    ports : mapping of int to str
        For each port, whether the neighbour reached this host there: ``reached``; ``unreached``; ``another peer``
        answered; ``not admitted``; ``not tried``, through a relay or because it was asked too often.
    clock_offset : float
        Seconds by which the neighbour's clock is ahead of this host's.
    round_trip : float
        Seconds; the offset is uncertain by half of them.
    """

    host: str
    ports: dict[int, str] = field(default_factory=dict)
    clock_offset: float
    round_trip: float


class DialBack:
    """The service of one host, and its questions to others.

    A host is dialled at no IP address but the one it is connected from, so nobody can use this service to reach
    others.

    Parameters
    ----------
    clock : callable, optional
        Returns seconds since 1970.
    """

    def __init__(self, host: Host, *, clock: Callable[[], float] = time.time) -> None:
        self._host = host
        self._clock = clock
        self._allowance = DialBackAllowance()
        host.services.offer(DIAL_BACK_PROTOCOL, self._answer, _LIMITS)

    async def ask(self, peer_id: str, ports: Sequence[int], *, seconds: float = 20.0) -> SeenFrom:
        """Ask a connected peer what it sees of this host.

        Parameters
        ----------
        ports : sequence of int
            At most `MOST_PORTS` of them are tried.

        Raises
        ------
        ExchangeFailed
            It does not offer this service, or did not answer in time.
        MessageRefused
            Its answer is invalid.
        """
        ports = list(dict.fromkeys(ports))[:MOST_PORTS]
        with trio.move_on_after(seconds):
            stream = await self._host.services.open(peer_id, [DIAL_BACK_PROTOCOL], limits=_LIMITS)
            try:
                sent, began = self._clock(), trio.current_time()
                await stream.write(bytes([len(ports)]) + b"".join(_PORT.pack(each) for each in ports))
                (there,) = _TIME.unpack(await stream.read_exactly(_TIME.size))
                round_trip = trio.current_time() - began
                if not math.isfinite(there):
                    raise MalformedFrame("a neighbour's time is no number", got=there)
                size = (await stream.read_exactly(1))[0]
                if size > _LONGEST_HOST:
                    raise MalformedFrame("an address is too long", expected=_LONGEST_HOST, got=size)
                seen_at = _ip_address(await stream.read_exactly(size))
                outcomes = await stream.read_exactly(len(ports))
                stream.close()
            except StreamFailure as failure:
                raise ExchangeFailed(f"{peer_id} did not dial back", got=failure) from failure
            finally:
                stream.reset()
            if any(each >= len(_OUTCOMES) for each in outcomes):
                raise MalformedFrame("an unknown outcome of a dial", got=outcomes.hex())
            return SeenFrom(
                host=seen_at,
                ports={port: _OUTCOMES[each] for port, each in zip(ports, outcomes, strict=True)},
                clock_offset=there - (sent + round_trip / 2),
                round_trip=round_trip,
            )
        raise ExchangeTimedOut(f"{peer_id} did not dial back in time", expected=f"at most {seconds:g} s")

    async def _answer(self, stream: ServiceStream) -> None:
        count = (await stream.read_exactly(1))[0]
        if count > MOST_PORTS:
            raise MalformedFrame("too many ports", expected=f"at most {MOST_PORTS}", got=count)
        ports = [port for (port,) in _PORT.iter_unpack(await stream.read_exactly(count * _PORT.size))]
        remote = stream.connection.remote_endpoint
        text = b"" if remote is None else remote.host.encode()[:_LONGEST_HOST]
        await stream.write(_TIME.pack(self._clock()) + bytes([len(text)]) + text)
        for port in ports:
            outcome = await self._dial(stream.connection.peer_id, remote, port)
            await stream.write(bytes([_OUTCOMES.index(outcome)]))

    async def _dial(self, peer_id: str, remote: PeerAddress | None, port: int) -> str:
        if remote is None or port == 0 or not self._allowance.take(remote.host):
            return "not tried"
        address = f"/{remote.family}/{remote.host}/tcp/{port}"
        try:
            with trio.fail_after(_DIAL_SECONDS):
                await self._host.probe(peer_id, [Hearsay(address, remote.scope)])
        except IdentityMismatch:
            return "another peer"
        except (NotAMember, NotAdmitted):
            return "not admitted"
        except (GossipflError, trio.TooSlowError):
            return "unreached"
        return "reached"


def _ip_address(text: bytes) -> str:
    """Return an IP address, or "" for none."""
    try:
        return str(ipaddress.ip_address(text.decode("ascii"))) if text else ""
    except ValueError as error:
        raise MalformedFrame("a neighbour sees this host at no IP address", got=repr(text)) from error

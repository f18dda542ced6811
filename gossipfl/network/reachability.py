"""Addresses at which others can reach a host: those of its interfaces, and those that neighbours observe."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import ifaddr
import trio

from gossipfl.network.addresses import PeerAddress, Scope, prefix_of, scope_of
from gossipfl.network.log_limits import limited_logger
from gossipfl.recent import RecentMap

__all__ = ["Reachability", "interface_addresses"]

_ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_REFRESH_SECONDS: Final = 5.0
_MOST_ADDRESSES: Final = 8
_MOST_CIRCUITS: Final = 2
_MOST_OBSERVERS: Final = 64
# Others may lie about addresses, and each would make neighbours dial a stranger.
_MOST_OBSERVED: Final = 2
# Neighbours that must agree on an observed address, since one may lie.
_WITNESSES: Final = 2
# Older observations may be of an earlier router's address.
_OBSERVED_SECONDS: Final = 600.0
_log = limited_logger(__name__)


def interface_addresses() -> tuple[str, ...]:
    """Return the IP addresses of all interfaces that can be dialled without a zone."""
    found = (
        ip.ip if isinstance(ip.ip, str) else ip.ip[0] for each in ifaddr.get_adapters() for ip in each.ips
    )
    return tuple(
        host
        for host in dict.fromkeys(str(each) for each in found)
        if scope_of(host) > Scope.NOWHERE and not (":" in host and scope_of(host) is Scope.LINK)
    )


class Reachability:
    """The addresses of a host, kept up to date.

    Parameters
    ----------
    listened : sequence of PeerAddress
        Addresses it listens at, with the ports that the system chose.
    announced : sequence of PeerAddress, optional
        Addresses that the settings give instead.
    interfaces : callable, optional
        Returns the IP addresses of this machine.
    clock : callable, optional
        Returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        listened: Sequence[PeerAddress],
        *,
        announced: Sequence[PeerAddress] = (),
        interfaces: Callable[[], tuple[str, ...]] = interface_addresses,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listened = tuple(listened)
        self._announced = tuple(announced)
        self.interfaces = interfaces
        self._clock = clock
        self._observers: RecentMap[str, tuple[str, str, float]] = RecentMap(_MOST_OBSERVERS)
        self._own: tuple[str, ...] = ()
        #: Addresses at relays that connect others to this host.
        self.circuits: tuple[PeerAddress, ...] = ()
        self.refresh()

    def addresses(self) -> tuple[PeerAddress, ...]:
        """Return the addresses to announce, widest scope first, those at relays last.

        Never 0.0.0.0 and never port 0.
        """
        circuits = self.circuits[:_MOST_CIRCUITS]
        if self._announced:
            return self._announced + circuits
        own = self.own()
        observed = self._observed(own)[:_MOST_OBSERVED]
        room = _MOST_ADDRESSES - len(observed) - len(circuits)
        kept = sorted(dict.fromkeys(own), key=lambda each: -each.scope)[:room]
        direct = sorted(dict.fromkeys([*kept, *observed]), key=lambda each: -each.scope)
        return (*direct, *circuits)

    @property
    def is_announced(self) -> bool:
        """Whether the settings give the announced addresses."""
        return bool(self._announced)

    def own(self) -> list[PeerAddress]:
        """Return the addresses of this machine at which the host listens."""
        own: list[PeerAddress] = []
        for address in self._listened:
            if address.host not in _ANYWHERE:
                own.append(address)
                continue
            version = 4 if address.family == "ip4" else 6
            hosts = [host for host in self._own if ipaddress.ip_address(host).version == version]
            wide = [host for host in hosts if scope_of(host) > Scope.LOOPBACK]
            own += [replace(address, host=host) for host in wide or hosts]
        if any(each.scope > Scope.LOOPBACK for each in own):
            anywhere = {each.family for each in self._listened if each.host in _ANYWHERE}
            own = [each for each in own if each.scope > Scope.LOOPBACK or each.family not in anywhere]
        return own

    def refresh(self) -> None:
        """Read the interfaces' addresses, and warn if no other machine can reach any of them."""
        before, self._own = self._own, self.interfaces()
        anywhere = any(each.host in _ANYWHERE for each in self._listened)
        if (
            anywhere
            and self._own != before
            and all(each.scope <= Scope.LOOPBACK for each in self.addresses())
        ):
            _log.warning(
                "no interface of this machine has an address that others can reach: this peer can dial other "
                "machines, but they cannot dial it. Connect to a network, or set network.announce"
            )

    async def keep_fresh(self) -> None:
        """Read the interfaces' addresses every few seconds, until cancelled."""
        while True:
            await trio.sleep(_REFRESH_SECONDS)
            before = self.addresses()
            await trio.to_thread.run_sync(self.refresh)
            if (now := self.addresses()) != before:
                _log.info("the addresses of this peer are now: %s", ", ".join(map(str, now)))

    def observed(self, host: str, *, observer: str, observer_host: str) -> None:
        """Record the IP address at which a connected peer sees this host.

        It counts only if its scope equals that of the observer's own address, and once others agree.
        """
        try:
            scope = scope_of(host)
            counts = scope is not Scope.NOWHERE and scope == scope_of(observer_host) and "%" not in host
        except ValueError:
            return
        if not counts:
            return
        self._observers[observer] = (host, prefix_of(observer_host), self._clock())

    def _observed(self, own: Sequence[PeerAddress]) -> list[PeerAddress]:
        known = {each.host for each in own}
        seen: dict[str, set[str]] = {}
        oldest = self._clock() - _OBSERVED_SECONDS
        for observer, (host, prefix, since) in self._observers.items():
            if since < oldest:
                continue
            # One party may run many peers in its own network, which therefore count as one.
            seen.setdefault(host, set()).add(prefix if scope_of(host) is Scope.GLOBAL else observer)
        agreed = [host for host, seers in seen.items() if len(seers) >= _WITNESSES and host not in known]
        agreed.sort(key=lambda host: -len(seen[host]))
        return [
            replace(address, host=host)
            for host in agreed
            for address in self._listened
            if (":" in host) == (address.family == "ip6") and _is_behind(address, host)
        ]


def _is_behind(address: PeerAddress, host: str) -> bool:
    """Return whether a router with address `host` may forward to the listening address."""
    return address.host in _ANYWHERE or Scope.LOOPBACK < address.scope < scope_of(host)

"""Checks of a peer's own addresses and ports, and of those that it dials first."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from gossipfl.network import PeerAddress, Scope, parse_address
from gossipfl.peer.doctor.findings import Finding, error, ok, warning

__all__ = ["check_bootstrap", "check_listening", "check_ports_free", "check_scope"]

_DIAL_SECONDS: Final = 3.0
_MOST_DIALLED: Final = 16
_PRIVILEGED: Final = 1024
_NO_NAMES: Final = ("temporary failure in name resolution", "name or service not known")


def check_scope(announced: Sequence[str]) -> Finding:
    """Say how far away the peers may be that can dial a peer at its addresses."""
    parsed = [parse_address(each, circuits=True) for each in announced]
    widest = max((each.scope for each in parsed), default=Scope.NOWHERE)
    listed = ", ".join(each.partition("/p2p/")[0] for each in announced) or "none"
    if widest <= Scope.LOOPBACK:
        return warning(
            "addresses",
            f"only programs on this machine can reach this peer: {listed}",
            "To be reached from others, listen on all interfaces: network.listen = "
            '["/ip4/0.0.0.0/tcp/4001"].',
        )
    return ok("addresses", listed)


def check_ports_free(listen: Sequence[str]) -> Finding:
    """Try to listen where a stopped peer will."""
    tried = []
    for text in listen:
        address = parse_address(text)
        try:
            _bind(address)
        except OSError as problem:
            return error("port", f"{text}: {problem.strerror}", _bind_remedy(address, problem))
        tried.append(text)
    return ok("port", f"free: {', '.join(tried)}")


def _bind(address: PeerAddress) -> None:
    family = socket.AF_INET6 if address.family in ("ip6", "dns6") else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address.host, address.port))
        listener.listen(1)


def _bind_remedy(address: PeerAddress, problem: OSError) -> str:
    if problem.errno == errno.EADDRINUSE:
        return (
            f"Another program has port {address.port} (`ss -ltnp 'sport = :{address.port}'` shows which): "
            "stop it, or choose another port in network.listen."
        )
    if problem.errno == errno.EADDRNOTAVAIL:
        return "No interface of this machine has this address: correct network.listen, or listen on 0.0.0.0."
    if problem.errno == errno.EACCES and address.port < _PRIVILEGED:
        return f"Ports below {_PRIVILEGED} are for root: choose a higher one in network.listen."
    return "Correct network.listen."


def check_listening(own: Sequence[str]) -> Finding:
    """Connect to a running peer at its own addresses, from this machine."""
    refused = []
    for text in own:
        address = parse_address(text)
        if problem := _dial(address):
            refused.append(f"{text} ({problem})")
    if refused:
        return error(
            "port",
            f"no answer from this machine itself at {', '.join(refused)}",
            "Look for a firewall on this machine (`nft list ruleset`), and at the peer's log.",
        )
    return ok("port", f"open on this machine: {', '.join(own)}")


def check_bootstrap(addresses: Sequence[str], *, connected: int) -> Finding:
    """Dial the peers that are asked first for others.

    Parameters
    ----------
    connected : int
        Peers that a running peer is connected to.
    """
    if not addresses:
        if connected:
            return ok("bootstrap", "none is named; others have found this peer")
        return warning(
            "bootstrap",
            "no peer is named: this one waits for others to dial it",
            "Name a peer or two that are always on: network.bootstrap, bootstrap.file, or bootstrap.mdns.",
        )
    tried = list(addresses)[:_MOST_DIALLED]
    with ThreadPoolExecutor(max_workers=len(tried)) as pool:
        problems = list(pool.map(lambda text: _dial(parse_address(text, circuits=True)), tried))
    failed = [f"{text} ({problem})" for text, problem in zip(tried, problems, strict=True) if problem]
    if not failed:
        return ok("bootstrap", f"{len(tried)} of {len(tried)} answer")
    seen = f"{len(tried) - len(failed)} of {len(tried)} answer; no answer at {', '.join(failed)}"
    remedy = (
        "Start these peers, or correct their addresses in network.bootstrap; look at firewalls on the way."
    )
    if all(problem is not None and "network is unreachable" in problem for problem in problems):
        remedy = "This machine has no network to reach them by: look at `ip address` and `ip route`."
    elif all(each in _NO_NAMES for each in problems):
        name = parse_address(tried[0], circuits=True).host
        remedy = f"Names cannot be resolved here: look at DNS (`getent hosts {name}`). {remedy}"
    if len(failed) < len(tried) or connected:
        return warning("bootstrap", seen, remedy)
    return error("bootstrap", seen, remedy)


def _dial(address: PeerAddress) -> str | None:
    """Return why nothing answers at an address, or None."""
    try:
        with socket.create_connection((address.host, address.port), timeout=_DIAL_SECONDS):
            return None
    except TimeoutError:
        return f"nothing within {_DIAL_SECONDS:.0f} s"
    except OSError as problem:
        return (problem.strerror or str(problem)).lower()

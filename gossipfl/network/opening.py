"""Startup and shutdown of a host with its listeners and tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from gossipfl.membership import Threshold
from gossipfl.network.addresses import parse_address
from gossipfl.network.counters import NetworkCounters
from gossipfl.network.host import Host
from gossipfl.network.identity import Identity
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.listening import open_listeners
from gossipfl.network.reachability import Reachability
from gossipfl.nurseries import background_nursery
from gossipfl.wire import Expectation

__all__ = ["open_host"]


@asynccontextmanager
async def open_host(
    identity: Identity,
    *,
    expectation: Expectation,
    listen: Sequence[str] = ("/ip4/127.0.0.1/tcp/0",),
    announce: Sequence[str] | None = None,
    last_ports: Mapping[str, int] | None = None,
    limits: NetworkLimits | None = None,
    threshold: Threshold | None = None,
    counters: NetworkCounters | None = None,
) -> AsyncIterator[Host]:
    """Open a host for the duration of a ``with`` block.

    Parameters
    ----------
    expectation : Expectation
        What received messages must match.
    listen : sequence of str
        Multiaddresses to listen at, e.g. ``/ip4/0.0.0.0/tcp/4001``; port 0 lets the operating system choose.
    announce : sequence of str, optional
        Multiaddresses at which others reach this peer, if not those of `listen` (behind a router, for example).
    last_ports : mapping of str to int, optional
        `Host.chosen_ports` of an earlier host, to be used again where they are free.
    threshold : Threshold, optional
        Door and charter: who is admitted, and which settings must be equal. By default nothing is checked.
    counters : NetworkCounters, optional
        Updated by the host.

    Raises
    ------
    InvalidAddress
        An address is invalid, or the host cannot listen at it.
    """
    listening = await open_listeners([parse_address(each) for each in listen], last_ports=last_ports)
    try:
        async with background_nursery() as nursery:
            host = Host(
                identity=identity,
                expectation=expectation,
                limits=limits or NetworkLimits(),
                counters=counters or NetworkCounters(),
                threshold=threshold,
                reachability=Reachability(
                    listening.addresses,
                    announced=[parse_address(each, smallest_port=1) for each in announce or ()],
                ),
                nursery=nursery,
            )
            host.chosen_ports = listening.chosen_ports
            nursery.start_soon(host.run_listeners, listening)
            nursery.start_soon(host.keep_tidy)
            nursery.start_soon(host.reachability.keep_fresh)
            try:
                yield host
            finally:
                with trio.CancelScope(shield=True):
                    await host.close()
    finally:
        listening.close()

"""The phase before learning in which a peer gathers common statistics with the other members of its network."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

import trio

from gossipfl.codecs import CODECS
from gossipfl.errors import PeerBusy
from gossipfl.files import named_errors, write_atomically
from gossipfl.membership import canonical
from gossipfl.network import Identity, NetworkCounters, load_or_create_identity, open_host
from gossipfl.peer.assembly import bootstrap_peers, network_limits
from gossipfl.peer.membership.door_choice import with_introducers
from gossipfl.peer.membership.entrance import Entrance
from gossipfl.peer.statistics.collection import SetOfStatements, Summaries
from gossipfl.peer.statistics.gathering import Gathering
from gossipfl.peer.statistics.masked import MaskedSummaries
from gossipfl.peer.statistics.own import OwnTable
from gossipfl.peer.store.home import Home
from gossipfl.peer.store.ports import recall_ports, remember_ports
from gossipfl.settings import PeerSettings
from gossipfl.settings.addresses import peer_id_of, public_key_of
from gossipfl.statistics import CommonStatistics, Summary, TableSchema
from gossipfl.wire import AnyMessage, Expectation, Frame
from gossipfl.wire.summaries import SummaryStatement, write_summary

__all__ = ["gather", "is_complete_with"]

_NO_MODELS: Final = Expectation(task=bytes(32), layout=bytes(32), size=0, codecs=tuple(CODECS.values()))
#: Peers that already learn have other settings, and are refused by name.
_CHARTER: Final = {"statistics": "being gathered"}


async def gather(
    home: Home,
    settings: PeerSettings,
    *,
    is_complete: Callable[[Collection[str]], bool],
    roster: Collection[str] = (),
    masked: bool = False,
    linger: float = 30.0,
    report: Callable[[str], None] = lambda _: None,
) -> CommonStatistics:
    """Tell the other members what may be told of this peer's table, learn theirs, and keep the statistics.

    Parameters
    ----------
    home : Home
        Of a peer that does not run.
    is_complete : callable
        Returns whether these members, by peer id, are all.
    roster : collection of str
        Peer ids of all members; if empty, every member counts.
    masked : bool
        Whether members learn the sums of all tables alone; needs a roster of four or more.
    linger : float
        Seconds to stay for the others once all summaries are here.
    report : callable
        Called with lines of text for people.

    Raises
    ------
    SettingError, TaskError, DoorMissing, MembershipError, HomeError
        The peer cannot take part.
    """
    own = OwnTable.of(settings, home.directory)
    own.require_told()
    summary = await trio.to_thread.run_sync(own.summary)
    with home.locked():
        identity = load_or_create_identity(home.directory)
        settings = with_introducers(settings, home.membership)
        entrance = Entrance(
            settings, home.membership, identity, charter=canonical(_CHARTER), follows_charter=False
        )
        counts = frozenset({*roster, identity.peer_id}) if roster else None

        def admit(key: bytes, certificate: bytes) -> None:
            peer_id = peer_id_of(key)
            entrance.require_member(peer_id, certificate, among=counts)

        summaries, statement = _own_side(
            own.schema, summary, entrance, identity, admit, roster=roster if masked else None
        )
        async with open_host(
            identity,
            expectation=_NO_MODELS,
            listen=settings.network.listen,
            announce=settings.network.announce or None,
            last_ports=recall_ports(home.ports),
            limits=network_limits(settings, row_bytes=0),
            threshold=entrance.threshold,
            counters=NetworkCounters(),
        ) as host:
            await trio.to_thread.run_sync(remember_ports, home.ports, host.chosen_ports)
            entrance.serve(host, _busy)
            gathering = Gathering(
                host=host,
                identity=identity,
                summaries=summaries,
                statement=statement,
                certificate=entrance.certificate,
                bootstrap=bootstrap_peers(settings),
                is_complete=is_complete,
                linger=linger,
                report=report,
            )
            for address in host.addresses:
                report(f"listening at {address}")
            async with trio.open_nursery() as nursery:
                for task in entrance.tasks().values():
                    nursery.start_soon(task)
                await gathering.run()
                nursery.cancel_scope.cancel()
        common = gathering.summaries.common()
        with named_errors(f"the common statistics cannot be written to {own.stats}"):
            write_atomically(own.stats, common.to_bytes())
    return common


def _own_side(
    schema: TableSchema,
    own: Summary,
    entrance: Entrance,
    identity: Identity,
    admit: Callable[[bytes, bytes], object],
    *,
    roster: Collection[str] | None,
) -> tuple[SetOfStatements[Any], Callable[[int], bytes]]:
    """Make the set of statements, masked if there is a roster, and the function that writes this peer's own."""
    key, network = identity.public_key, entrance.network
    if roster is not None:
        keys = [public_key_of(peer_id) for peer_id in roster]
        masked = MaskedSummaries(
            schema, network, own=own, key=key, roster=keys, sign=identity.sign, admit=admit
        )
        return masked, masked.statement

    def statement(sequence: int) -> bytes:
        told = SummaryStatement(key=key, network=network, sequence=sequence, summary=own)
        return write_summary(told, schema, sign=identity.sign)

    return Summaries(schema, network, admit=admit), statement


def is_complete_with(members: int, roster: Collection[str]) -> Callable[[Collection[str]], bool]:
    """Return a function that says whether some members are all: so many of them, or those on a roster."""
    for peer_id in roster:
        public_key_of(peer_id)  # or a named error
    return lambda found: len(found) >= members and set(roster) <= set(found)


async def _busy(peer_id: str, message: AnyMessage) -> Frame:
    del peer_id, message
    raise PeerBusy("this peer gathers statistics, and learns later")

"""The phase in which a peer that does not learn adds up statistics or contributions with the other members."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import trio

from gossipfl.codecs import CODECS
from gossipfl.errors import PeerBusy
from gossipfl.files import named_errors, write_atomically
from gossipfl.membership import canonical
from gossipfl.network import Identity, NetworkCounters, load_or_create_identity, open_host
from gossipfl.peer.assembly import bootstrap_peers, network_limits
from gossipfl.peer.membership.door_choice import with_introducers
from gossipfl.peer.membership.entrance import Entrance
from gossipfl.peer.statistics.collection import SetOfStatements, Summaries, TableStatements
from gossipfl.peer.statistics.contributions import MaskedContributions, merges_schema, merges_summary
from gossipfl.peer.statistics.gathering import Gathering
from gossipfl.peer.statistics.masked import MaskedSummaries
from gossipfl.peer.statistics.own import OwnTable
from gossipfl.peer.store.home import Home
from gossipfl.peer.store.ports import recall_ports, remember_ports
from gossipfl.peer.store.recorded_effects import recorded_effects
from gossipfl.settings import PeerSettings
from gossipfl.settings.addresses import peer_id_of, public_key_of
from gossipfl.statistics import CommonStatistics, Summary, TableSchema
from gossipfl.wire import AnyMessage, Expectation, Frame
from gossipfl.wire.summaries import SummaryStatement, write_summary

__all__ = [
    "Member",
    "OwnSide",
    "Way",
    "exchanged",
    "gather",
    "gather_contributions",
    "is_complete_with",
    "own_merges",
]

S = TypeVar("S", bound=SetOfStatements[Any])
OwnSide: TypeAlias = tuple[S, Callable[[int], bytes]]
"""A set of statements, and the function that writes this peer's own with a sequence."""
_Tables: TypeAlias = OwnSide[TableStatements[Any]]

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
    how = Way(is_complete=is_complete, linger=linger, report=report)

    def own_side(member: Member) -> _Tables:
        if masked:
            return _masked_side(MaskedSummaries, own.schema, summary, member, roster)
        return _open_side(own.schema, summary, member)

    with home.locked():
        identity = load_or_create_identity(home.directory)
        told = await exchanged(home, settings, identity, own_side, roster=roster, how=how)
        common = told.common()
        with named_errors(f"the common statistics cannot be written to {own.stats}"):
            write_atomically(own.stats, common.to_bytes())
    return common


async def gather_contributions(
    home: Home,
    settings: PeerSettings,
    *,
    roster: Collection[str],
    linger: float = 30.0,
    report: Callable[[str], None] = lambda _: None,
) -> CommonStatistics:
    """Add up, masked, what each member's models did for the others, and keep the sums in the home.

    Parameters
    ----------
    home : Home
        Of a peer that does not run, whose records hold effects of merges.
    roster : collection of str
        Peer ids of all members, four or more.
    linger, report
        As for `gather`.

    Raises
    ------
    SummandsExposed
        Members are too few, or too few measured each other's models.
    SettingError, DoorMissing, MembershipError, HomeError
        The peer cannot take part.
    """
    how = Way(is_complete=is_complete_with(len(roster), roster), linger=linger, report=report)
    with home.locked():
        identity = load_or_create_identity(home.directory)
        schema, summary = await trio.to_thread.run_sync(own_merges, home, roster, identity.peer_id)

        def own_side(member: Member) -> _Tables:
            return _masked_side(MaskedContributions, schema, summary, member, roster)

        told = await exchanged(home, settings, identity, own_side, roster=roster, how=how)
        common = told.common()
        with named_errors(f"the contributions cannot be written to {home.contributions}"):
            write_atomically(home.contributions, common.to_bytes())
    return common


def own_merges(home: Home, roster: Collection[str], own: str) -> tuple[TableSchema, Summary]:
    """Return the schema of contributions, and the sums over a peer's own measured merges.

    Raises
    ------
    SummandsExposed, SettingError
        Members are too few, or too many.
    HomeError
        The records are damaged.
    """
    schema = merges_schema({*roster, own})
    return schema, merges_summary(recorded_effects(home.records), schema, own=own)


@dataclass(frozen=True, kw_only=True)
class Way:
    """How long to gather, and whom to tell of it."""

    is_complete: Callable[[Collection[str]], bool]
    linger: float
    report: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Member:
    """A member that tells its sums: its identity, its network, and whose summaries count."""

    identity: Identity
    network: bytes
    admit: Callable[[bytes, bytes], object]


async def exchanged(
    home: Home,
    settings: PeerSettings,
    identity: Identity,
    own_side: Callable[[Member], OwnSide[S]],
    *,
    roster: Collection[str],
    how: Way,
) -> S:
    """Exchange statements with the other members until all are there; return them."""
    settings = with_introducers(settings, home.membership)
    entrance = Entrance(
        settings, home.membership, identity, charter=canonical(_CHARTER), follows_charter=False
    )
    counts = frozenset({*roster, identity.peer_id}) if roster else None

    def admit(key: bytes, certificate: bytes) -> None:
        peer_id = peer_id_of(key)
        entrance.require_member(peer_id, certificate, among=counts)

    summaries, statement = own_side(Member(identity=identity, network=entrance.network, admit=admit))
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
            is_complete=how.is_complete,
            linger=how.linger,
            report=how.report,
        )
        for address in host.addresses:
            how.report(f"listening at {address}")
        async with trio.open_nursery() as nursery:
            for task in entrance.tasks().values():
                nursery.start_soon(task)
            await gathering.run()
            nursery.cancel_scope.cancel()
    return summaries


def _masked_side(
    kind: type[MaskedSummaries],
    schema: TableSchema,
    own: Summary,
    member: Member,
    roster: Collection[str],
) -> _Tables:
    masked = kind(
        schema,
        member.network,
        own=own,
        key=member.identity.public_key,
        roster=[public_key_of(peer_id) for peer_id in roster],
        sign=member.identity.sign,
        admit=member.admit,
    )
    return masked, masked.statement


def _open_side(schema: TableSchema, own: Summary, member: Member) -> _Tables:
    def statement(sequence: int) -> bytes:
        told = SummaryStatement(
            key=member.identity.public_key, network=member.network, sequence=sequence, summary=own
        )
        return write_summary(told, schema, sign=member.identity.sign)

    return Summaries(schema, member.network, admit=member.admit), statement


def is_complete_with(members: int, roster: Collection[str]) -> Callable[[Collection[str]], bool]:
    """Return a function that says whether some members are all: so many of them, or those on a roster."""
    for peer_id in roster:
        public_key_of(peer_id)  # or a named error
    return lambda found: len(found) >= members and set(roster) <= set(found)


async def _busy(peer_id: str, message: AnyMessage) -> Frame:
    del peer_id, message
    raise PeerBusy("this peer gathers statistics, and learns later")

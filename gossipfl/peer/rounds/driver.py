"""Construction of the parts of a peer that learns in rounds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gossipfl.errors import SettingError
from gossipfl.peer.assembly import bootstrap_peers
from gossipfl.peer.driver import Participation, Parts
from gossipfl.peer.gossip.book import AddressBook
from gossipfl.peer.rounds.conversation import Conversation
from gossipfl.peer.rounds.exchanging import Exchanger
from gossipfl.peer.rounds.learner import RoundLearner
from gossipfl.peer.rounds.mailbox import Mailbox
from gossipfl.peer.rounds.members import Members
from gossipfl.rounds.plan import RoundsPlan
from gossipfl.rounds.roster import read_roster
from gossipfl.settings import PeerSettings
from gossipfl.wire import PeerDescriptor

__all__ = ["in_rounds", "roster_book", "take_part_in_rounds"]


def in_rounds(settings: PeerSettings, *, directory: Path, peer_id: str) -> PeerSettings:
    """Return the settings with the roster from its file, and the number that it assigns to the peer.

    They are recorded, and hold everything that a replay needs.

    Raises
    ------
    SettingError
        The roster is invalid, does not include the peer, or contradicts the settings.
    """
    roster = read_roster(settings.rounds, directory=directory)
    number = roster.number_of(peer_id)
    if settings.runtime.number not in (0, number):
        raise SettingError(
            "runtime.number is not the peer's place in the roster",
            expected=number,
            got=settings.runtime.number,
            remedy="Omit runtime.number: in rounds the roster numbers the peers.",
        )
    entries = [(roster.addresses[member] or (member,))[0] for member in roster.members]
    rounds = settings.rounds.model_copy(update={"roster": entries, "roster_file": None})
    runtime = settings.runtime.model_copy(update={"number": number})
    return settings.model_copy(update={"rounds": rounds, "runtime": runtime})


def roster_book(parts: Parts, plan: RoundsPlan, saved: Iterable[dict[str, Any]] = ()) -> AddressBook:
    """Make the address book of a peer in rounds, with room for the whole roster.

    Parameters
    ----------
    saved : iterable of dict
        The book from a checkpoint.
    """
    view = parts.settings.view
    configured = [
        PeerDescriptor(peer_id=peer_id, addresses=addresses, age=1)
        for peer_id, addresses in plan.roster.addresses.items()
        if addresses
    ]
    book = AddressBook(
        own=parts.host.announcement,
        outdo=parts.host.outdo,
        doubled=parts.report_double,
        settings=view.model_copy(update={"size": max(view.size, len(plan.roster))}),
        generator=parts.generator,
        bootstrap=[*bootstrap_peers(parts.settings), *configured],
    )
    book.restore(saved)
    return book


def take_part_in_rounds(parts: Parts, plan: RoundsPlan, book: AddressBook) -> Participation:
    """Assemble the parts of a peer that learns in rounds."""
    settings = parts.settings
    rounds = settings.rounds
    mailbox = Mailbox(plan=plan, ahead=rounds.ahead, position=(parts.state.event, 0))
    members = Members(
        roster=plan.roster, number=plan.number, view=book, mailbox=mailbox, patience=rounds.patience
    )
    conversation = Conversation(
        host=parts.host,
        plan=plan,
        task=parts.task.fingerprint,
        incarnation=parts.incarnation,
        mailbox=mailbox,
        members=members,
        view=book,
        view_settings=settings.view,
    )
    learner = RoundLearner(
        state=parts.state,
        plan=plan,
        task=parts.task,
        trainer=parts.trainer,
        incarnation=parts.incarnation,
        settings=rounds,
        mailbox=mailbox,
        members=members,
        exchanger=Exchanger(host=parts.host, mailbox=mailbox, members=members, deadline=rounds.deadline),
        conversation=conversation,
        record=parts.record,
    )
    return Participation(
        learner=learner,
        answer=conversation.answer,
        screen=conversation.screen,
        tasks={"views": conversation.exchange_views, "knocking": conversation.knock},
        described=learner.described,
    )

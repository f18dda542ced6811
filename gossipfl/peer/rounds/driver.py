"""Construction of the parts of a peer that learns in rounds."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from gossipfl.algorithms.round_noise import PrivateRounds, draws_in_secret
from gossipfl.errors import SettingError
from gossipfl.peer.assembly import bootstrap_peers
from gossipfl.peer.driver import Participation, Parts
from gossipfl.peer.gossip.book import AddressBook
from gossipfl.peer.gossip.effects import MergeEffects
from gossipfl.peer.privacy_budget import privacy_budget
from gossipfl.peer.rounds.conversation import Conversation
from gossipfl.peer.rounds.effects import RoundEffects
from gossipfl.peer.rounds.exchanging import Exchanger
from gossipfl.peer.rounds.framing import Framing
from gossipfl.peer.rounds.learner import RoundLearner
from gossipfl.peer.rounds.mailbox import Mailbox
from gossipfl.peer.rounds.masked_exchanging import MaskedExchanger
from gossipfl.peer.rounds.members import Members
from gossipfl.peer.rounds.noise_of_rounds import NoiseOfRounds
from gossipfl.peer.rounds.standing import Standing
from gossipfl.peer.rounds.summands import Summands
from gossipfl.peer.rounds.summing_neighbours import Neighbourhood
from gossipfl.peer.rounds.ways import WayOfExchange
from gossipfl.peer.store.home import Home
from gossipfl.privacy.ledger import PrivacyLedger
from gossipfl.rounds.message_shapes import models_in
from gossipfl.rounds.plan import RoundsPlan
from gossipfl.rounds.roster import read_roster
from gossipfl.secure import KeyBook, SealingKey
from gossipfl.settings import PeerSettings
from gossipfl.settings.addresses import public_key_of
from gossipfl.wire import PeerDescriptor

__all__ = ["in_rounds", "roster_book", "take_part_in_rounds"]

logger = logging.getLogger(__name__)


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


def take_part_in_rounds(
    parts: Parts, plan: RoundsPlan, book: AddressBook, *, directory: Path
) -> Participation:
    """Assemble the parts of a peer that learns in rounds, whose home is the directory.

    Raises
    ------
    DamagedLedger
        If the ledger of its privacy budget cannot be read.
    """
    settings = parts.settings
    rounds = settings.rounds
    mailbox = Mailbox(plan=plan, ahead=rounds.ahead, position=(parts.state.event, 0))
    members = Members(
        roster=plan.roster, number=plan.number, view=book, mailbox=mailbox, patience=rounds.patience
    )
    exchanger = Exchanger(host=parts.host, mailbox=mailbox, members=members, deadline=rounds.deadline)
    masked = summands = around = None
    draws = draws_in_secret(plan.algorithm)
    if plan.ring is not None or (draws and plan.algorithm.requirements.links):
        summands, around = _with_keys(parts, plan, exchanger)
    if summands is not None and around is not None and plan.ring is not None:
        masked = MaskedExchanger(exchanger=exchanger, around=around, summands=summands, note=parts.note)
    noise = _noise_of(parts, plan, around, Home(directory).privacy_ledger) if draws else None
    effects = _effects_of(parts, plan)
    conversation = Conversation(
        host=parts.host,
        plan=plan,
        task=parts.task.fingerprint,
        incarnation=parts.incarnation,
        mailbox=mailbox,
        members=members,
        view=book,
        view_settings=settings.view,
        summands=summands,
    )
    learner = RoundLearner(
        state=parts.state,
        plan=plan,
        task=parts.task,
        trainer=parts.trainer,
        settings=rounds,
        standing=Standing(settings=rounds, mailbox=mailbox, members=members, conversation=conversation),
        way=WayOfExchange(
            plan=plan,
            framing=Framing(task=parts.task, agreement=plan.agreement, incarnation=parts.incarnation),
            exchanger=exchanger,
            masked=masked,
            conversation=conversation,
        ),
        record=parts.record,
        noise=noise,
        effects=effects,
        budget=privacy_budget(
            settings.outgoing, Home(directory).privacy_ledger, note=partial(parts.note, "privacy")
        ),
    )
    return Participation(
        learner=learner,
        answer=conversation.answer,
        screen=conversation.screen,
        tasks={
            "views": conversation.exchange_views,
            "knocking": conversation.knock,
            **({} if masked is None else {"sums": masked.run}),
        },
        described=learner.described,
        effect_of=lambda peer_id: None if effects is None else effects.described(peer_id),
    )


def _effects_of(parts: Parts, plan: RoundsPlan) -> RoundEffects | None:
    """Make the measurement of effects, if it is asked for."""
    samples = parts.settings.evaluation.merge_samples
    if not samples:
        return None
    models = models_in(plan.name, plan.algorithm, parts.trainer, links=plan.links(0))
    if not any(models):
        logger.warning(
            "evaluation.merge_samples is without effect: the rows that %s sends are not models", plan.name
        )
    merges = MergeEffects(parts.task, parts.data, samples=samples)
    return RoundEffects(plan=plan, merges=merges, models=models)


def _noise_of(parts: Parts, plan: RoundsPlan, around: Neighbourhood | None, path: Path) -> NoiseOfRounds:
    """Make the source of the algorithm's noise, with its budget if it has one."""
    algorithm, ledger = plan.algorithm, None
    if isinstance(algorithm, PrivateRounds) and algorithm.epsilon is not None:
        settings = parts.settings
        others = [each for each in settings.outgoing if getattr(each, "epsilon", None)]
        if settings.training.privacy is not None or others:
            raise SettingError(
                f"rounds.parameters has a privacy budget of {plan.name} beside another one",
                expected="one of epsilon in rounds.parameters, [training.privacy] and [[outgoing]]",
                remedy="Leave out all but one.",
            )
        ledger = PrivacyLedger(path, epsilon=algorithm.epsilon, delta=algorithm.delta)
    return NoiseOfRounds(
        plan,
        around=around,
        ledger=ledger,
        seconds=parts.settings.rounds.deadline,
        note=partial(parts.note, "privacy"),
    )


def _with_keys(parts: Parts, plan: RoundsPlan, exchanger: Exchanger) -> tuple[Summands, Neighbourhood]:
    """Make a peer's key for this start: its part in others' masked sums, and the keys of those around."""
    identities = {number: public_key_of(peer_id) for number, peer_id in enumerate(plan.roster.members)}
    keys = KeyBook(identities, agreement=plan.agreement)
    key = SealingKey(
        number=plan.number,
        incarnation=parts.incarnation,
        agreement=plan.agreement,
        sign=parts.host.sign,
    )
    mailbox, members = exchanger.mailbox, exchanger.members
    summands = Summands(plan=plan, key=key, keys=keys, mailbox=mailbox)
    around = Neighbourhood(host=parts.host, plan=plan, members=members, mailbox=mailbox, key=key, keys=keys)
    return summands, around

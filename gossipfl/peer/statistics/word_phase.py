"""The phase in which a peer that does not learn agrees on words with the other members."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from secrets import token_bytes

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.files import named_errors, write_atomically
from gossipfl.network import load_or_create_identity
from gossipfl.outgoing import secret_normals
from gossipfl.outgoing.noise import SECRET_BYTES
from gossipfl.peer.statistics.phase import Member, OwnSide, Way, exchanged, is_complete_with
from gossipfl.peer.statistics.words import MaskedWords
from gossipfl.peer.store.home import Home
from gossipfl.privacy.gaussian import smallest_epsilon
from gossipfl.privacy.ledger import BudgetSpent, PrivacyLedger
from gossipfl.settings import PeerSettings
from gossipfl.settings.addresses import public_key_of
from gossipfl.settings.outgoing import NoiseSettings
from gossipfl.tasks.words.hitters import Offer, WordPlan
from gossipfl.tasks.words.vocabulary import Vocabulary

__all__ = ["AgreedWords", "agree_on_words", "word_budget"]


@dataclass(frozen=True, kw_only=True)
class AgreedWords:
    """What members agreed on.

    Parameters
    ----------
    counts : dict of str to float
        Noisy count of members for each word found, the most counted first.
    vocabulary : Vocabulary
        With the words found, as it was written.
    epsilon : float
        What this peer has spent since its home was made, by its ledger, at δ of the plan; of a peer that trains
        privately, at δ of its budget.
    """

    counts: dict[str, float]
    vocabulary: Vocabulary
    epsilon: float


async def agree_on_words(
    home: Home,
    settings: PeerSettings,
    *,
    plan: WordPlan,
    offer: Offer,
    roster: Collection[str],
    linger: float = 30.0,
    report: Callable[[str], None] = lambda _: None,
    normals: Callable[[int, int], NDArray[np.float64]] | None = None,
) -> AgreedWords:
    """Count words with the other members, by masked sums with noise, and keep the vocabulary that follows.

    Parameters
    ----------
    home : Home
        Of a peer that does not run.
    plan : WordPlan
        The same at all members.
    offer : Offer
        Words of this peer's owner.
    roster : collection of str
        Peer ids of all members, this one's included.
    linger, report
        As for `gather`.
    normals : callable, optional
        Returns standard normal numbers of a shape; of a fresh secret unless given.

    Raises
    ------
    SettingError, DoorMissing, MembershipError, HomeError
        The peer cannot take part.
    BudgetSpent
        The peer's privacy budget does not allow it.
    StatisticsMissing, MalformedStatement
        A member started again, or told what nobody can have counted.
    """
    how = Way(is_complete=is_complete_with(len(roster), roster), linger=linger, report=report)
    with home.locked():
        identity = load_or_create_identity(home.directory)
        ledger = word_budget(home, settings, plan)
        try:

            def own_side(member: Member) -> OwnSide[MaskedWords]:
                words = MaskedWords(
                    plan,
                    member.network,
                    offer=offer,
                    key=member.identity.public_key,
                    roster=[public_key_of(peer_id) for peer_id in roster],
                    sign=member.identity.sign,
                    admit=member.admit,
                    spend=lambda: ledger.spend(plan.shift),
                    normals=normals or _secret_normals,
                )
                return words, words.statement

            told = await exchanged(home, settings, identity, own_side, roster=roster, how=how)
            found = told.words.result()
            vocabulary = Vocabulary(plan.vocabulary(found))
            with named_errors(f"the vocabulary cannot be written to {home.vocabulary}"):
                write_atomically(home.vocabulary, "".join(f"{word}\n" for word in vocabulary.words).encode())
            return AgreedWords(
                counts={word: told.words.found[word] for word in found},
                vocabulary=vocabulary,
                epsilon=ledger.spent_epsilon()
                if ledger.steps
                else smallest_epsilon(ledger.spent**0.5, plan.delta),
            )
        finally:
            ledger.close()


def word_budget(home: Home, settings: PeerSettings, plan: WordPlan) -> PrivacyLedger:
    """Open the peer's ledger, which words are spent from as its models are, with the budget of its settings.

    Raises
    ------
    BudgetSpent
        The budget does not allow so much.
    DamagedLedger
        The ledger cannot be read.
    """
    private, epsilon, delta = settings.training.privacy, None, plan.delta
    if private is not None and private.epsilon is not None:
        epsilon, delta = private.epsilon, private.delta
    for each in settings.outgoing:
        if isinstance(each, NoiseSettings) and each.epsilon is not None:
            epsilon, delta = each.epsilon, each.delta
    ledger = PrivacyLedger(home.privacy_ledger, epsilon=epsilon, delta=delta, of_samples=private is not None)
    if not ledger.allows(plan.shift):
        ledger.close()
        raise BudgetSpent(
            f"the privacy budget of this peer, ε = {epsilon:g} at δ = {delta:g}, does not allow to agree on words",
            expected="what is left of it to be more than what the words take",
            got=f"ε = {plan.epsilon:g} at δ = {plan.delta:.2g}, beside {ledger.releases} releases before",
            remedy="Agree on words before anything else is shared, or with a smaller --epsilon.",
        )
    return ledger


def _secret_normals(members: int, counts: int) -> NDArray[np.float64]:
    keys = torch.arange(members)
    return np.asarray(secret_normals(token_bytes(SECRET_BYTES))(keys, counts).numpy(), dtype=np.float64)

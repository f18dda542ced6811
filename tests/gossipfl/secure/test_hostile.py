"""Receivers and neighbours that lie: invented neighbours, two lists of survivors, replays, wrong shares."""

import dataclasses

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gossipfl.errors import (
    InconsistentSum,
    KeyUnknown,
    MalformedStatement,
    ShareForged,
    SumKeyForged,
    WrongShare,
)
from gossipfl.network import Identity
from gossipfl.secure import (
    Invitation,
    KeyBook,
    Participants,
    RevealedShares,
    SealingKey,
    Signatures,
    SignedKey,
    Survivors,
    ring_sum,
)
from gossipfl.secure.keys import keys_digest
from gossipfl.secure.messages import SECRET_BYTES
from gossipfl.secure.sender import pairwise_key, self_key
from gossipfl.secure.shamir import recovered
from tests.gossipfl.secure.sums import AGREEMENT, MESSAGES, Network, identity_of, masked_sum
from tests.gossipfl.secure.test_sums import rows_of

K4 = (1, 2, 3, 4)


class Run:
    """A sum, carried on to a step."""

    def __init__(self, numbers=K4, session=None, network=None):
        self.network = network or Network(numbers)
        self.session = session or self.network.session()
        self.receiver = self.network.receiver(self.session)
        self.senders = {each: self.network.sender(each, self.session) for each in numbers}
        self.invitation = self.receiver.invitation(numbers)
        self.rows = rows_of(numbers)

    def to_shared(self):
        for number, sender in self.senders.items():
            self.receiver.shared(number, sender.share(self.invitation))
        return self

    def to_masked(self):
        self.to_shared()
        for number, sender in self.senders.items():
            sender.accept(self.receiver.participants(number))
            self.receiver.row(number, sender.masked(self.rows[number]))
        return self


def invitation_of(network, places):
    """As the receiver means it."""
    keys = [network.books[0].key_of(network.session().neighbours[place]) for place in places]
    return Invitation(places=places, keys=keys_digest(keys))


# Two lists of survivors


def lists_that_open(colluders, first, second, honest_told_first):
    """Which of two lists of survivors honest neighbours reveal shares for; colluders sign both."""
    run = Run().to_masked()
    lists, signed = (Survivors(first), Survivors(second)), ({}, {})
    told = {number: int(number not in honest_told_first) for number in K4 if number not in colluders}
    for place, number in enumerate(K4):
        for which in [told[number]] if number in told else [0, 1]:
            run.senders[number]._asked.pop(Survivors, None)  # a colluder has no scruples
            signed[which][place] = run.senders[number].confirm(lists[which])
    opened = set()
    for number, which in told.items():
        try:
            run.senders[number].reveal(Signatures(tuple(signed[which].items())))
        except InconsistentSum:
            continue
        opened.add(which)
    return opened


@pytest.mark.parametrize("honest_told_first", [(1,), (1, 2), (1, 3), (1, 2, 3)])
def test_two_lists_of_survivors_never_both_open(honest_told_first):
    """k = 4, t = 3: with fewer than 2t − k = 2 neighbours lying for it, only one list gets its signatures."""
    assert len(lists_that_open({4}, (0, 1, 2, 3), (1, 2, 3), honest_told_first)) <= 1


def test_as_many_liars_as_the_documents_say_do_open_both():
    assert lists_that_open({3, 4}, (0, 1, 2, 3), (1, 2, 3), (1,)) == {0, 1}


def test_a_receiver_that_tells_each_half_another_list_is_refused():
    run = Run().to_masked()
    everybody, without_first = Survivors((0, 1, 2, 3)), Survivors((1, 2, 3))
    signatures = {
        place: run.senders[number].confirm(everybody if number < 3 else without_first)
        for place, number in enumerate(K4)
    }
    for sender in run.senders.values():
        with pytest.raises(InconsistentSum, match="too few neighbours have signed"):
            sender.reveal(Signatures(tuple(signatures.items())))


def test_one_neighbours_signature_does_not_count_for_another():
    run = Run().to_masked()
    signature = run.senders[1].confirm(run.receiver.survivors())
    run.senders[2].confirm(run.receiver.survivors())
    with pytest.raises(InconsistentSum, match="got 1"):
        run.senders[2].reveal(Signatures(tuple((place, signature) for place in (0, 1, 2, 3, 127))))


# Steps twice, or out of order


def test_each_step_is_done_once():
    run = Run().to_masked()
    sender = run.senders[1]
    assert sender.share(run.invitation) == sender.share(run.invitation)
    sender.accept(run.receiver.participants(1))
    with pytest.raises(InconsistentSum, match="invites again"):
        sender.share(invitation_of(run.network, (0, 1, 2)))
    other = run.receiver.participants(1)
    with pytest.raises(InconsistentSum, match="second time"):
        sender.accept(Participants(places=other.places[:3], others=other.others[:2]))
    with pytest.raises(InconsistentSum, match="second row"):
        sender.masked(run.rows[1])
    everybody = run.receiver.survivors()
    assert sender.confirm(everybody) == sender.confirm(everybody)
    with pytest.raises(InconsistentSum, match="second time"):
        sender.confirm(Survivors((0, 1, 2)))


def test_steps_out_of_order_are_refused():
    run = Run()
    sender = run.senders[1]
    with pytest.raises(InconsistentSum, match="no list yet"):
        sender.masked(run.rows[1])
    run.to_shared()
    with pytest.raises(InconsistentSum, match="sent no row"):
        sender.confirm(Survivors((0, 1, 2, 3)))
    with pytest.raises(InconsistentSum, match="before this peer has signed"):
        sender.reveal(Signatures(()))


@pytest.mark.parametrize("places", [(), (0,), (0, 1), (1, 2, 3), (0, 1, 2, 3, 4), (0, 1, 2, 127)])
def test_lists_that_are_too_short_or_of_strangers_are_refused(places):
    run = Run().to_masked()
    fresh = run.network.sender(1, run.session)
    with pytest.raises(InconsistentSum):
        fresh.share(Invitation(places=places, keys=bytes(16)))
    with pytest.raises(InconsistentSum):
        run.senders[1].confirm(Survivors(places))


def test_survivors_that_did_not_take_part_are_refused():
    run = Run()
    for number in (1, 2, 3):
        run.receiver.shared(number, run.senders[number].share(run.invitation))
    run.senders[1].accept(run.receiver.participants(1))
    run.senders[1].masked(run.rows[1])
    with pytest.raises(InconsistentSum, match="did not take part"):
        run.senders[1].confirm(Survivors((0, 1, 2, 3)))


# Invented neighbours


def test_a_receiver_cannot_invent_a_neighbour():
    book = Network(K4).books[1]
    invented = SealingKey(number=9, incarnation=1, agreement=AGREEMENT, sign=Identity.generate().sign)
    with pytest.raises(SumKeyForged, match="member 9"):
        book.admit(invented.signed)
    posing = SealingKey(number=2, incarnation=5, agreement=AGREEMENT, sign=identity_of(0).sign)
    with pytest.raises(SumKeyForged, match="member 2"):
        book.admit(posing.signed)


def test_a_key_of_other_rounds_or_of_an_earlier_start_is_refused():
    network = Network(K4, incarnation=3)
    sign = identity_of(2).sign
    elsewhere = SealingKey(number=2, incarnation=4, agreement=bytes(32), sign=sign)
    earlier = SealingKey(number=2, incarnation=2, agreement=AGREEMENT, sign=sign)
    twice = SealingKey(number=2, incarnation=3, agreement=AGREEMENT, sign=sign)
    for key in (elsewhere, earlier, twice):
        with pytest.raises(SumKeyForged):
            network.books[1].admit(key.signed)
    network.books[1].admit(SealingKey(number=2, incarnation=4, agreement=AGREEMENT, sign=sign).signed)


def test_a_key_with_another_number_on_it_is_refused():
    network = Network(K4)
    with pytest.raises(SumKeyForged):
        network.books[1].admit(dataclasses.replace(network.keys[2].signed, number=3, incarnation=2))


def test_an_invitation_with_an_unknown_member_can_be_repeated_once_its_key_is_shown():
    network = Network(K4)
    identities = {number: identity_of(number).public_key for number in K4}
    network.books[1] = KeyBook(identities, agreement=AGREEMENT)
    sender = network.sender(1)
    everybody = invitation_of(network, (0, 1, 2, 3))
    with pytest.raises(KeyUnknown, match="member 2"):
        sender.share(everybody)
    for number in (2, 3, 4):
        network.books[1].admit(network.keys[number].signed)
    assert len(sender.share(everybody).sealed) == 3


def test_another_public_key_in_a_neighbours_name_is_refused():
    run = Run().to_shared()
    listed = run.receiver.participants(1)
    others = (dataclasses.replace(listed.others[0], public=listed.others[1].public), *listed.others[1:])
    with pytest.raises(ShareForged, match="members 2 "):
        run.senders[1].accept(dataclasses.replace(listed, others=others))
    with pytest.raises(InconsistentSum, match="no list yet"):
        run.senders[1].masked(run.rows[1])


def test_a_degenerate_public_key_is_refused():
    network = Network(K4)
    sign = identity_of(2).sign
    signed = SealingKey(number=2, incarnation=9, agreement=AGREEMENT, sign=sign).signed
    content = b"gossipfl sum key 1\n" + AGREEMENT + b"\2\0\0\0" + b"\x09" + bytes(7) + bytes(32)
    network.books[1].admit(dataclasses.replace(signed, public=bytes(32), signature=sign(content)))
    with pytest.raises(SumKeyForged, match="degenerate"):
        network.books[0].admit(network.books[1].key_of(2))
        network.sender(1).share(invitation_of(network, (0, 1, 2, 3)))


# Replays


def test_shares_of_another_round_are_refused():
    network = Network(K4)
    earlier = Run(network=network).to_shared()
    later = Run(network=network, session=network.session(8))
    later.to_shared()
    replayed = earlier.receiver.participants(1)
    with pytest.raises(ShareForged):
        later.senders[1].accept(replayed)


def test_signatures_of_another_round_are_refused():
    network = Network(K4)
    earlier = Run(network=network).to_masked()
    later = Run(network=network, session=network.session(8)).to_masked()
    everybody = Survivors((0, 1, 2, 3))
    signatures = Signatures(
        tuple((place, earlier.senders[number].confirm(everybody)) for place, number in enumerate(K4))
    )
    later.senders[1].confirm(everybody)
    with pytest.raises(InconsistentSum, match="got 0"):
        later.senders[1].reveal(signatures)
    later.receiver.survivors()
    with pytest.raises(InconsistentSum, match="has not signed"):
        later.receiver.confirmed(1, signatures.by_place[0][1])


def test_shares_sealed_for_another_neighbour_are_refused():
    run = Run().to_shared()
    listed = run.receiver.participants(2)
    with pytest.raises(ShareForged):
        run.senders[1].accept(dataclasses.replace(run.receiver.participants(1), others=listed.others))


# Neighbours that lie


def revealed_to(run, lies):
    """The sum after shares were revealed; ``lies``: by number, what a survivor reveals in place of its shares."""
    survivors = run.receiver.survivors()
    for number in run.receiver.summands:
        run.receiver.confirmed(number, run.senders[number].confirm(survivors))
    for number in run.receiver.summands:
        shares = list(run.senders[number].reveal(run.receiver.signatures()).shares)
        run.receiver.revealed(number, RevealedShares(lies.get(number, lambda shares: shares)(shares)))
    return run.receiver.total()


def garbage(shares):
    return [bytes(SECRET_BYTES)] * len(shares)


def one_wrong(shares):
    return [*shares[:3], bytes(SECRET_BYTES)]


@pytest.mark.parametrize("lie", [garbage, one_wrong])
def test_wrong_shares_are_made_up_for_and_their_sender_named(lie):
    for liar in K4:
        run = Run().to_masked()
        total = revealed_to(run, {liar: lie})
        assert (total == ring_sum(list(run.rows.values()), like=run.rows[1])).all()
        assert run.receiver.liars == (liar,)


def test_the_last_choice_of_honest_neighbours_is_tried_too():
    """Twelve neighbours, four of which lie, with every share that can be spared."""
    run = Run(tuple(range(1, 13))).to_masked()
    total = revealed_to(run, dict.fromkeys((5, 6, 7, 8), garbage))
    assert (total == ring_sum(list(run.rows.values()), like=run.rows[1])).all()
    assert run.receiver.liars == (5, 6, 7, 8)


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_as_many_liars_as_shares_are_spared_are_named_and_no_others(data):
    count = data.draw(st.integers(4, 12))
    numbers = tuple(range(1, count + 1))
    run = Run(numbers).to_masked()
    spare = count - run.session.threshold
    dropped = data.draw(st.sets(st.sampled_from(numbers), max_size=spare))
    for each in dropped:
        del run.receiver._rows[each]
    left = [each for each in numbers if each not in dropped]
    liars = data.draw(st.sets(st.sampled_from(left), max_size=spare - len(dropped)))
    total = revealed_to(run, dict.fromkeys(liars, garbage))
    rows = [run.rows[each] for each in left]
    assert (total == ring_sum(rows, like=rows[0])).all()
    assert run.receiver.liars == tuple(sorted(liars))


def test_without_a_share_to_spare_a_wrong_one_is_noticed_and_nobody_blamed():
    run = Run().to_masked()
    del run.receiver._rows[4]
    with pytest.raises(WrongShare, match="member") as caught:
        revealed_to(run, {2: one_wrong})
    assert caught.value.members == ()
    assert run.receiver.liars == ()


def test_who_shares_what_leads_to_no_secret_is_named(monkeypatch):
    """All shares are sealed soundly, but on no polynomial."""
    run = Run()
    numbers = iter(range(1, 256))

    def unlike(secret, *, shares, **_):
        return [bytes([next(numbers)]) * len(secret) for _ in range(shares)]

    monkeypatch.setattr("gossipfl.secure.sender.shared", unlike)
    run.receiver.shared(3, run.senders[3].share(run.invitation))
    monkeypatch.undo()
    for number in (1, 2, 4):
        run.receiver.shared(number, run.senders[number].share(run.invitation))
    for number, sender in run.senders.items():
        sender.accept(run.receiver.participants(number))
        run.receiver.row(number, sender.masked(run.rows[number]))
    with pytest.raises(WrongShare, match="of members 3 do not lead") as caught:
        revealed_to(run, {})
    assert caught.value.members == (3,)
    assert run.receiver.liars == ()


def test_who_seals_what_nobody_can_open_is_named_and_left_out():
    run = Run((1, 2, 3, 4, 5))
    for number, sender in run.senders.items():
        shares = sender.share(run.invitation)
        if number == 3:
            shares = dataclasses.replace(shares, sealed=tuple(bytes(len(each)) for each in shares.sealed))
        run.receiver.shared(number, shares)
    for number in run.receiver.fix_participants():
        if number != 3:
            with pytest.raises(ShareForged, match="members 3 are not") as caught:
                run.senders[number].accept(run.receiver.participants(number))
            run.receiver.accused(number, caught.value.members)
    run.receiver.accused(3, (1, 2))
    assert run.receiver.forgers == {3}
    invitation = run.receiver.invitation((1, 2, 4, 5))
    for number in run.receiver.invited:
        run.receiver.shared(number, run.senders[number].share(invitation))
    for number in run.receiver.fix_participants():
        run.senders[number].accept(run.receiver.participants(number))
        run.receiver.row(number, run.senders[number].masked(run.rows[number]))
    rows = [run.rows[each] for each in (1, 2, 4, 5)]
    assert (revealed_to(run, {}) == ring_sum(rows, like=rows[0])).all()
    assert run.receiver.forgers == frozenset()


@pytest.mark.parametrize(("accusers", "forgers"), [((2,), ()), ((2, 4), ()), ((2, 4, 5), (3,))])
def test_fewer_than_most_accuse_in_vain(accusers, forgers):
    run = Run((1, 2, 3, 4, 5)).to_shared()
    run.receiver.fix_participants()
    for number in accusers:
        run.receiver.accused(number, (3, number))  # nobody accuses itself
    run.receiver.accused(9, (3,))  # a stranger
    assert run.receiver.forgers == set(forgers)


def test_nobody_is_invited_again_after_rows_have_arrived():
    run = Run().to_masked()
    with pytest.raises(InconsistentSum, match="a row has arrived"):
        run.receiver.invitation((1, 2, 3))


def test_a_receiver_refuses_what_it_did_not_ask_for():
    run = Run().to_shared()
    answer = run.senders[1].share(run.invitation)
    with pytest.raises(InconsistentSum):
        run.receiver.shared(9, answer)
    with pytest.raises(InconsistentSum):
        run.receiver.shared(1, dataclasses.replace(answer, sealed=answer.sealed[:2]))
    with pytest.raises(InconsistentSum, match="twice"):
        run.receiver.shared(1, dataclasses.replace(answer, commitment=bytes(32)))
    run.receiver.participants(1)
    with pytest.raises(InconsistentSum):
        run.receiver.row(9, run.rows[1])
    run.receiver.row(1, run.rows[1])
    with pytest.raises(InconsistentSum):
        run.receiver.row(1, run.rows[1])


# Transcripts


@pytest.mark.parametrize("drops", [{}, {2: "mask"}, {2: "share"}, {3: "confirm"}, {4: "reveal"}])
def test_no_message_contains_a_row_nor_both_shares_of_a_neighbour(drops):
    network, rows = Network(K4), rows_of(K4, size=64)
    session, transcript, senders = network.session(), [], {}
    making = network.sender

    def remembered(number, *rest):
        senders[number] = making(number, *rest)
        return senders[number]

    network.sender = remembered
    total, summands = masked_sum(network, rows, drops=drops, session=session, transcript=transcript)
    everything = b"\n".join(transcript)
    for number, row in rows.items():
        for start in range(0, 64, 4):  # not even four numbers of it
            assert row[start : start + 4].tobytes() not in everything, number
    told = {number: [0, 0] for number in K4}
    for holder in senders.values():
        for place, share in holder._shares.items():
            for which in (0, 1):
                half = share[:SECRET_BYTES] if which == 0 else share[SECRET_BYTES:]
                told[K4[place]][which] += half in everything
    for number, (of_self_mask, of_private_key) in told.items():
        assert not (of_self_mask and of_private_key)
        assert bool(of_self_mask) == (number in summands)
        assert bool(of_private_key) == (drops.get(number) == "mask")
    for number, sender in senders.items():
        assert sender._seed not in everything
        assert sender._self_secret not in everything, number
    assert total.tobytes() not in everything


def test_the_transcript_test_sees_a_secret_that_was_revealed():
    """What that test looks for are shares that do lead to the secret."""
    run = Run().to_masked()
    halves = {place: run.senders[K4[place]]._shares[0] for place in (0, 2, 3)}
    assert recovered({p: s[:SECRET_BYTES] for p, s in halves.items()}) == run.senders[1]._self_secret
    assert recovered({p: s[SECRET_BYTES:] for p, s in halves.items()}) == run.senders[1]._seed


# Bytes


@settings(deadline=None)
@pytest.mark.parametrize("kind", MESSAGES)
@given(data=st.binary(max_size=400))
@example(data=b"")
@example(data=b"\xff" * 400)
def test_any_bytes_are_a_message_or_refused_by_name(kind, data):
    try:
        message = kind.from_bytes(data)
    except MalformedStatement:
        return
    assert message.to_bytes() == data


def test_a_signed_key_has_the_length_that_is_documented():
    signed = Network((1, 2, 3)).keys[1].signed
    assert isinstance(signed, SignedKey)
    assert len(signed.to_bytes()) == 108


def test_participants_that_were_not_invited_are_refused():
    run = Run(numbers=(1, 2, 3, 4)).to_shared()
    sender = run.network.sender(1, run.session)
    sender.share(invitation_of(run.network, (0, 1, 2)))
    with pytest.raises(InconsistentSum, match="did not invite"):
        sender.accept(run.receiver.participants(1))


def test_every_key_is_for_one_sum_even_if_a_secret_is_drawn_twice():
    one, other = (Network(K4).session(number) for number in (7, 8))
    secret = bytes(16)
    assert self_key(secret, session=one, number=1) != self_key(secret, session=other, number=1)
    assert self_key(secret, session=one, number=1) != self_key(secret, session=one, number=2)
    assert pairwise_key(secret, 1, 2, session=one) != pairwise_key(secret, 1, 2, session=other)
    assert pairwise_key(secret, 1, 2, session=one) == pairwise_key(secret, 2, 1, session=one)


def test_a_second_invitation_before_the_list_begins_anew_with_other_secrets():
    run = Run().to_shared()
    sender = run.senders[1]
    first, secrets = sender.share(run.invitation), (sender._seed, sender._self_secret)
    other = invitation_of(run.network, (0, 1, 2))
    again = sender.share(other)
    assert not {first.public, first.commitment, *first.sealed} & {
        again.public,
        again.commitment,
        *again.sealed,
    }
    assert not {*secrets} & {sender._seed, sender._self_secret}
    for number in (2, 3):
        run.senders[number].share(other)
    sender.share(run.invitation)
    sender.accept(run.receiver.participants(1))
    sender.masked(run.rows[1])


def test_a_member_that_shows_key_after_key_takes_no_more_memory():
    """Each is signed and newer than the last, so each is admitted, and agreed with."""
    network = Network(K4)
    own, book = network.keys[1], network.books[1]
    for start in range(2, 30):
        newer = SealingKey(number=3, incarnation=start, agreement=AGREEMENT, sign=identity_of(3).sign)
        book.admit(newer.signed)
        assert own.agreed_with(book.key_of(3)) == newer.agreed_with(own.signed)
    assert len(own._agreed) == 1


def test_more_liars_than_shares_to_spare_can_have_an_honest_neighbour_named():
    """As the documents say: whoever looks at the shares cannot tell who lies about them."""
    run = Run().to_masked()
    about_the_first = lambda shares: [bytes(SECRET_BYTES), *shares[1:]]  # noqa: E731
    with pytest.raises(WrongShare, match="or 2 or more of the others do") as caught:
        revealed_to(run, {2: about_the_first, 3: about_the_first})
    assert caught.value.members == (1,)


def test_an_invitation_under_another_start_of_a_member_is_refused():
    network = Network(K4)
    invitation = invitation_of(network, (0, 1, 2, 3))
    restarted = SealingKey(number=3, incarnation=2, agreement=AGREEMENT, sign=identity_of(3).sign)
    network.books[1].admit(restarted.signed)
    with pytest.raises(KeyUnknown, match="other keys"):
        network.sender(1).share(invitation)
    network.keys[3] = restarted
    with pytest.raises(KeyUnknown, match="other keys"):
        network.sender(3).share(invitation)

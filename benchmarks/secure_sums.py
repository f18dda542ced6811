"""One masked sum beside a plain exchange of the same rows: bytes, processor time, and latency.

A receiver and its k neighbours are hosts of their own at 127.0.0.1, all in one process with one thread, so latency
holds the work of all of them, one after the other. Keys have been shown before. Run it as

    python benchmarks/secure_sums.py
"""

from __future__ import annotations

import argparse
import hashlib
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
import torch
import trio

from gossipfl.codecs import FLOAT32
from gossipfl.network import Identity, NetworkLimits, open_host
from gossipfl.rounds.sums import RING_ROWS
from gossipfl.rounds.weights import average
from gossipfl.secure import (
    FixedPoint,
    Invitation,
    KeyBook,
    Participants,
    Receiver,
    RevealedShares,
    SealedShares,
    SealingKey,
    Sender,
    Session,
    Signatures,
    Survivors,
    ring_sum,
)
from gossipfl.wire import (
    Expectation,
    Progress,
    RoundForm,
    RoundsExpectation,
    SumMessage,
    SumStep,
    encode,
    encode_round,
)

TASK, LAYOUT, AGREEMENT = (hashlib.sha256(word).digest() for word in (b"task", b"layout", b"agreement"))
LIMITS = NetworkLimits(frames_per_second=1e6, bytes_per_second=1e12, small_frames_per_second=1e9)
RING = FixedPoint(largest=8.0)


@dataclass
class Figures:
    """Bytes of all frames, processor seconds of receiver and neighbours by step, and seconds by the clock."""

    bytes: int = 0
    receiver: float = 0.0
    neighbours: float = 0.0
    seconds: float = 0.0
    rows: dict = field(default_factory=dict)


def expectation(numbers, codec):
    forms = (RoundForm(size=numbers, codecs=(codec,)),)
    rounds = RoundsExpectation(agreement=AGREEMENT, forms=forms)
    return Expectation(task=TASK, layout=LAYOUT, size=numbers, codecs=(FLOAT32,), rounds=rounds)


def progress(*, kept):
    return encode(Progress(task=TASK, agreement=AGREEMENT, incarnation=1, round=0, exchange=0, kept=kept))


def row_frame(payload, codec):
    about = {"task": TASK, "layout": LAYOUT, "agreement": AGREEMENT, "incarnation": 1, "position": (0, 0)}
    return encode_round(payload, codec=codec.name, **about)


class Neighbour:
    """A neighbour's part, with its processor time."""

    def __init__(self, sender, row, figures):
        self.sender, self.row, self.figures = sender, row, figures

    async def answer(self, _peer_id, message):
        began = time.process_time()
        content = b""
        if message.step == SumStep.INVITATION:
            content = self.sender.share(Invitation.from_bytes(message.content)).to_bytes()
        elif message.step == SumStep.PARTICIPANTS:
            self.sender.accept(Participants.from_bytes(message.content))
        elif message.step == SumStep.SURVIVORS:
            content = self.sender.confirm(Survivors.from_bytes(message.content))
        elif message.step == SumStep.SIGNATURES:
            content = self.sender.reveal(Signatures.from_bytes(message.content)).to_bytes()
        frame = encode(replace(message, content=content))
        self.figures.neighbours += time.process_time() - began
        self.figures.bytes += frame.size
        return frame

    def masked(self, weight):
        began = time.process_time()
        masked = self.sender.masked(RING.encode(self.row.numpy(), weight=weight))
        self.figures.neighbours += time.process_time() - began
        return torch.from_numpy(masked.view("<i4"))


async def measured(count, numbers, *, masks):
    """One exchange; masked sums are compared with plain ones to the bit."""
    figures, weight = Figures(), 1 / (count + 1)
    members = range(1, count + 1)
    identities = {number: Identity.generate() for number in range(count + 1)}
    rows = {number: torch.randn(numbers) for number in members}
    codec = RING_ROWS if masks else FLOAT32

    async def keep(peer_id, message):
        number = next(each for each in members if identities[each].peer_id == peer_id)
        figures.rows[number] = message.row
        frame = progress(kept=True)
        figures.bytes += frame.size
        return frame

    async with AsyncExitStack() as stack:
        hosts = {
            number: await stack.enter_async_context(
                open_host(identity, expectation=expectation(numbers, codec), limits=LIMITS)
            )
            for number, identity in identities.items()
        }
        home = (hosts[0].peer_id, hosts[0].addresses)
        hosts[0].serve(keep)

        async def sent(number, payload):
            frame = row_frame(payload, codec)
            figures.bytes += frame.size
            await hosts[number].exchange(*home, frame, seconds=120)

        async def greeted(number):
            await hosts[number].exchange(*home, progress(kept=False), seconds=60)

        hosts[0].serve(lambda _peer, _message: _ready(progress(kept=False)))
        await _together(greeted, members)  # connections are there before an exchange
        hosts[0].serve(keep)
        if not masks:
            began = time.perf_counter()
            await _together(lambda number: sent(number, FLOAT32.encode(rows[number])), members)
            worked = time.process_time()
            average(dict.fromkeys(members, weight), figures.rows)
            figures.receiver += time.process_time() - worked
            figures.seconds = time.perf_counter() - began
            return figures
        parts = _parts(identities, members, rows, figures)
        receiver = Receiver(parts[1].sender.session, keys=parts[0])
        for number in members:
            hosts[number].serve(parts[number].answer)

        async def asked(step, content_of, take):
            async def ask(number):
                worked = time.process_time()
                content = content_of(number)
                figures.receiver += time.process_time() - worked
                message = SumMessage(
                    agreement=AGREEMENT, round=0, exchange=0, step=int(step), content=content
                )
                frame = encode(message)
                figures.bytes += frame.size
                reply = await hosts[0].exchange(
                    hosts[number].peer_id, hosts[number].addresses, frame, seconds=120
                )
                worked = time.process_time()
                take(number, reply.content)
                figures.receiver += time.process_time() - worked

            await _together(ask, members)

        began = time.perf_counter()
        invitation = receiver.invitation(members).to_bytes()
        await asked(
            SumStep.INVITATION,
            lambda _: invitation,
            lambda number, content: receiver.shared(number, SealedShares.from_bytes(content)),
        )
        await asked(
            SumStep.PARTICIPANTS,
            lambda number: receiver.participants(number).to_bytes(),
            lambda _number, _content: None,
        )
        figures.rows["prepared"] = time.perf_counter() - began
        await _together(lambda number: sent(number, RING_ROWS.encode(parts[number].masked(weight))), members)
        for number in members:
            receiver.row(number, figures.rows[number].numpy().view("<u4"))
        survivors = receiver.survivors().to_bytes()
        await asked(SumStep.SURVIVORS, lambda _: survivors, receiver.confirmed)
        signatures = receiver.signatures().to_bytes()
        await asked(
            SumStep.SIGNATURES,
            lambda _: signatures,
            lambda number, content: receiver.revealed(number, RevealedShares.from_bytes(content)),
        )
        worked = time.process_time()
        total = receiver.total()
        figures.receiver += time.process_time() - worked
        figures.seconds = time.perf_counter() - began
        encoded = [RING.encode(rows[number].numpy(), weight=weight) for number in members]
        assert np.array_equal(total, ring_sum(encoded, like=encoded[0]))
        return figures


def _parts(identities, members, rows, figures):
    """The receiver's book of keys, and all neighbours' parts."""
    public = {number: identity.public_key for number, identity in identities.items()}
    keys = {
        number: SealingKey(number=number, incarnation=1, agreement=AGREEMENT, sign=identities[number].sign)
        for number in members
    }
    books = {number: KeyBook(public, agreement=AGREEMENT) for number in identities}
    for book in books.values():
        for key in keys.values():
            book.admit(key.signed)
    session = Session(agreement=AGREEMENT, round=0, exchange=0, receiver=0, neighbours=tuple(members))
    for number in members:
        for other in members:
            if other != number:
                keys[number].agreed_with(keys[other].signed)  # once at a start, and not in every exchange
    return {
        0: books[0],
        **{
            number: Neighbour(Sender(session, key=keys[number], keys=books[number]), rows[number], figures)
            for number in members
        },
    }


async def _ready(frame):
    return frame


async def _together(work, members):
    async with trio.open_nursery() as nursery:
        for number in members:
            nursery.start_soon(work, number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neighbours", type=int, nargs="+", default=[4, 10, 20])
    parser.add_argument("--numbers", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "|   k | numbers | bytes, plain | masked | ratio | CPU of a neighbour, ms | of the receiver, ms | "
        "plain exchange, ms | masked, ms | of which before the rows, ms |"
    )
    for numbers in given.numbers:
        for count in given.neighbours:
            runs = [
                [trio.run(lambda m=masks: measured(count, numbers, masks=m)) for masks in (False, True)]  # noqa: B023
                for _ in range(given.repeats)
            ]
            plain, masked = ([run[which] for run in runs] for which in (0, 1))

            def ms(values):
                return f"{1e3 * median(values):,.1f}"

            ratio = masked[0].bytes / plain[0].bytes
            print(
                f"| {count:>3} | {numbers:>9,} | {plain[0].bytes:,} | {masked[0].bytes:,} | {ratio:.3f} | "
                f"{ms(each.neighbours / count for each in masked)} | {ms(each.receiver for each in masked)} | "
                f"{ms(each.seconds for each in plain)} | {ms(each.seconds for each in masked)} | "
                f"{ms(each.rows['prepared'] for each in masked)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

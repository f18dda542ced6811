"""The clock of rounds: what happens between nodes in a round, in the order in which it does.

As peers do: a node computes, sends its row to all recipients at once, waits until the rows of its neighbours are
there and its own are answered, or until the deadline, and goes on by itself. Nobody waits for those far away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import Any

import numpy as np

from gossipfl.wire import OFFERED_BYTES
from sims.clock.circumstances import Circumstances
from sims.clock.outcome import MissingRows, RoundTimes
from sims.clock.pairs import Pairs, pairs_of
from sims.clock.plain import Arrays, Event, as_array, events_of, of_array, plain_events, under, within
from sims.clock.profile import ExchangeProfile, RoundProfile
from sims.clock.saved import Source, restored_rounds, saved_rounds
from sims.clock.transfers import Transfers
from sims.clock.under_way import NodeUnderWay, Place, RoundUnderWay
from sims.world.networks import RoundNetwork

__all__ = ["RoundClock"]

_AHEAD = 64  # rounds that a node without neighbours may be ahead of the slowest


class RoundClock:
    """Rounds in real time.

    Parameters
    ----------
    network : RoundNetwork
    circumstances : Circumstances
    profile : callable
        The next round's profile, whenever it is called.
    sources : mapping of str to Source
        What circumstances and profiles come from, if it changes, by names; it is in the clock's state.

    Attributes
    ----------
    seconds : list of float
        When the last node ended each round.
    lost, late : int
        Messages that were lost, and those that came after the deadline or not at all.
    """

    def __init__(
        self,
        network: RoundNetwork,
        circumstances: Circumstances,
        profile: Callable[[], RoundProfile],
        *,
        sources: Mapping[str, Source] | None = None,
    ) -> None:
        self._network, self._around, self._profile = network, circumstances, profile
        self._sources = sources or {}
        self._n = network.sequence.n
        self._nodes = [NodeUnderWay() for _ in range(self._n)]
        self._rounds: dict[int, RoundUnderWay] = {}
        self._known = self._done = self._order = 0
        self._held: list[int] = []
        self._events: list[Event] = []
        self._transfers = Transfers(circumstances.links)
        self._finished: dict[int, RoundTimes] = {}
        self.seconds: list[float] = []
        self.lost = self.late = 0
        for node in range(self._n):
            self._at(0.0, self._begin_round, node, 0)

    def round(self, number: int) -> RoundTimes:
        """Let time pass until all nodes have ended a round; rounds are asked for in order, each once."""
        while number not in self._finished:
            self._advance()
        return self._finished.pop(number)

    def state(self) -> Arrays:
        """All that changes, between two rounds that are asked for: where everybody is, and what is under way."""
        rounds, arrays = saved_rounds(self._rounds, self._finished, self._n)
        counted = (self._known, self._done, self._order, self.lost, self.late)
        events = plain_events(self._events)
        nodes = [node.plain() for node in self._nodes]
        state: Arrays = {
            "others": as_array([counted, self._held, events, nodes, rounds]),
            "seconds": np.array(self.seconds, dtype=np.float64),
            **under("rounds", arrays),
            **under("transfers", self._transfers.state()),
        }
        for name, source in self._sources.items():
            state |= under(name, source.state())
        return state

    def restore(self, state: Arrays) -> None:
        """Continue from a state, without a round done again."""
        counted, self._held, events, nodes, rounds = of_array(state["others"])
        self._known, self._done, self._order, self.lost, self.late = counted
        self._events = events_of(events, self._happenings())
        self._nodes = [NodeUnderWay.of_plain(each) for each in nodes]
        self._rounds, self._finished = restored_rounds(rounds, within("rounds", state), self._pairs)
        self.seconds = state["seconds"].tolist()
        self._transfers.restore(within("transfers", state))
        for name, source in self._sources.items():
            source.restore(within(name, state))

    def _happenings(self) -> tuple[Callable[..., None], ...]:
        """Whatever is scheduled, by names that checkpoints have."""
        return (
            *(self._begin_round, self._is_computed, self._end_round, self._leave, self._time_is_up),
            *(self._may_send, self._arrives, self._answered, self._is_passed),
            *(self._at_server, self._from_server),
        )

    # Time

    @property
    def _now(self) -> float:
        return self._transfers.now

    def _at(self, time: float, happens: Callable[..., None], *about: Any) -> None:  # noqa: ANN401
        self._order += 1
        heappush(self._events, (time, self._order, happens, about))

    def _advance(self) -> None:
        next_event = self._events[0][0] if self._events else math.inf
        next_end = self._transfers.next_end()
        if next_end <= next_event:
            for key in self._transfers.advance(next_end):
                self._transferred(*key)
            return
        for key in self._transfers.advance(next_event):
            self._transferred(*key)
        while self._events and self._events[0][0] <= next_event:
            _, _, happens, about = heappop(self._events)
            happens(*about)

    # A node's way through a round

    def _pairs(self, profile: RoundProfile, number: int) -> list[Pairs]:
        over = {each.over for each in profile.exchanges}
        pairs = {each: pairs_of(self._network, number, each) for each in over}
        return [pairs[each.over] for each in profile.exchanges]

    def _opened(self, number: int) -> RoundUnderWay:
        while self._known <= number:
            profile = self._profile()
            self._rounds[self._known] = RoundUnderWay(
                profile=profile,
                pairs=self._pairs(profile, self._known),
                attending=self._around.attending(self._known, self._now),
                ends=np.zeros(self._n),
                left=self._n,
                missing=[[] for _ in profile.exchanges],
            )
            self._known += 1
        return self._rounds[number]

    def _begin_round(self, node: int, number: int) -> None:
        if number > self._done + _AHEAD:
            self._held.append(node)
            return
        if [0.0, *self.seconds[-2:]][-2:] == [
            self._now
        ] * 2:  # a round in no time: nobody had anybody to talk to
            self._at(self._now + self._around.period, self._begin_round, node, number)
            return
        the_round = self._opened(number)
        self._nodes[node].place, self._nodes[node].since = (number, 0), self._now
        idle = the_round.attending.idle
        if not idle[node]:
            self._begin_segment(node)
        elif idle.all():
            self._at(self._now + self._around.period, self._end_round, node)
        elif the_round.first_end is None:
            the_round.resting.append(node)
        else:
            self._end_round(node)

    def _begin_segment(self, node: int) -> None:
        """Compute up to the next exchange, and carry it out meanwhile if it does not depend on that."""
        state = self._nodes[node]
        state.began = state.computed = state.exchanged = state.leaves = False
        profile = self._rounds[state.place[0]].profile
        exchange = self._exchange_at(state.place)
        steps = profile.steps_after if exchange is None else exchange.steps
        seconds = steps * float(self._around.step_seconds[node])
        if seconds:
            seconds *= self._around.pace(node, state.place[0])
        if exchange is not None and exchange.overlaps:
            self._begin_exchange(node, exchange)
        if seconds > 0:
            self._at(self._now + seconds, self._is_computed, node, state.place)
        else:
            self._is_computed(node, state.place)

    def _exchange_at(self, place: Place) -> ExchangeProfile | None:
        exchanges = self._rounds[place[0]].profile.exchanges
        return exchanges[place[1]] if place[1] < len(exchanges) else None

    def _is_computed(self, node: int, place: Place) -> None:
        state = self._nodes[node]
        exchange = self._exchange_at(place)
        state.computed = True
        if exchange is None:
            until = state.since + self._around.least(node, place[0])
            if until > self._now:
                self._at(until, self._end_round, node)
            else:
                self._end_round(node)
        elif not exchange.overlaps:
            self._begin_exchange(node, exchange)
        else:
            self._go_on(node)

    def _go_on(self, node: int) -> None:
        state = self._nodes[node]
        if state.computed and state.exchanged:
            state.place = (state.place[0], state.place[1] + 1)
            self._begin_segment(node)

    def _end_round(self, node: int) -> None:
        number = self._nodes[node].place[0]
        the_round = self._rounds[number]
        the_round.ends[node] = self._now
        the_round.left -= 1
        self._nodes[node].place = (number + 1, 0)
        self._nodes[node].began = False
        self._at(self._now, self._begin_round, node, number + 1)
        if the_round.first_end is None:
            the_round.first_end = self._now
            for resting in the_round.resting:
                self._end_round(resting)
        if not the_round.left and number in self._rounds:  # and those who rested have not finished it
            self._finish(number)

    def _finish(self, number: int) -> None:
        the_round = self._rounds.pop(number)
        missing = []
        for pairs, gone in zip(the_round.pairs, the_round.missing, strict=True):
            absent = the_round.attending.are_apart(pairs.receivers, pairs.senders)
            receivers = np.array([pair[0] for pair in gone], dtype=np.int64)
            senders = np.array([pair[1] for pair in gone], dtype=np.int64)
            missing.append(
                MissingRows(
                    receivers=np.concatenate([receivers, pairs.receivers[absent]]),
                    senders=np.concatenate([senders, pairs.senders[absent]]),
                    unsent=int(absent.sum()),
                )
            )
        self._finished[number] = RoundTimes(
            ends=the_round.ends, attending=the_round.attending, missing=tuple(missing)
        )
        self.seconds.append(float(the_round.ends.max()))
        self._done = number + 1
        held, self._held = self._held, []
        for node in held:
            self._at(self._now, self._begin_round, node, self._nodes[node].place[0])

    # Exchanges

    def _begin_exchange(self, node: int, exchange: ExchangeProfile) -> None:
        state = self._nodes[node]
        place = state.place
        the_round = self._rounds[place[0]]
        state.began = True
        bits = 8.0 * exchange.bytes
        if exchange.over == "server":
            self._transfers.begin((place, node, None), sender=node, receiver=None, bits=bits)
            return
        pairs, attending = the_round.pairs[place[1]], the_round.attending
        told = attending.reach(node, pairs.told[node])
        arrived = state.early.pop(place, set())
        gone = state.given_up.pop(place, set()) - arrived
        the_round.missing[place[1]].extend((node, each) for each in sorted(gone))
        arrived |= gone
        state.waits_for = {each for each in attending.reach(node, pairs.heard[node]) if each not in arrived}
        state.unanswered = set(told)
        for each in told:
            number = self._message(place, each)
            asks = self._around.travel(node, each, number) + self._around.travel(each, node, number)
            if asks > 0 and exchange.bytes > OFFERED_BYTES:  # peers offer large rows before they send them
                self._at(self._now + asks, self._may_send, node, each, place, bits)
            else:
                self._transfers.begin((place, node, each), sender=node, receiver=each, bits=bits)
        if self._around.deadline < math.inf:
            self._at(self._now + self._around.deadline, self._time_is_up, node, place)
        self._may_leave(node)

    def _may_send(self, sender: int, receiver: int, place: Place, bits: float) -> None:
        state = self._nodes[sender]
        if state.place == place and receiver in state.unanswered:
            self._transfers.begin((place, sender, receiver), sender=sender, receiver=receiver, bits=bits)

    def _may_leave(self, node: int) -> None:
        state = self._nodes[node]
        if not state.began or state.leaves or state.waits_for or state.unanswered:
            return
        state.leaves, place = True, state.place
        seconds = self._confirming(node, place) if self._around.confirmations else 0.0
        if seconds:
            self._at(self._now + seconds, self._leave, node)
        else:
            self._leave(node)

    def _leave(self, node: int) -> None:
        self._nodes[node].exchanged = True
        self._go_on(node)

    def _confirming(self, node: int, place: Place) -> float:
        """Seconds of what follows on the rows of an exchange."""
        the_round, travel = self._rounds[place[0]], self._around.travel
        others = the_round.attending.reach(node, the_round.pairs[place[1]].heard[node])
        number = self._message(place, node)
        trips = [travel(node, each, number) + travel(each, node, number) for each in others]
        return self._around.confirmations * max(trips, default=0.0)

    def _transferred(self, place: Place, sender: int | None, receiver: int | None) -> None:
        if sender is None or receiver is None:
            node = sender if receiver is None else receiver
            assert node is not None  # noqa: S101  (one of the two is no server)
            back = self._from_server if sender is None else self._at_server
            self._at(self._now + float(self._around.to_server[node]), back, node, place)
            return
        number = self._message(place, receiver)
        if self._around.is_lost(sender, number):
            self.lost += 1
            return
        self._at(
            self._now + self._around.travel(sender, receiver, number), self._arrives, sender, receiver, place
        )

    def _message(self, place: Place, receiver: int) -> int:
        """The number of a message among those of its sender."""
        return (place[0] * 16 + place[1]) * self._n + receiver

    def _arrives(self, sender: int, receiver: int, place: Place) -> None:
        state = self._nodes[receiver]
        if place > state.place or (place == state.place and not state.began):
            state.early.setdefault(place, set()).add(sender)
        elif place == state.place:
            state.waits_for.discard(sender)
        answer = self._around.travel(receiver, sender, self._message(place, sender))
        if answer > 0:
            self._at(self._now + answer, self._answered, sender, receiver, place)
        else:
            self._answered(sender, receiver, place)
        if place == state.place:
            self._may_leave(receiver)

    def _answered(self, sender: int, receiver: int, place: Place) -> None:
        state = self._nodes[sender]
        if state.place == place:
            state.unanswered.discard(receiver)
            self._may_leave(sender)

    def _time_is_up(self, node: int, place: Place) -> None:
        """Go on without the rows that are not there, and end one's own transfers."""
        state = self._nodes[node]
        if state.place != place or state.leaves:
            return
        self.late += len(state.waits_for)
        self._rounds[place[0]].missing[place[1]].extend((node, each) for each in sorted(state.waits_for))
        self._transfers.cancel({(place, node, each) for each in state.unanswered})
        for receiver in sorted(state.unanswered):
            travels = self._around.travel(node, receiver, self._message(place, receiver))
            self._at(self._now + travels, self._is_passed, node, receiver, place)
        state.waits_for, state.unanswered = set(), set()
        self._may_leave(node)

    def _is_passed(self, sender: int, receiver: int, place: Place) -> None:
        """A node hears that a neighbour has gone on, and will send nothing more."""
        state = self._nodes[receiver]
        if place > state.place or (place == state.place and not state.began):
            state.given_up.setdefault(place, set()).add(sender)
        elif place == state.place and sender in state.waits_for:
            state.waits_for.discard(sender)
            self.late += 1
            self._rounds[place[0]].missing[place[1]].append((receiver, sender))
            self._may_leave(receiver)

    # A server

    def _at_server(self, node: int, place: Place) -> None:
        del node
        the_round = self._rounds[place[0]]
        there = the_round.at_server[place[1]] = the_round.at_server.get(place[1], 0) + 1
        present = np.flatnonzero(~the_round.attending.idle).tolist()
        if there == len(present):
            bits = 8.0 * the_round.profile.exchanges[place[1]].bytes
            for each in present:
                self._transfers.begin((place, None, each), sender=None, receiver=each, bits=bits)

    def _from_server(self, node: int, place: Place) -> None:
        del place
        self._nodes[node].exchanged = True
        self._go_on(node)

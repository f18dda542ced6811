"""The clock of rounds: what happens between nodes in a round, in the order in which it does.

As peers do: a node computes, sends its row to all recipients at once, waits until the rows of its neighbours are
there and its own are answered, or until the deadline, and goes on by itself. Nobody waits for those far away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from sims.clock.agenda import Agenda
from sims.clock.circumstances import Circumstances
from sims.clock.exchanges import ExchangesInTime
from sims.clock.outcome import MissingRows, RoundTimes
from sims.clock.pairs import Pairs, pairs_of
from sims.clock.plain import Arrays, as_array, events_of, of_array, plain_events, under, within
from sims.clock.profile import RoundProfile
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
        self._known = self._done = 0
        self._held: list[int] = []
        self._agenda = Agenda(Transfers(circumstances.links))
        self._exchanges = ExchangesInTime(self._nodes, self._rounds, self._agenda, circumstances, self._go_on)
        self._finished: dict[int, RoundTimes] = {}
        self.seconds: list[float] = []
        for node in range(self._n):
            self._agenda.at(0.0, self._begin_round, node, 0)

    @property
    def lost(self) -> int:
        """Messages that were lost."""
        return self._exchanges.lost

    @property
    def late(self) -> int:
        """Messages that came after the deadline or not at all."""
        return self._exchanges.late

    def round(self, number: int) -> RoundTimes:
        """Let time pass until all nodes have ended a round; rounds are asked for in order, each once."""
        while number not in self._finished:
            self._agenda.advance(self._exchanges.transferred)
        return self._finished.pop(number)

    def state(self) -> Arrays:
        """All that changes, between two rounds that are asked for: where everybody is, and what is under way."""
        rounds, arrays = saved_rounds(self._rounds, self._finished, self._n)
        counted = (self._known, self._done, self._agenda.order, self.lost, self.late)
        events = plain_events(self._agenda.events)
        nodes = [node.plain() for node in self._nodes]
        state: Arrays = {
            "others": as_array([counted, self._held, events, nodes, rounds]),
            "seconds": np.array(self.seconds, dtype=np.float64),
            **under("rounds", arrays),
            **under("transfers", self._agenda.transfers.state()),
        }
        for name, source in self._sources.items():
            state |= under(name, source.state())
        return state

    def restore(self, state: Arrays) -> None:
        """Continue from a state, without a round done again."""
        counted, self._held, events, nodes, rounds = of_array(state["others"])
        self._known, self._done, self._agenda.order, self._exchanges.lost, self._exchanges.late = counted
        self._agenda.events = events_of(events, self._happenings())
        self._nodes[:] = [NodeUnderWay.of_plain(each) for each in nodes]
        under_way, self._finished = restored_rounds(rounds, within("rounds", state), self._pairs)
        self._rounds.clear()
        self._rounds.update(under_way)
        self.seconds = state["seconds"].tolist()
        self._agenda.transfers.restore(within("transfers", state))
        for name, source in self._sources.items():
            source.restore(within(name, state))

    def _happenings(self) -> tuple[Callable[..., None], ...]:
        """Whatever is scheduled, by names that checkpoints have."""
        own = (self._begin_round, self._is_computed, self._end_round)
        return *own, *self._exchanges.happenings()

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
                attending=self._around.attending(self._known, self._agenda.now),
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
            self._agenda.now
        ] * 2:  # a round in no time: nobody had anybody to talk to
            self._agenda.after(self._around.period, self._begin_round, node, number)
            return
        the_round = self._opened(number)
        self._nodes[node].place, self._nodes[node].since = (number, 0), self._agenda.now
        idle = the_round.attending.idle
        if not idle[node]:
            self._begin_segment(node)
        elif idle.all():
            self._agenda.after(self._around.period, self._end_round, node)
        elif the_round.first_end is None:
            the_round.resting.append(node)
        else:
            self._end_round(node)

    def _begin_segment(self, node: int) -> None:
        """Compute up to the next exchange, and carry it out meanwhile if it does not depend on that."""
        state = self._nodes[node]
        state.began = state.computed = state.exchanged = state.leaves = False
        profile = self._rounds[state.place[0]].profile
        exchange = profile.exchange(state.place[1])
        steps = profile.steps_after if exchange is None else exchange.steps
        seconds = steps * float(self._around.step_seconds[node])
        if seconds:
            seconds *= self._around.pace(node, state.place[0])
        if exchange is not None and exchange.overlaps:
            self._exchanges.begin(node, exchange)
        if seconds > 0:
            self._agenda.after(seconds, self._is_computed, node, state.place)
        else:
            self._is_computed(node, state.place)

    def _is_computed(self, node: int, place: Place) -> None:
        state = self._nodes[node]
        exchange = self._rounds[place[0]].profile.exchange(place[1])
        state.computed = True
        if exchange is None:
            until = state.since + self._around.least(node, place[0])
            if until > self._agenda.now:
                self._agenda.at(until, self._end_round, node)
            else:
                self._end_round(node)
        elif not exchange.overlaps:
            self._exchanges.begin(node, exchange)
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
        the_round.ends[node] = self._agenda.now
        the_round.left -= 1
        self._nodes[node].place = (number + 1, 0)
        self._nodes[node].began = False
        self._agenda.at(self._agenda.now, self._begin_round, node, number + 1)
        if the_round.first_end is None:
            the_round.first_end = self._agenda.now
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
            self._agenda.at(self._agenda.now, self._begin_round, node, self._nodes[node].place[0])

"""Exchanges in time: each message on its way, its answer, and who waits for it no longer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from gossipfl.wire import OFFERED_BYTES
from sims.clock.agenda import Agenda
from sims.clock.circumstances import Circumstances
from sims.clock.profile import ExchangeProfile
from sims.clock.under_way import NodeUnderWay, Place, RoundUnderWay

__all__ = ["ExchangesInTime"]


class ExchangesInTime:
    """Exchanges of nodes under way.

    Parameters
    ----------
    nodes : list of NodeUnderWay
    rounds : dict of int to RoundUnderWay
        By their numbers.
    agenda : Agenda
    circumstances : Circumstances
    go_on : callable
        Called with a node whenever its exchange is over.

    Attributes
    ----------
    lost, late : int
        Messages that were lost, and those that came after the deadline or not at all.
    """

    def __init__(
        self,
        nodes: list[NodeUnderWay],
        rounds: dict[int, RoundUnderWay],
        agenda: Agenda,
        circumstances: Circumstances,
        go_on: Callable[[int], None],
    ) -> None:
        self._nodes, self._rounds, self._agenda, self._around = nodes, rounds, agenda, circumstances
        self._go_on = go_on
        self.lost = self.late = 0

    def happenings(self) -> tuple[Callable[..., None], ...]:
        """Whatever is scheduled here, by names that checkpoints have."""
        return (
            *(self._leave, self._time_is_up, self._may_send, self._arrives, self._answered, self._is_passed),
            *(self._at_server, self._from_server),
        )

    def begin(self, node: int, exchange: ExchangeProfile) -> None:
        """Send a node's rows, and wait for those of its neighbours."""
        state = self._nodes[node]
        place = state.place
        the_round = self._rounds[place[0]]
        state.began = True
        bits = 8.0 * exchange.bytes
        if exchange.over == "server":
            self._agenda.transfers.begin((place, node, None), sender=node, receiver=None, bits=bits)
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
                self._agenda.after(asks, self._may_send, node, each, place, bits)
            else:
                self._agenda.transfers.begin((place, node, each), sender=node, receiver=each, bits=bits)
        if self._around.deadline < math.inf:
            self._agenda.after(self._around.deadline, self._time_is_up, node, place)
        self._may_leave(node)

    def _may_send(self, sender: int, receiver: int, place: Place, bits: float) -> None:
        state = self._nodes[sender]
        if state.place == place and receiver in state.unanswered:
            self._agenda.transfers.begin(
                (place, sender, receiver), sender=sender, receiver=receiver, bits=bits
            )

    def _may_leave(self, node: int) -> None:
        state = self._nodes[node]
        if not state.began or state.leaves or state.waits_for or state.unanswered:
            return
        state.leaves, place = True, state.place
        seconds = self._confirming(node, place) if self._around.confirmations else 0.0
        if seconds:
            self._agenda.after(seconds, self._leave, node)
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

    def transferred(self, place: Place, sender: int | None, receiver: int | None) -> None:
        """Let a row travel that its sender's link has carried; a server is None."""
        if sender is None or receiver is None:
            node = sender if receiver is None else receiver
            assert node is not None  # noqa: S101  (one of the two is no server)
            back = self._from_server if sender is None else self._at_server
            self._agenda.after(float(self._around.to_server[node]), back, node, place)
            return
        number = self._message(place, receiver)
        if self._around.is_lost(sender, number):
            self.lost += 1
            return
        self._agenda.after(
            self._around.travel(sender, receiver, number),
            self._arrives,
            sender,
            receiver,
            place,
        )

    def _message(self, place: Place, receiver: int) -> int:
        """The number of a message among those of its sender."""
        return (place[0] * 16 + place[1]) * len(self._nodes) + receiver

    def _arrives(self, sender: int, receiver: int, place: Place) -> None:
        state = self._nodes[receiver]
        if place > state.place or (place == state.place and not state.began):
            state.early.setdefault(place, set()).add(sender)
        elif place == state.place:
            state.waits_for.discard(sender)
        answer = self._around.travel(receiver, sender, self._message(place, sender))
        if answer > 0:
            self._agenda.after(answer, self._answered, sender, receiver, place)
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
        self._agenda.transfers.cancel({(place, node, each) for each in state.unanswered})
        for receiver in sorted(state.unanswered):
            travels = self._around.travel(node, receiver, self._message(place, receiver))
            self._agenda.after(travels, self._is_passed, node, receiver, place)
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

    def _at_server(self, node: int, place: Place) -> None:
        del node
        the_round = self._rounds[place[0]]
        there = the_round.at_server[place[1]] = the_round.at_server.get(place[1], 0) + 1
        present = np.flatnonzero(~the_round.attending.idle).tolist()
        if there == len(present):
            bits = 8.0 * the_round.profile.exchanges[place[1]].bytes
            for each in present:
                self._agenda.transfers.begin((place, None, each), sender=None, receiver=each, bits=bits)

    def _from_server(self, node: int, place: Place) -> None:
        del place
        self._nodes[node].exchanged = True
        self._go_on(node)

"""Steps of a round: the messages of its exchanges in order, where summaries and wishes may come before rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gossipfl.rounds.message_shapes import ExchangeForm
from gossipfl.rounds.mixing import Mixing

__all__ = ["Step", "first_step", "steps_of"]


@dataclass(frozen=True, slots=True)
class Step:
    """Messages of one kind, at most one from each member to each neighbour.

    Parameters
    ----------
    exchange : int
        Number of the exchange in the round.
    what : {'summary', 'wish', 'row'}
        A wish is one number for a neighbour: 1 asks for its row, 0 does not.
    form : ExchangeForm
    """

    exchange: int
    what: Literal["summary", "wish", "row"]
    form: ExchangeForm

    @property
    def size(self) -> int:
        """Numbers in a message."""
        return {"summary": self.form.summary or 0, "wish": 1, "row": self.form.size}[self.what]

    def senders(self, mixing: Mixing, round_number: int, number: int) -> tuple[int, ...]:
        """Who may send a member such a message: its neighbours, and wishes those that get its row."""
        around = mixing.recipients if self.what == "wish" else mixing.neighbours
        return around(round_number, self.form, number)


def steps_of(forms: Sequence[ExchangeForm], *, thinned: bool = False) -> tuple[Step, ...]:
    """List the steps of a round.

    Parameters
    ----------
    forms : sequence of ExchangeForm
    thinned : bool
        Whether rows are sent without some of their numbers. A summary of the others cannot be made then, so all
        rows are sent, and summarised by those who receive them.
    """
    steps = []
    for exchange, form in enumerate(forms):
        if form.summary is not None and not (form.summary and thinned):
            steps += [Step(exchange, "summary", form)] if form.summary else []
            steps.append(Step(exchange, "wish", form))
        steps.append(Step(exchange, "row", form))
    return tuple(steps)


def first_step(steps: Sequence[Step], exchange: int) -> int:
    """Place of the first step of an exchange."""
    return next(place for place, step in enumerate(steps) if step.exchange == exchange)

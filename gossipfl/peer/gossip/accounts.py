"""The token accounts of a peer, which decide when it sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from gossipfl.algorithms.gossip.flow import Flow, reactive_messages, sends_proactively
from gossipfl.peer.gossip.own_draws import CLOCK, RECEIPT, OwnDraws

__all__ = ["TokenAccounts"]


class TokenAccounts:
    """Tokens for messages, one of which is earned whenever the clock rings and nothing is sent.

    Parameters
    ----------
    flow : Flow
        Without tokens, every ring of the clock is a message, and nothing is recorded.
    draws : OwnDraws
    record : callable
        Called with one record of each decision.
    count : int
        Accounts: one, or one for each part of a model.

    Attributes
    ----------
    tokens : list of int
        In each account.

    References
    ----------
    Danner & Jelasity, "Token account algorithms: the best of the proactive and reactive worlds", ICDCS 2018.
    """

    def __init__(
        self, flow: Flow, draws: OwnDraws, record: Callable[[Mapping[str, Any]], None], *, count: int = 1
    ) -> None:
        self._flow, self._draws, self._record = flow, draws, record
        self._rings = self._receipts = 0
        self.tokens = [0] * count

    @property
    def are_used(self) -> bool:
        """Whether messages are paid for with tokens."""
        return self._flow.is_paid

    def described(self) -> dict[str, Any] | None:
        """Return the flow and the tokens in each account, for the status; None where none are used."""
        return {**asdict(self._flow), "tokens": list(self.tokens)} if self.are_used else None

    def ring(self, account: int = 0) -> bool:
        """Return whether a message is sent now that the clock has rung; if not, a token is earned."""
        if not self._flow.is_paid:
            return True
        u = self._draws.uniform(CLOCK, self._rings)
        sends = sends_proactively(*self._flow.numbers, self.tokens[account], u)
        self._note("clock", self._rings, account, int(sends))
        self._rings += 1
        self.tokens[account] += not sends
        return sends

    def receive(self, event: int, account: int = 0, *, is_useful: bool = True) -> int:
        """Return how many messages answer a model, merged in the event of this number, and pay for them.

        A useful model is no older than the peer's own was before; with `Flow.useful` of ``all``, every model is.
        """
        if not self._flow.is_paid:
            return 0
        u = self._draws.uniform(RECEIPT, self._receipts)
        is_useful = is_useful or not self._flow.compares_ages
        kind, _, reserve = self._flow.numbers
        messages = reactive_messages(kind, reserve, self.tokens[account], is_useful, u)
        self._note("receipt", self._receipts, account, messages, event=event, is_useful=is_useful)
        self._receipts += 1
        self.tokens[account] -= messages
        return messages

    def _note(
        self,
        occasion: str,
        number: int,
        account: int,
        messages: int,
        *,
        event: int | None = None,
        is_useful: bool | None = None,
    ) -> None:
        self._record(
            {
                "kind": "tokens",
                "occasion": occasion,
                "number": number,
                "merge_event": event,
                "useful": is_useful,
                "account": account,
                "tokens": self.tokens[account],
                "messages": messages,
            }
        )

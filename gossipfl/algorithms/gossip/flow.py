"""Flow control: messages sent periodically, or paid for with earned tokens.

Danner & Jelasity, "Token account algorithms: the best of the proactive and reactive worlds", ICDCS 2018, Section
III.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from gossipfl.algorithms.declaration import Parameter
from gossipfl.errors import SettingError

__all__ = ["KINDS", "PROACTIVE", "Flow", "reactive_messages", "sends_proactively"]

#: Flows in the order of the numbers that stand for them.
KINDS = ("proactive", "simple", "generalized", "randomized")
_PROACTIVE, _SIMPLE, _GENERALIZED, _RANDOMIZED = range(4)


# Of numbers and nothing else, so that the simulator can compile both.


def sends_proactively(kind: int, capacity: int, reserve: int, tokens: int, u: float) -> bool:
    """Whether a node sends when its clock rings: the paper's PROACTIVE.

    Parameters
    ----------
    kind : int
        Place in `KINDS`.
    capacity, reserve, tokens : int
        C, A, and the tokens that the node has.
    u : float
        Drawn uniformly from 0 to 1.
    """
    if kind == _PROACTIVE:
        return True
    if kind != _RANDOMIZED:
        return tokens >= capacity
    if tokens < reserve - 1:
        return False
    return u < (tokens - reserve + 1) / (capacity - reserve + 1)


def reactive_messages(kind: int, capacity: int, reserve: int, tokens: int, u: float) -> int:
    """How many messages a node sends on receiving one: the paper's REACTIVE, all messages useful.

    Parameters
    ----------
    kind, capacity, reserve, tokens, u
        As in `sends_proactively`.
    """
    if kind == _PROACTIVE:
        return 0
    if kind == _SIMPLE:
        return min(tokens, 1)
    if kind == _GENERALIZED:
        return (reserve - 1 + tokens) // reserve
    whole, rest = divmod(tokens, reserve)
    return whole + (1 if u < rest / reserve else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Rule by which a node sends.

    Raises
    ------
    SettingError
        The reserve is above the capacity.

    Examples
    --------
    >>> Flow(kind="randomized", capacity=20, reserve=10).capacity
    20
    """

    kind: Annotated[
        Literal["proactive", "simple", "generalized", "randomized"],
        Parameter("proactive: one message a period; others: save tokens, and answer messages with messages"),
    ] = "proactive"
    capacity: Annotated[
        int, Parameter("C: most tokens a node can hold; with that many, it sends periodically", ge=0)
    ] = 20
    reserve: Annotated[
        int, Parameter("A: tokens withheld when answering (generalized, randomized)", ge=1)
    ] = 10

    def __post_init__(self) -> None:
        if self.kind in ("generalized", "randomized") and self.reserve > self.capacity:
            raise SettingError(
                "flow: a node cannot keep back more tokens than it can hold",
                expected=f"a reserve of at most {self.capacity}",
                got=self.reserve,
            )

    @property
    def is_paid(self) -> bool:
        """Whether messages are paid for with tokens."""
        return self.kind != "proactive"

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Kind, capacity and reserve, as the functions of this module take them."""
        return KINDS.index(self.kind), self.capacity if self.is_paid else 0, self.reserve


PROACTIVE = Flow()

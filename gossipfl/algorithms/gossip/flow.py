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


def reactive_messages(kind: int, reserve: int, tokens: int, is_useful: bool, u: float) -> int:  # noqa: FBT001 - for numba
    """How many messages a node sends on receiving one: the paper's REACTIVE.

    Parameters
    ----------
    kind, reserve, tokens, u
        As in `sends_proactively`.
    is_useful : bool
        Whether the message was: others are answered by half as many messages (generalized) or none (randomized).
    """
    if kind == _PROACTIVE:
        return 0
    if kind == _SIMPLE:
        return min(tokens, 1)
    if kind == _GENERALIZED:
        return (reserve - 1 + tokens) // (reserve if is_useful else 2 * reserve)
    if not is_useful:
        return 0
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

    useful: Annotated[
        Literal["not_older", "all"],
        Parameter("which received models are useful: those no older than the node's own, or all"),
    ] = "not_older"

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

    @property
    def compares_ages(self) -> bool:
        """Whether what is sent depends on the ages of models: the paper's u, for gossip learning."""
        return self.kind in ("generalized", "randomized") and self.useful == "not_older"


PROACTIVE = Flow()

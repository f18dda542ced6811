"""Flow control: messages sent periodically, or paid for with earned tokens.

Danner & Jelasity, "Token account algorithms: the best of the proactive and reactive worlds", ICDCS 2018, Section
III.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from gossipfl.algorithms.declaration import Parameter
from gossipfl.errors import SettingError

__all__ = ["PROACTIVE", "Flow"]


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


PROACTIVE = Flow()

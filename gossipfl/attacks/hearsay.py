"""Models that hostile nodes have heard one at a time, and what aimed attacks make of them."""

from __future__ import annotations

import torch
from torch import Tensor

from gossipfl.algorithms.exchanges import Neighbourhood
from gossipfl.attacks.base import Aimed, Receivers
from gossipfl.attacks.everyone import Everyone, KnownLinks
from gossipfl.errors import InvalidAttack

__all__ = ["HEARD", "Hearsay"]

HEARD = 16
"""How many models a hostile node remembers: the last ones that it received."""


class Hearsay:
    """What each of H hostile nodes received last, as the neighbours of a receiver that is like itself.

    Where models come one at a time, nobody has all neighbours' rows at once. A hostile node then takes the last
    models that it received for those of its receiver's neighbours, and its own for the receiver's. It knows which
    of them came from accomplices, who tell it the truth.

    Parameters
    ----------
    attack : Aimed
    count : int
        H.

    Raises
    ------
    InvalidAttack
        The attack needs more than that.
    """

    def __init__(self, attack: Aimed, count: int) -> None:
        missing = attack.needs_more_than_heard
        if missing is not None:
            raise InvalidAttack(
                f"{type(attack).__name__} needs {missing}, and nodes that hear one model at a time do not know it",
                remedy="Leave that out, or choose an algorithm in rounds such as d_psgd.",
            )
        self._attack, self._count = attack, torch.zeros(count, dtype=torch.int64)
        self._hostile = torch.zeros(count, HEARD, dtype=torch.bool)
        self._rows: Tensor | None = None

    def hear(self, places: Tensor, rows: Tensor, hostile: Tensor) -> None:
        """Remember what some of them received.

        Parameters
        ----------
        places : Tensor
            Which of the H, each once: int64 ``[h]``.
        rows : Tensor
            ``[h, P]``; those with numbers that are not finite are forgotten at once.
        hostile : Tensor
            Whether an accomplice sent it, bool ``[h]``.
        """
        finite = rows.isfinite().all(dim=1)
        places, rows, hostile = places[finite], rows[finite], hostile[finite]
        if self._rows is None:
            self._rows = rows.new_zeros(len(self._count), HEARD, rows.shape[1])
        newest = self._count[places] % HEARD
        self._rows[places, newest], self._hostile[places, newest] = rows, hostile
        self._count[places] += 1

    def lies(self, places: Tensor, rows: Tensor, numbers: Tensor, turns: Tensor) -> Tensor:
        """Rows that some of them send, ``[h, P]``.

        Parameters
        ----------
        places : Tensor
            Which of the H, each once: int64 ``[h]``.
        rows : Tensor
            Their own, ``[h, P]``.
        numbers, turns : Tensor
            Their numbers in the network, and how many lies each has told, int64 ``[h]``.
        """
        heard = rows.new_zeros(len(rows), HEARD, rows.shape[1]) if self._rows is None else self._rows[places]
        present = torch.arange(HEARD) < self._count[places, None]
        weights = present.to(rows.dtype) / (present.sum(dim=1, keepdim=True) + 1)
        around = Neighbourhood(
            nodes=torch.arange(len(rows)),
            own=rows,
            own_weights=1 - weights.sum(dim=1),
            rows=heard,
            weights=weights,
            present=present,
        )
        receivers = Receivers(
            around=around,
            numbers=numbers,
            neighbours=torch.full_like(present, -1, dtype=torch.int64),
            hostile=self._hostile[places] & present,
            everyone=Everyone(
                rows=rows,
                hostile=torch.ones(len(rows), dtype=torch.bool),
                links=KnownLinks(_unknown_links, torch.ones(len(rows), dtype=torch.bool).numpy()),
            ),
            turn=int(turns.min()) if len(turns) else 0,
            outcome=_unknown_outcome,
        )
        return self._attack.send_to(receivers)[:, 0]

    def state(self) -> dict[str, Tensor]:
        """All that changes, for a checkpoint."""
        kept = {} if self._rows is None else {"rows": self._rows}
        return {"count": self._count, "hostile": self._hostile, **kept}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a value of `state`."""
        self._count, self._hostile = state["count"], state["hostile"]
        self._rows = state.get("rows")


def _unknown_links() -> object:
    raise InvalidAttack("links are not known to nodes that hear one model at a time")


def _unknown_outcome(rows: Tensor) -> Tensor:
    raise InvalidAttack("what a receiver makes of models is not known to nodes that hear one at a time")

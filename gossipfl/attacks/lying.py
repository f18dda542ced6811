"""Hostile nodes that tell all the same: one lie for each version of their models, and what they remember."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from gossipfl.algorithms.author_calls import errors_of_author
from gossipfl.algorithms.messages import LARGEST_AGE
from gossipfl.attacks.base import Aimed, SameToAll, Senders
from gossipfl.attacks.hearsay import Hearsay
from gossipfl.codecs.draws import exchange_keys, rekeyed
from gossipfl.errors import InvalidAttack
from gossipfl.outgoing import Draws

__all__ = ["Liars"]

_PURPOSE = 0x0A77AC4  # apart from the draws of codecs and noise
_NOBODY = 2**40


class Liars:
    """Hostile nodes, each with what it says in place of the newest version of its model.

    A lie depends on the versions before it of the same node, with an aimed attack also on what the node has heard,
    and on nothing else: not on who it is told to, or how often. In rounds, the versions are the rows that are sent
    in one exchange of each.

    Parameters
    ----------
    attack : SameToAll or Aimed
        Aimed ones are for messages: in rounds each receiver is sent another row.
    numbers : Tensor
        Of the hostile nodes in the network, int64 ``[H]``.
    seed : int
    exchange : int
        Which exchange of the rounds; 0 for messages.

    Raises
    ------
    InvalidAttack
        An aimed attack needs more than its nodes hear.
    """

    def __init__(self, attack: SameToAll | Aimed, numbers: Tensor, *, seed: int, exchange: int = 0) -> None:
        self._attack, self._numbers, self._seed, self._exchange = attack, numbers, seed, exchange
        self._turns = torch.zeros_like(numbers)
        self._memory: dict[str, Tensor] = {}
        nobody = exchange_keys(
            numbers.new_tensor([_NOBODY]), seed=seed, round_number=_NOBODY, exchange=exchange
        )
        self._common = int(rekeyed(nobody, _PURPOSE)[0])
        self._hearsay = Hearsay(attack, len(numbers)) if isinstance(attack, Aimed) else None

    @property
    def listens(self) -> bool:
        """Whether lies depend on what the nodes hear."""
        return self._hearsay is not None

    def hear(self, places: Tensor, rows: Tensor, hostile: Tensor) -> None:
        """Take note of models that some of them received, if lies depend on those; as `Hearsay.hear`."""
        if self._hearsay is not None:
            self._hearsay.hear(places, rows, hostile)

    def lie(self, places: Tensor, rows: Tensor, ages: Tensor) -> tuple[Tensor, Tensor]:
        """Make what some of them say in place of a new version.

        Parameters
        ----------
        places : Tensor
            Which of the H, each once: int64 ``[h]``.
        rows, ages : Tensor
            Their models, as honest nodes in their places would send them: ``[h, P]``, and int64 ``[h]`` or
            ``[h, parts]``.

        Returns
        -------
        rows, ages : Tensor
            Of the same shapes; no age is above the largest that peers send and accept.

        Raises
        ------
        InvalidAttack
            A user's own attack fails, or returns something else than rows.
        """
        sent = self.rows(places, rows)
        with self._errors_named("claim"):
            return sent, self._attack.claim(ages).clamp(max=LARGEST_AGE)

    def rows(self, places: Tensor, rows: Tensor) -> Tensor:
        """Make the rows that some of them send in place of new ones; as `lie`, where rows have no ages."""
        turns = self._turns[places]
        if self._hearsay is not None:
            with self._errors_named("send_to"):
                sent = self._hearsay.lies(places, rows, self._numbers[places], turns)
        else:
            sent = self._made(places, rows, turns)
        if not isinstance(sent, Tensor) or sent.shape != rows.shape:
            raise InvalidAttack(
                f"{type(self._attack).__name__}: send must return a row for each hostile node",
                expected=f"a tensor {list(rows.shape)}",
                got=list(sent.shape) if isinstance(sent, Tensor) else type(sent).__name__,
            )
        self._turns[places] += 1
        return sent.to(rows.dtype)

    def _made(self, places: Tensor, rows: Tensor, turns: Tensor) -> Tensor:
        assert isinstance(self._attack, SameToAll)  # noqa: S101  (all others listen)
        with self._errors_named("send"):
            self._start(places[turns == 0], rows[turns == 0])
            numbers = self._numbers[places] + (turns << 32)
            keys = exchange_keys(numbers, seed=self._seed, round_number=0, exchange=self._exchange)
            senders = Senders(
                numbers=self._numbers[places],
                rows=rows,
                turns=turns,
                draws=Draws(keys=rekeyed(keys, _PURPOSE), common=self._common),
                memory={name: kept[places] for name, kept in self._memory.items()},
            )
            sent = self._attack.send(senders)
            for name, kept in self._attack.remembered(senders).items():
                self._memory[name][places] = kept
        return sent

    def state(self) -> dict[str, Tensor]:
        """All that changes, for a checkpoint."""
        heard = {} if self._hearsay is None else self._hearsay.state()
        return {
            "turns": self._turns,
            **{f"memory.{name}": kept for name, kept in self._memory.items()},
            **{f"heard.{name}": kept for name, kept in heard.items()},
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a value of `state`."""
        self._turns = state["turns"]
        self._memory = {
            name.removeprefix("memory."): kept for name, kept in state.items() if name.startswith("memory.")
        }
        if self._hearsay is not None:
            self._hearsay.restore(
                {
                    name.removeprefix("heard."): kept
                    for name, kept in state.items()
                    if name.startswith("heard.")
                }
            )

    def _start(self, places: Tensor, rows: Tensor) -> None:
        """Give nodes that begin to lie their first memory."""
        if not len(places) or not isinstance(self._attack, SameToAll):
            return
        for name, kept in self._attack.start(rows).items():
            if name not in self._memory:
                self._memory[name] = kept.new_zeros(len(self._numbers), *kept.shape[1:])
            self._memory[name][places] = kept

    def _errors_named(self, function: str) -> AbstractContextManager[None]:
        kind = type(self._attack)
        failed = f"{kind.__name__}: {function} failed"
        return errors_of_author(failed, module=kind.__module__, error=InvalidAttack)

"""The one loop that drives the rounds of an algorithm, without I/O: whoever uses it carries the exchanges out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import torch

from gossipfl.algorithms.author_calls import errors_of_author, require_same_form
from gossipfl.algorithms.base import AnyExchange, Mixed, RoundAlgorithm, RoundContext
from gossipfl.errors import InvalidAlgorithm
from gossipfl.training.nodes import Nodes

__all__ = ["RoundInProgress", "run_round"]


class RoundInProgress:
    """A round of B nodes, stopped at an exchange or at its end.

    ::

        progress = RoundInProgress(algorithm, nodes, context)
        while (exchange := progress.exchange) is not None:
            progress.answer(carry_out(exchange))
        nodes = progress.nodes

    Local computation takes place in the constructor and in `answer`, without gradients.

    Parameters
    ----------
    algorithm : RoundAlgorithm
    nodes : Nodes
        Before the round.
    context : RoundContext

    Attributes
    ----------
    exchange : AnyExchange or None
        The exchange to carry out next; None at the end of the round.
    number : int
        Which exchange of the round that is, from 0; at the end, how many there were.

    Raises
    ------
    InvalidAlgorithm
        If the algorithm fails, yields no exchange, or returns no nodes, or nodes of another form than before.

    Examples
    --------
    >>> import torch
    >>> from dataclasses import dataclass
    >>> from gossipfl.algorithms import Exchange, Mixed, RoundAlgorithm, RoundContext
    >>> from gossipfl.training import Nodes
    >>> @dataclass(frozen=True)
    ... class Averaging(RoundAlgorithm):
    ...     def round(self, nodes, context):
    ...         mixed = yield Exchange(nodes.rows[:, : context.shared_size])
    ...         return nodes.with_shared(mixed.rows, ages=nodes.ages)
    >>> nodes = Nodes.start(torch.tensor([[0.0]]))
    >>> context = RoundContext(local=None, shared_size=1, round=0, numbers=torch.arange(1))
    >>> progress = RoundInProgress(Averaging(), nodes, context)
    >>> progress.answer(Mixed(rows=torch.tensor([[3.0]]), sent=progress.exchange.rows))
    >>> progress.exchange is None, progress.nodes.rows
    (True, tensor([[3.]]))
    """

    def __init__(self, algorithm: RoundAlgorithm, nodes: Nodes, context: RoundContext) -> None:
        self._where = f"{type(algorithm).__name__}, round {context.round}"
        self._module = type(algorithm).__module__
        self._before = nodes
        self._after: Nodes | None = None
        self.exchange: AnyExchange | None = None
        self.number = 0
        self._steps: Any = None

        def begun() -> object:
            self._steps = algorithm.round(nodes, context)
            if not hasattr(self._steps, "send"):
                raise self._invalid("round must be a generator", expected="a yield", got=self._steps)
            return next(self._steps)

        self._advance(begun)

    @property
    def nodes(self) -> Nodes:
        """The nodes after the round, which is over."""
        assert self._after is not None  # noqa: S101  (or the round is not over)
        return self._after

    def answer(self, mixed: Mixed) -> None:
        """Continue with an answer, to the next exchange or the end.

        Raises
        ------
        InvalidAlgorithm
            As in the constructor.
        """
        self.number += 1
        self._advance(lambda: self._steps.send(mixed))

    def _advance(self, resume: Callable[[], object]) -> None:
        failed = f"{self._where}: the algorithm failed at exchange {self.number}"
        with errors_of_author(failed, module=self._module), torch.no_grad():
            try:
                came = resume()
            except StopIteration as ended:
                self._end(ended.value)
                return
        if not isinstance(came, get_args(AnyExchange)):
            raise self._invalid(
                "round must yield exchanges", expected="Exchange, LinkExchange or NeighbourRows", got=came
            )
        self.exchange = came

    def _end(self, after: object) -> None:
        """Keep the nodes after the round, which the next one must be able to begin with."""
        if not isinstance(after, Nodes):
            message = "round must return the nodes after it"
            raise self._invalid(message, expected="Nodes", got=after) from None
        before = self._before
        require_same_form(before, after, what=f"{self._where}: round must return")
        if not before.auxiliary.keys() <= after.auxiliary.keys():  # a first round may add some
            raise InvalidAlgorithm(
                f"{self._where}: round must return all auxiliary values it began with",
                expected=", ".join(sorted(before.auxiliary)),
                got=", ".join(sorted(after.auxiliary)) or "none",
                remedy="Return {**nodes.auxiliary, ...} with those that changed.",
            ) from None
        self.exchange, self._after = None, after

    def _invalid(self, what: str, *, expected: str, got: object) -> InvalidAlgorithm:
        return InvalidAlgorithm(f"{self._where}: {what}", expected=expected, got=type(got).__name__)


def run_round(
    algorithm: RoundAlgorithm,
    nodes: Nodes,
    context: RoundContext,
    carry_out: Callable[[AnyExchange], Mixed],
) -> Nodes:
    """Do one round at a go.

    Parameters
    ----------
    algorithm : RoundAlgorithm
    nodes : Nodes
    context : RoundContext
    carry_out : callable
        Carries out an exchange of all B nodes.

    Raises
    ------
    InvalidAlgorithm
        As `RoundInProgress`.

    Examples
    --------
    >>> import torch
    >>> from gossipfl.algorithms import Exchange, Mixed, RoundAlgorithm, RoundContext
    >>> from gossipfl.training import Nodes
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Averaging(RoundAlgorithm):
    ...     def round(self, nodes, context):
    ...         mixed = yield Exchange(nodes.rows[:, : context.shared_size])
    ...         return nodes.with_shared(mixed.rows, ages=nodes.ages)
    >>> nodes = Nodes.start(torch.tensor([[0.0], [2.0]]))
    >>> context = RoundContext(local=None, shared_size=1, round=0, numbers=torch.arange(2))
    >>> def mean_of_all(exchange):
    ...     return Mixed(rows=exchange.rows.mean(0).expand(2, 1), sent=exchange.rows)
    >>> run_round(Averaging(), nodes, context, mean_of_all).rows.flatten()
    tensor([1., 1.])
    """
    progress = RoundInProgress(algorithm, nodes, context)
    while (exchange := progress.exchange) is not None:
        progress.answer(carry_out(exchange))
    return progress.nodes

"""Callbacks of a run: what is told to whom, and what happens where one fails."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sims.running.result import Result
    from sims.scenario import Scenario

__all__ = ["Audience", "Callback", "CallbackWarning"]

_PATIENCE = 3


class CallbackWarning(UserWarning):
    """A callback failed; the run went on, and its own records are complete."""


class Callback:
    """Somebody who hears of a run while it goes on; derive from it and override what is needed.

    Nothing it does changes the run. What it raises becomes a `CallbackWarning`: the same is told again before the
    next evaluation, and after three failures in a row nothing more.

    Examples
    --------
    >>> import sims
    >>> class Accuracies(sims.Callback):
    ...     def started(self, scenario, directory, earlier):
    ...         self.seen = []
    ...     def evaluated(self, row):
    ...         self.seen.append(row["round"])
    >>> heard, small = Accuracies(), ["population.nodes=32", "stop.rounds=2", "evaluate.every=1"]
    >>> _ = sims.run("digits", overrides=small, callbacks=[heard])
    >>> heard.seen
    [0.0, 1.0, 2.0]
    """

    def started(
        self, scenario: Scenario, directory: Path | None, earlier: Sequence[Mapping[str, Any]]
    ) -> None:
        """Hear that a run begins, or is resumed.

        Parameters
        ----------
        scenario : Scenario
        directory : Path, optional
            Where its records go.
        earlier : sequence of mapping
            Evaluations before it was interrupted; none of a new run.
        """

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Hear of an evaluation: a row of `sims.Result.evaluations`, by column."""

    def ended(self, result: Result) -> None:
        """Hear the outcome of a run that finished or was interrupted (`sims.Result.finished`)."""

    def failed(self, error: BaseException) -> None:
        """Hear that the run itself failed."""


class Audience:
    """All callbacks of a run.

    Parameters
    ----------
    callbacks : sequence of Callback
    """

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        self._listeners = [_Listener(callback) for callback in callbacks]

    def started(
        self, scenario: Scenario, directory: Path | None, earlier: Sequence[Mapping[str, Any]]
    ) -> None:
        """Tell all that a run begins."""
        for listener in self._listeners:
            listener.hear("started", scenario, directory, [dict(row) for row in earlier])

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Tell all of an evaluation."""
        for listener in self._listeners:
            listener.hear("evaluated", dict(row))  # its own, whatever it does with it

    def ended(self, result: Result) -> None:
        """Tell all the outcome."""
        for listener in self._listeners:
            listener.hear("ended", result)
            listener.say_what_it_missed()

    def failed(self, error: BaseException) -> None:
        """Tell all that the run failed."""
        for listener in self._listeners:
            listener.hear("failed", error)


class _Listener:
    """One callback, and what it has not heard yet."""

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        self._waiting: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._failures = 0  # in a row

    def hear(self, event: str, *given: Any) -> None:  # noqa: ANN401 - whatever the event has
        self._waiting.append((event, given))
        while self._waiting and self._failures < _PATIENCE:
            name, values = self._waiting[0]
            try:
                getattr(self.callback, name)(*values)
            except (Exception, SystemExit) as error:
                self._failures += 1
                self._warn(name, error)
                return
            self._waiting.popleft()
            self._failures = 0

    def say_what_it_missed(self) -> None:
        missed = sum(event == "evaluated" for event, _ in self._waiting)
        if self._waiting:
            told = f"{missed} evaluations and the end" if missed else "the end"
            _warned(f"the callback {self._name} was not told of {told} of the run; its records are complete")

    @property
    def _name(self) -> str:
        return type(self.callback).__qualname__

    def _warn(self, event: str, error: BaseException) -> None:
        then = "it is told again" if self._failures < _PATIENCE else "it is told nothing more"
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        _warned(f"the callback {self._name} failed in `{event}`; the run goes on and {then} ({what})")


def _warned(message: str) -> None:
    warnings.warn(CallbackWarning(message), stacklevel=2)

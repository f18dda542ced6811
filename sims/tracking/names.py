"""Callbacks by name: the trackers' own, and the user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sims.errors import InvalidCallback
from sims.tracking.callback import Callback
from sims.tracking.mlflow import MLflow
from sims.tracking.tensorboard import TensorBoard
from sims.tracking.wandb import WeightsAndBiases
from topology.plugins import is_object_name, load_object
from topology.spelling import closest

__all__ = ["callbacks_of", "is_tracker", "require_list"]

_TRACKERS: dict[str, Callable[..., Callback]] = {
    tracker.name: tracker for tracker in (MLflow, TensorBoard, WeightsAndBiases)
}


def callbacks_of(given: Sequence[Callback | str], *, beside: Path | None = None) -> list[Callback]:
    """Return callbacks for what was given.

    Parameters
    ----------
    given : sequence of Callback or str
        ``tensorboard``, ``mlflow`` or ``wandb``, each optionally with a place (``mlflow:http://host:5000``); or
        ``package.module:name``, a class or function that is called without arguments and gives a `Callback`.
    beside : Path, optional
        A directory searched for modules too.

    Raises
    ------
    InvalidCallback
        If there is no such callback.
    SettingError
        If a tracker's library is not installed.
    """
    require_list(given)
    return [_callback(each, beside) if isinstance(each, str) else _checked(each, each) for each in given]


def require_list(given: object) -> None:
    """Refuse one callback in place of a list of them: a text is a sequence of its letters.

    Raises
    ------
    InvalidCallback
    """
    if isinstance(given, str | Callback):
        raise InvalidCallback("callbacks are a list", expected=f"[{given!r}]", got=repr(given))


def is_tracker(name: str) -> bool:
    """Whether a name is that of a tracker, with or without a place."""
    return name.partition(":")[0] in _TRACKERS


def _callback(name: str, beside: Path | None) -> Callback:
    tracker, _, where = name.partition(":")
    if tracker in _TRACKERS:
        return _TRACKERS[tracker](where or None)
    if not is_object_name(name):
        near = closest(tracker, _TRACKERS)
        raise InvalidCallback(
            "there is no such callback",
            expected=f"{', '.join(_TRACKERS)}, each optionally with :PLACE, or package.module:name",
            got=name,
            remedy=f"Did you mean {near}?" if near else None,
        )
    make = load_object(
        name, kind="callback", unknown=InvalidCallback, unusable=InvalidCallback, directory=beside
    )
    try:
        made = make()
    except Exception as error:
        raise InvalidCallback(
            f"the callback {name} cannot be made",
            expected="a class or function that takes no arguments",
            got=f"{type(error).__name__}: {error}",
        ) from error
    return _checked(made, name)


def _checked(made: object, given: object) -> Callback:
    if not isinstance(made, Callback):
        raise InvalidCallback(
            f"{given!r} is not a callback",
            expected="an object of a class derived from sims.Callback",
            got=type(made).__name__,
        )
    return made

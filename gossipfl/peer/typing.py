"""The keyboard of a running peer: its personal model kept up to date, and training only where there is text."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import trio

from gossipfl.errors import HomeError, SettingError
from gossipfl.keyboard.keyboard import Keyboard
from gossipfl.keyboard.store import Typed, TypingStore
from gossipfl.machine import forbid_memory_dumps
from gossipfl.peer.conditions import Conditions
from gossipfl.peer.driver import Learning, Participation
from gossipfl.peer.permission import Permissions
from gossipfl.peer.store.home import Home
from gossipfl.peer.threads import run_abandonable
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Task

__all__ = ["Typing", "open_keyboard", "typing_of"]

logger = logging.getLogger(__name__)

_NOTHING: Final = "nothing_typed"
_LOOK_SECONDS: Final = 2.0
_MODEL_SECONDS: Final = 60.0
_EXPIRY_SECONDS: Final = 3600.0


def open_keyboard(home: Home, settings: PeerSettings, task: Task) -> Keyboard | None:
    """Open the keyboard of a peer, whose home is locked; None if there is none. Its process leaves no core dump.

    Raises
    ------
    SettingError
        The task is of many users, or other machines may read the metrics.
    CorruptTyping, HomeError
        The store cannot be used.
    """
    if not settings.keyboard.enabled:
        return None
    if settings.page.metrics_at is not None:
        raise SettingError(
            "metrics of a keyboard tell of what its owner writes",
            expected="no page.metrics_at, at which other machines read them",
            got=settings.page.metrics_at,
        )
    forbid_memory_dumps()  # what is typed is in the clear there
    store = TypingStore(home.typing, settings.keyboard)
    try:
        return Keyboard(store, task, settings.task.options, repeats=settings.keyboard.repeats)
    except BaseException:
        store.close()
        raise


@dataclass(kw_only=True, eq=False)
class Typing:
    """What one start of a peer does for its keyboard.

    Parameters
    ----------
    keyboard : Keyboard
    learner : Learning
        Owner of the model.
    permissions : Permissions
        Told not to train while there is nothing to train on.
    conditions : Conditions
        Told what was found wrong with the store.
    read_again : callable
        Has the data read again at once.
    """

    keyboard: Keyboard
    learner: Learning
    permissions: Permissions
    conditions: Conditions
    read_again: Callable[[], None]

    def __post_init__(self) -> None:
        self.permissions.hold(_NOTHING)
        if self.keyboard.notices:
            self.conditions.note("typing", "; ".join(self.keyboard.notices))

    async def run(self) -> None:
        """Keep the personal model up to date, until cancelled."""
        looked_at = expired_at = trio.current_time()
        seen: int | None = None
        while True:
            now = trio.current_time()
            if now >= expired_at + _EXPIRY_SECONDS:
                expired_at = now
                await self._expire()
            version = self.keyboard.version
            if version != seen or now >= looked_at + _MODEL_SECONDS:
                seen, looked_at = version, now
                await self.renew()
            await trio.sleep(_LOOK_SECONDS)

    async def renew(self) -> None:
        """Make the personal model anew, if anything has changed, and train only if there is text."""
        if not await trio.to_thread.run_sync(self.keyboard.has_samples):
            self.permissions.hold(_NOTHING)
        elif _NOTHING in self.permissions.held:
            self.read_again()
            self.permissions.release(_NOTHING)
        may_adapt = self.permissions.current.trains
        async with self.learner.at_rest():
            state = self.learner.state
            renew = partial(self.keyboard.renew, may_adapt=may_adapt)
            await run_abandonable(renew, state.nodes.rows[0], state.event)

    async def _expire(self) -> None:
        try:
            await trio.to_thread.run_sync(self.keyboard.expire)
        except HomeError as error:
            self.conditions.note("typing", str(error))
            logger.warning("%s", error)

    async def suggest(self, text: str) -> dict[str, Any]:
        """Suggest words for what stands before the cursor, by the newest model."""
        async with self.learner.at_rest():
            state = self.learner.state
            words = self.keyboard.suggest(text, state.nodes.rows[0], state.event)
        return {"suggestions": words, "age": state.age, "event": state.event}

    async def write(self, message: int, text: str) -> None:
        """Store a message as it is now; when this returns, the disk has it."""
        await trio.to_thread.run_sync(self.keyboard.write, message, text)

    async def forget(self, is_forgotten: Callable[[Typed], bool]) -> int:
        """Forget messages; when this returns, neither suggestions nor training know of them."""
        with trio.CancelScope(shield=True):
            forgotten = await trio.to_thread.run_sync(self.keyboard.forget, is_forgotten)
        self.conditions.clear("typing")
        self.read_again()
        await self.renew()
        return forgotten

    @property
    def waits(self) -> str | None:
        """Why there is no training now; None if there is."""
        if self.permissions.current.trains:
            return None
        held = {each["name"]: each["text"] for each in self.conditions.to_values()}
        found = held.get("paused") or held.get("policy")
        return str(found) if found else "training waits: nothing was typed yet"

    def to_values(self) -> dict[str, Any]:
        """Return plain values for the status, without a word: messages, bytes, and the choice of the mixture."""
        return {**self.keyboard.size(), "mixture": asdict(self.keyboard.mixture)}


def typing_of(
    keyboard: Keyboard | None, participation: Participation, permissions: Permissions, conditions: Conditions
) -> Typing | None:
    """What one start of a peer does for its keyboard; None if it has none."""
    if keyboard is None:
        return None
    renewal = participation.renewal
    return Typing(
        keyboard=keyboard,
        learner=participation.learner,
        permissions=permissions,
        conditions=conditions,
        read_again=(lambda: None) if renewal is None else renewal.ask,
    )

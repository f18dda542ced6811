"""The loop of a keyboard's device, to be seen: fetch, improve, condense, send, merge; and what has left it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import trio

from gossipfl.layout import Layout
from gossipfl.outgoing import Pipeline
from gossipfl.peer.departures import Departures
from gossipfl.peer.loop_text import loop_lines
from gossipfl.peer.permission import Permission
from gossipfl.settings import PeerSettings

__all__ = ["DeviceLoop", "Sending"]

logger = logging.getLogger(__name__)

_LOG_SECONDS: Final = 600.0


@dataclass(frozen=True, kw_only=True)
class Sending:
    """How models leave.

    Parameters
    ----------
    codec : str
    nbytes, whole : int
        Bytes of a model as it is sent, and as float32 numbers.
    is_noisy : bool
        Whether it has noise: without it, whoever sees two of them can tell which words were typed between.
    """

    codec: str
    nbytes: int
    whole: int
    is_noisy: bool

    @classmethod
    def of(cls, settings: PeerSettings, outgoing: Pipeline, layout: Layout) -> Sending:
        """By the settings of a peer, and the pipeline of its outgoing rows."""
        size = layout.shared_size
        return cls(
            codec=settings.codec,
            nbytes=outgoing.payload_bytes(size),
            whole=4 * size,
            is_noisy=bool(outgoing.noise) or settings.training.privacy is not None,
        )


@dataclass(kw_only=True, eq=False)
class DeviceLoop:
    """What the five parts of the loop have done in this start of a peer.

    Parameters
    ----------
    done : callable
        Returns for each part but condensing how often and when it was done, and with whom: see `Activity.loop`.
    sending : Sending
    departures : Departures
    permission : callable
        Returns what the learner may do now.
    """

    done: Callable[[], Mapping[str, Mapping[str, Any]]]
    sending: Sending
    departures: Departures
    permission: Callable[[], Permission]

    def to_values(self, *, latest: int = 1) -> dict[str, Any]:
        """Return plain values, no words: ``loop``, ``condensed``, ``noisy``, and ``left``, the last departures."""
        left, sending = self.departures.to_values(), self.sending
        return {
            "loop": dict(self.done()),
            "condensed": {"codec": sending.codec, "bytes": sending.nbytes, "whole": sending.whole},
            "noisy": sending.is_noisy,
            "left": {**left, "latest": left["latest"][:latest]},
        }

    async def run(self) -> None:
        """Count what leaves the device, and log the loop now and then, until cancelled; and once more then."""
        logged_at = trio.current_time()
        try:
            while True:
                await self.departures.step()
                if trio.current_time() >= logged_at + _LOG_SECONDS:
                    logged_at = trio.current_time()
                    self._log()
        finally:
            self.departures.look()
            self.departures.save()
            self._log()

    def _log(self) -> None:
        values = {**self.to_values(), "trains": self.permission().trains}
        logger.info("%s", "; ".join(f"{name}: {text}" for name, text in loop_lines(values)))

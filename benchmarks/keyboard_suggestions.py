"""Suggestions of a keyboard while its peer trains: seconds of each, beside those of a peer that is paused.

python -m benchmarks.keyboard_suggestions small paper
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from gossipfl.peer import Peer
from gossipfl.settings import parse_settings

TEXTS = (
    "I will see you at home tomorrow",
    "we are going to the house today",
    "thank you for the good work",
    "what do you want to do this week",
)
SUGGESTIONS = 400


async def measured(size: str) -> None:
    with TemporaryDirectory() as directory:
        settings = {
            "task": {"name": "next-word", "options": {"text": "typed", "size": size}},
            "keyboard": {"enabled": True},
            "exchange": {"patience": 0.01},
        }
        peer = Peer(Path(directory) / "peer", settings=parse_settings(settings, source="a benchmark"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.run)
            await peer.ready.wait()
            typing = peer._incarnation.typing
            for number in range(200):
                await typing.write(number, TEXTS[number % len(TEXTS)])
            while peer.status().step < 20:
                await trio.sleep(0.1)
            training = await taken(typing, peer)
            typing.permissions.pause()
            await trio.sleep(1)
            paused = await taken(typing, peer)
            for name, (p50, p99, steps) in (("training", training), ("paused", paused)):
                print(f"{size:6} {name:9} p50 {1e3 * p50:5.2f} ms  p99 {1e3 * p99:5.2f} ms  {steps} steps")
            nursery.cancel_scope.cancel()


async def taken(typing, peer) -> tuple[float, float, int]:
    """Median and 99th percentile of seconds, and training steps meanwhile; a text is typed letter by letter."""
    text, step, seconds = " ".join(TEXTS), peer.status().step, []
    for number in range(SUGGESTIONS):
        began = time.perf_counter()
        await typing.suggest(text[: number % len(text)])
        seconds.append(time.perf_counter() - began)
        await trio.sleep(0.01)
    seconds.sort()
    return seconds[SUGGESTIONS // 2], seconds[int(0.99 * SUGGESTIONS)], peer.status().step - step


if __name__ == "__main__":
    for each in sys.argv[1:] or ["small"]:
        trio.run(partial(measured, each))

# ruff: noqa: E501 - lines of a document
"""Cost of hostile attempts to a running peer, and how often honest ones get through meanwhile.

``python -m tests.integration.attempts > docs/attempts.md`` carries out each line of the table of hostile inputs
again and again for some seconds, while honest newcomers come, send a model and are told that it was taken.
"""

from __future__ import annotations

import argparse
import gc
import logging
import re
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
import trio

from gossipfl.network import Identity
from gossipfl.wire import Acknowledgement, encode
from tests.gossipfl.network.helpers import frame_bytes

from . import door_inputs, service_inputs  # noqa: F401  (add their lines)
from .hostile import RoundsTarget
from .hostile_inputs import CASES
from .peers import running
from .test_hostile import target_of, victim_of

PERIOD = 0.2  # seconds between honest newcomers
LEAST = 0.9  # of their rate

HEAD = """# What hostile attempts cost

`python -m tests.integration.attempts --seconds {seconds:g}`: each line of [the table of hostile
inputs](security-table.md), carried out again and again for {seconds:g} s against one running peer, by an attacker in
the same process. CPU and bytes are those of one attempt, both ends together, so they are upper bounds for the peer;
memory is what the process has grown by in the end. Meanwhile an honest newcomer connects every {period:g} s, sends a
model and is told that it was taken; its rate is that under attack beside that of the seconds before ("–" in rounds of
two, where the attacker is the only other one).

| input | attempts | CPU ms | bytes | memory, MB | honest rate |
|---|---|---|---|---|---|"""


@dataclass
class Cost:
    """What one attempt costs, the attacker's own work in the same process included."""

    what: str
    attempts: int
    cpu_seconds: float
    traffic: float
    memory: int
    quiet: float
    under_attack: float

    @property
    def rate(self) -> float:
        return self.under_attack / self.quiet


@dataclass
class Usage:
    """What this process and the loopback have used."""

    cpu: float
    traffic: int
    at: float

    @classmethod
    def now(cls) -> Usage:
        used = psutil.Process().cpu_times()
        return cls(
            used.user + used.system, psutil.net_io_counters(pernic=True)["lo"].bytes_sent, trio.current_time()
        )


async def honest(target, merged: list[float]) -> None:
    """Come, be merged, and go, for as long as it is allowed."""
    while True:
        began = trio.current_time()
        with suppress(Exception), trio.fail_after(5):
            await (target.accept() if isinstance(target, RoundsTarget) else taken(target))
            merged.append(trio.current_time())
        await trio.sleep_until(began + PERIOD)


async def taken(target) -> None:
    """Send a model as a newcomer, and wait until the peer says that it has it."""
    async with target.outlaw() as newcomer:
        await newcomer.send_data(target.frame(incarnation=1, sequence=1))
        await newcomer.receive_until(frame_bytes(encode(Acknowledgement(incarnation=1, sequence=1))))


async def again_and_again(case, target, deadline: float) -> int:
    """Repeat an attack until a moment; once the attacker is banned, it is refused at once and goes on."""
    attempts = 0
    while attempts == 0 or trio.current_time() < deadline:
        with trio.move_on_at(deadline + 10), suppress(Exception):
            await case.attack(target)
        attempts += 1
        await trio.sleep(0)
    return attempts


async def cost_of(case, directory: Path, *, seconds: float) -> Cost:
    attacker = Identity.generate()
    async with running(victim_of(case, directory, attacker)) as [peer], trio.open_nursery() as nursery:
        target, friend = (target_of(case, peer, attacker) for _ in range(2))
        merged: list[float] = []
        nursery.start_soon(honest, friend, merged)
        await trio.sleep(2.0)
        gc.collect()
        begun, resident = Usage.now(), psutil.Process().memory_info().rss
        await trio.sleep(seconds)
        with trio.fail_after(60):  # a rate of none is nothing to compare with
            while not case.in_rounds and (not merged or merged[-1] < begun.at):
                await trio.sleep(PERIOD)
        attacked = Usage.now()
        attempts = await again_and_again(case, target, trio.current_time() + seconds)
        ended, grown = Usage.now(), psutil.Process().memory_info().rss - resident
        nursery.cancel_scope.cancel()
    quiet, under = attacked.at - begun.at, ended.at - attacked.at
    within = [
        sum(one.at <= at < other.at for at in merged) for one, other in ((begun, attacked), (attacked, ended))
    ]

    def each(measure: str) -> float:
        before, meanwhile = (
            getattr(other, measure) - getattr(one, measure)
            for one, other in ((begun, attacked), (attacked, ended))
        )
        return max(0.0, meanwhile - before / quiet * under) / attempts

    return Cost(
        what=case.what,
        attempts=attempts,
        cpu_seconds=each("cpu"),
        traffic=each("traffic"),
        memory=max(0, grown),
        quiet=within[0] / quiet,
        under_attack=within[1] / under,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each attack, and of quiet before it")
    parser.add_argument("--only", default="", help="lines whose input matches this expression")
    parser.add_argument("--rounds", action="store_true", help="only attempts at a peer in rounds")
    arguments = parser.parse_args()
    logging.disable(logging.ERROR)
    torch.set_num_threads(1)
    print(HEAD.format(seconds=arguments.seconds, period=PERIOD))
    worst = 1.0
    for case in CASES:
        if not re.search(arguments.only, case.what) or (arguments.rounds and not case.in_rounds):
            continue
        with tempfile.TemporaryDirectory() as directory:
            cost = trio.run(
                lambda case=case, d=directory: cost_of(case, Path(d) / "victim", seconds=arguments.seconds)
            )
        rate = "–"
        if not case.in_rounds:  # there the attacker is the only other one
            worst, rate = min(worst, cost.rate), f"{cost.rate:.2f}"
        print(
            f"| {cost.what} | {cost.attempts} | {1000 * cost.cpu_seconds:.1f} | {cost.traffic:,.0f} "
            f"| {cost.memory / 1e6:.1f} | {rate} |",
            flush=True,
        )
    print(f"\nThe lowest rate is {worst:.2f}.")
    sys.exit(worst < LEAST)


if __name__ == "__main__":
    main()

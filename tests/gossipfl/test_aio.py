"""A peer inside a real asyncio program."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from gossipfl import aio
from gossipfl.errors import DoorMissing, HomeInUse, InvalidAddress, InvalidTask
from gossipfl.peer import Home, Peer
from gossipfl.peer.store.checkpoint import read_row
from gossipfl.tasks import Task
from tests.integration.peers import REPOSITORY, quick_settings


async def until(condition, *, seconds=30.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def peer_in(directory, **changes):
    return Peer(directory, settings=quick_settings(**changes))


def is_left_in_good_order(home: Home, age):
    return not home.is_running() and read_row(home.checkpoint)[1] >= age


def test_a_peer_takes_part_for_the_time_of_the_block(tmp_path):
    peer = peer_in(tmp_path / "alice")
    ages = []

    async def main():
        async with aio.running(peer) as same:
            assert same is peer
            assert peer.home.is_running()
            await until(lambda: peer.status().step >= 3)
            assert peer.status().addresses
            assert not peer.model().training
            ages.append(peer.status().age)
        assert is_left_in_good_order(peer.home, ages[0])

    asyncio.run(main())
    assert is_left_in_good_order(peer.home, ages[0])


def test_two_peers_in_one_program_learn_from_each_other_and_the_program_goes_on(tmp_path):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async with aio.running(peer_in(tmp_path / "a", exchange={"patience": 1000.0})) as a:
            b = peer_in(
                tmp_path / "b", index=1, bootstrap=a.status().addresses, exchange={"patience": 1000.0}
            )
            async with aio.running(b):
                before = ticks
                await until(lambda: min(a.status().event, b.status().event) >= 10)
                assert ticks > before
        ticking.cancel()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            {"network": {"listen": ["/ip4/203.0.113.7/tcp/1"]}, "membership": {"door": "open"}},
            InvalidAddress,
        ),
        ({"network": {"listen": ["/ip4/203.0.113.7/tcp/1"]}}, DoorMissing),
        ({}, HomeInUse),
    ],
)
def test_a_peer_that_cannot_start_raises_its_named_error(tmp_path, changes, error):
    peer = peer_in(tmp_path / "alice", **changes)
    entered = []

    async def main():
        async with aio.running(peer):
            entered.append(True)

    if error is HomeInUse:
        with peer.home.locked(), pytest.raises(error):
            asyncio.run(main())
    else:
        with pytest.raises(error):
            asyncio.run(main())
    assert not entered


def test_an_exception_in_the_block_stops_the_peer(tmp_path):
    peer = peer_in(tmp_path / "alice")

    async def main():
        async with aio.running(peer):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    assert is_left_in_good_order(peer.home, 0)


def test_a_peer_that_fails_cancels_the_block_and_raises_its_error(tmp_path, monkeypatch):
    """The cancellation is the peer's own doing, so the surrounding task goes on after handling the error."""
    peer = peer_in(tmp_path / "alice")

    def fail(*_):
        raise InvalidTask("the evaluation failed", got="ZeroDivisionError")

    async def main():
        async with asyncio.timeout(30):
            with pytest.raises(InvalidTask, match="ZeroDivisionError"):
                async with aio.running(peer):
                    monkeypatch.setattr(Task, "evaluate", fail)
                    await asyncio.sleep(25)
            assert asyncio.current_task().cancelling() == 0
            await asyncio.sleep(0)
        return "went on"

    assert asyncio.run(main()) == "went on"
    assert not peer.home.is_running()


def test_stopping_the_peer_inside_the_block_is_no_failure(tmp_path):
    peer = peer_in(tmp_path / "alice")

    async def main():
        async with aio.running(peer):
            peer.stop()
            await until(lambda: not peer.home.is_running())
            return "went on"

    assert asyncio.run(main()) == "went on"


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.02])
def test_cancelled_while_it_starts_it_leaves_nothing_running(tmp_path, delay):
    peer = peer_in(tmp_path / "alice")

    async def main():
        async def use():
            async with aio.running(peer):
                await asyncio.sleep(60)

        task = asyncio.create_task(use())
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not peer.home.is_running()
        async with aio.running(peer_in(tmp_path / "alice")) as again:
            assert again.status().peer_id

    asyncio.run(main())


PROGRAM = """
import asyncio, signal, sys
from gossipfl import aio
from gossipfl.peer import Peer

async def main():
    async with aio.running(Peer(sys.argv[1])) as peer:
        print("ready", flush=True)
        await asyncio.sleep(600)

# Whoever starts the tests in the background may have them inherit an ignored SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_stops_program_and_peer_quietly(tmp_path):
    home = Home(tmp_path / "alice")
    home.create(quick_settings())
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(home.directory)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert program.stdout.readline() == b"ready\n"
        asked = time.monotonic()
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
        assert time.monotonic() - asked < 5
        assert (out, err, program.returncode) == (b"interrupted\n", b"", 0)
        assert is_left_in_good_order(home, 0)
    finally:
        program.kill()
        program.communicate()

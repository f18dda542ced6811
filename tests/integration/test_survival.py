"""Survival of real peers when processes die, freeze, or are asked to stop."""

import random
import re
import signal
import time
from functools import partial

import pytest
import trio

from gossipfl.network import load_identity
from gossipfl.peer import Peer, read_status
from gossipfl.peer.store.checkpoint import load_checkpoint
from gossipfl.tasks import find_task
from tests.gossipfl.network.helpers import until

from .peers import PeerProcess, quick_settings, record_lines, records_of, running

LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING) \S.*")
STATUS_LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO (stopped on SIG\w+: .*|listening at /ip4/\S+"
    r"|age \d+ .*neighbours \d+/\d+ sent \d+ received \d+.*)"
)


def in_program(body, *, seconds=280):
    """Run an async body; one that hangs fails."""

    async def main():
        with trio.fail_after(seconds):
            return await body()

    return trio.run(main)


def assert_quiet(process):
    """Nothing but plain log lines on standard error, and status lines on standard output."""
    assert [line for line in process.err.splitlines() if not LOG_LINE.fullmatch(line)] == []
    assert [line for line in process.out.splitlines() if not STATUS_LINE.fullmatch(line)] == []


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1500)])])
def test_a_peer_killed_at_random_moments_always_comes_back_with_what_it_had_saved(tmp_path, kills):
    """While it starts, while it saves (20 times a second), while it learns from a neighbour."""
    dice = random.Random(kills)

    async def body():
        neighbour = Peer(tmp_path / "neighbour", settings=quick_settings(0))
        async with running(neighbour):
            bootstrap = neighbour.status().addresses
            settings = quick_settings(1, bootstrap=bootstrap, checkpoint={"period": 0.05})
            # Twenty times from nothing, most of which is imports; four times, quicker, forked.
            with PeerProcess(tmp_path / "victim", settings, forked=kills < 20) as victim:
                await survive(victim, settings, kills, dice)

    in_program(body, seconds=max(280, 60 * kills))


async def survive(victim, settings, kills, dice):
    task = find_task(settings.task.name, settings.task.options)
    peer_id, saved_age, steps, incarnations = None, 0, [], []
    for kill in range(kills):
        victim.start("--plain")
        if kill % 4 == 3:  # somewhere in its start-up
            await trio.sleep(dice.uniform(0, 0.5 if victim.forked else 4))
        else:
            await until(lambda: victim.is_at(event=0) and victim.home.checkpoint.exists(), seconds=60)
            await trio.sleep(dice.uniform(0, 1))
        victim.process.kill()
        victim.process.wait()
        if victim.home.checkpoint.exists():
            checkpoint = load_checkpoint(
                victim.home.checkpoint, task, optimiser_state_size=0
            )  # whole, every time
            reported = [record["age"] for record in records_of(victim.home, "saved")]
            saved_age = max([saved_age, *reported, read_status(victim.home.status)["saved_age"]])
            assert checkpoint.age >= saved_age
            steps.append(int(checkpoint.nodes.steps[0]))
            incarnations.append(checkpoint.incarnation)
        own = load_identity(victim.home.directory).peer_id
        assert peer_id in (None, own)
        peer_id = own
    victim.start("--plain")
    await until(lambda: victim.is_at(event=0), seconds=60)
    status = victim.status()
    assert status["peer_id"] == peer_id
    start = records_of(victim.home, "start")[-1]
    assert start["age"] >= saved_age > 0
    assert start["resumed_from"] == incarnations[-1]
    assert steps == sorted(steps)
    every_start = [record["incarnation"] for record in records_of(victim.home, "start")]
    assert every_start == sorted(set(every_start))
    await until(lambda: victim.is_at(event=start["event"] + 5), seconds=60)  # and it learns on
    victim.process.terminate()
    assert await trio.to_thread.run_sync(partial(victim.process.wait, timeout=30)) == 0
    assert_quiet(victim)


def exchanges_per_second(peers, start, end):
    """Of each peer, successful exchanges that it started between two instants of the wall clock."""
    return [
        sum(
            each["outcome"] == "ok" and start <= each["time"] < end
            for each in records_of(peer.home, "exchange")
        )
        / (end - start)
        for peer in peers
    ]


@pytest.mark.parametrize("seconds", [4.0, pytest.param(10.0, marks=pytest.mark.slow)])
def test_a_frozen_peer_does_not_slow_the_others_and_recovers(tmp_path, seconds):
    """SIGSTOP leaves its connections open and silent, the worst a neighbour can do.

    The others' rates are compared with their own before. An exchange with the frozen peer occupies one of
    four places until its deadline, and does not count; it is avoided after that. That costs each peer one or
    two exchanges of hundreds. The rest of the tolerance is for a machine busy with other things.
    """

    async def body():
        quick = {"exchange": {"period": 0.08, "deadline": 2.0}}
        hub = Peer(tmp_path / "peer-0", settings=quick_settings(0, **quick))
        async with running(hub):
            bootstrap = hub.status().addresses
            others = [
                Peer(tmp_path / f"peer-{i}", settings=quick_settings(i, bootstrap=bootstrap, **quick))
                for i in (1, 2)
            ]
            with PeerProcess(
                tmp_path / "frozen", quick_settings(3, bootstrap=bootstrap, **quick), forked=True
            ) as frozen:
                frozen.start("--plain")
                async with running(*others):
                    return await freeze(frozen, [hub, *others])

    async def freeze(frozen, peers):
        await until(lambda: frozen.is_at(event=10, neighbours=3), seconds=60)
        frozen_id = frozen.status()["peer_id"]
        await until(lambda: all(frozen_id in each._incarnation.host.connected() for each in peers))
        began = time.time()
        await trio.sleep(seconds)
        stopped = time.time()
        frozen.process.send_signal(signal.SIGSTOP)
        await trio.sleep(seconds)
        continued = time.time()
        frozen.process.send_signal(signal.SIGCONT)
        event = frozen.status()["event"]

        def recovered():
            merged = [
                each["sender"] for each in records_of(peers[0].home, "merge") if each["time"] > continued
            ]
            return frozen.is_at(event=event + 20) and frozen_id in merged

        await until(recovered, seconds=60)
        before = exchanges_per_second(peers, began, stopped)
        during = exchanges_per_second(peers, stopped, continued)
        failed = [
            each["outcome"]
            for peer in peers
            for each in records_of(peer.home, "exchange")
            if each["neighbour"] == frozen_id and stopped + 2 < each["time"] < continued
        ]
        return before, during, failed

    before, during, failed = in_program(body)
    assert failed  # they did try
    assert "ok" not in failed
    assert min(before) > 5
    for own_before, own_during in zip(before, during, strict=True):
        assert own_during > 0.75 * own_before, (before, during)


def test_peers_asked_to_go_leave_a_checkpoint_and_the_others_go_on_quietly(tmp_path):
    """SIGTERM to one, SIGINT to the other, while they talk with each other and with a third."""

    async def body():
        stayer = Peer(tmp_path / "stayer", settings=quick_settings(0))
        async with running(stayer):
            bootstrap = stayer.status().addresses
            with (
                PeerProcess(tmp_path / "first", quick_settings(1, bootstrap=bootstrap)) as first,
                PeerProcess(tmp_path / "second", quick_settings(2, bootstrap=bootstrap)) as second,
            ):
                for each in (first, second):
                    each.start("--plain")
                await until(
                    lambda: all(each.is_at(event=10, connected=2) for each in (first, second)), seconds=60
                )
                await leave(first, signal.SIGTERM)
                event = second.status()["event"]
                await until(lambda: second.is_at(event=event + 10), seconds=60)
                await leave(second, signal.SIGINT)
                event = stayer.status().event
                await until(lambda: stayer.status().event > event + 3)

    async def leave(process, asked):
        process.process.send_signal(asked)
        assert await trio.to_thread.run_sync(partial(process.process.wait, timeout=60)) == 0
        records = record_lines(process.home)
        changes = [each for each in records if each["kind"] in ("merge", "train")]
        last = [each for each in records if each["kind"] == "saved"][-1]
        assert last["event"] >= process.status()["event"]
        # All but what an abandoned thread was still computing is saved: at most one batch of two merges.
        assert changes[-1]["event"] - last["event"] <= 2
        task = find_task("tests.integration.tasks:blobs")
        saved = load_checkpoint(process.home.checkpoint, task, optimiser_state_size=0)
        assert saved.event == last["event"]
        assert_quiet(process)

    in_program(body)


def test_a_long_training_step_does_not_delay_the_farewell(tmp_path):
    """The step, of more than an hour, is abandoned: nobody has seen its outcome."""
    settings = quick_settings(
        0, options={"pause": 1.0}, training={"local_steps": 3600}, exchange={"patience": 0.01}
    )
    with PeerProcess(tmp_path / "slow", settings, forked=True) as slow:
        slow.start("--plain")
        slow.until_at(event=0)
        slow.process.terminate()
        assert slow.process.wait(timeout=60) == 0
        assert_quiet(slow)
        assert slow.home.checkpoint.exists()

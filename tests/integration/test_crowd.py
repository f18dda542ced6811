"""Fifty peers that join through one address: deaths, comings and goings, and hostile members."""

import random
import time
from collections import Counter
from contextlib import AsyncExitStack, contextmanager

import networkx as nx
import numpy as np
import pytest
import trio

from gossipfl.tasks import find_task

from .crowd import Process, gaps
from .peers import TASK, quick_settings
from .test_sampling import Poisoner

PEERS, IN_A_PROCESS = 50, 7  # the first is alone in its process
CHURN_SECONDS = 600.0


@contextmanager
def crowd(directory, peers=PEERS):
    """Processes of peers that join through the first peer's address."""
    processes = [Process(directory, [], [0])]
    try:
        bootstrap = wait(lambda: state(processes).get(0, {}).get("addresses"))
        processes += [
            Process(directory, bootstrap, list(range(first, min(first + IN_A_PROCESS, peers))))
            for first in range(1, peers, IN_A_PROCESS)
        ]
        wait(lambda: len(state(processes)) == peers)
        yield processes
    finally:
        for process in processes:
            process.close()


def state(processes):
    """What all living peers said last."""
    return {index: said for process in processes for index, said in process.state().items()}


def wait(condition, seconds=240.0):
    """Wait for a condition without an event loop, and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{condition} is not met"
        time.sleep(0.2)
    return found


def wait_seconds(condition):
    """Wait for a condition, and return how long it took."""
    began = time.monotonic()
    wait(condition)
    return time.monotonic() - began


def parts(processes):
    """Sizes of the parts of the network that do not know each other, of peers that live."""
    living = {said["peer_id"]: said["knows"] for said in state(processes).values()}
    graph = nx.Graph([(one, other) for one, knows in living.items() for other in knows if other in living])
    graph.add_nodes_from(living)
    return sorted(map(len, nx.connected_components(graph)))


def accuracies(processes):
    return [said["accuracy"] or 0.0 for said in state(processes).values()]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_peers_join_through_one_address_converge_and_survive_the_death_of_fifteen(tmp_path):
    with crowd(tmp_path) as processes:
        joined = wait_seconds(lambda: parts(processes) == [PEERS])
        wait(lambda: min(accuracies(processes)) >= 0.9)
        doomed = (processes[0], *processes[-2:])  # the bootstrap of all others among them
        dead = {said["peer_id"] for process in doomed for said in process.state().values()}
        for process in doomed:
            process.kill()
        assert parts(processes) == [PEERS - len(dead)]
        killed = time.time()

        def share_of_the_dead():
            known = [held for said in state(processes).values() for held in said["knows"]]
            return sum(held in dead for held in known) / len(known)

        first = share_of_the_dead()
        wait(lambda: share_of_the_dead() <= 0.05)
        took = time.time() - killed
        assert parts(processes) == [PEERS - len(dead)]
    lasting = [
        gap for index in range(1, PEERS - 14) for gap in gaps(tmp_path, index, after=killed, before=1e12)
    ]
    print(
        f"one network {joined:.0f} s after the last start; the dead: {first:.0%} of known peers at first, at most "
        f"5 % after {took:.0f} s; exchanges of the others: longest gap {max(lasting):.1f} s, "
        f"99 % within {np.quantile(lasting, 0.99):.1f} s"
    )
    assert max(lasting) <= 5.0


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_fifth_leaves_and_joins_each_minute_and_nobody_is_alone_for_five_seconds(tmp_path):
    """Each is away for half a minute or more; every second one that goes has its home removed: a newcomer."""
    order, away, chance = [], [], random.Random(1)
    with crowd(tmp_path) as processes:
        wait(lambda: min(accuracies(processes)) >= 0.9)
        began = time.time()
        holder = {index: process for process in processes for index in process.indices}
        while time.time() < began + CHURN_SECONDS:
            there = sorted(index for process in processes for index in process.indices)
            gone = chance.choice(there)
            holder[gone].order("stop", gone)
            away.append((time.time(), gone))
            order.append(gone)
            if away[0][0] < time.time() - 30:
                back = away.pop(0)[1]
                holder[back].order("start", back)
            time.sleep(60 / (PEERS / 5))
        ended = time.time()
        wait(lambda: len(parts(processes)) == 1)
        worst = min(accuracies(processes))
    found = {index: gaps(tmp_path, index, after=began, before=ended) for index in range(PEERS)}
    lasting = [gap for each in found.values() for gap in each]
    print(
        f"{len(order)} left in {ended - began:.0f} s; {len(lasting)} good exchanges; "
        f"longest gap {max(lasting):.1f} s, 99.9 % within {np.quantile(lasting, 0.999):.1f} s; "
        f"lowest accuracy {worst:.2f}"
    )
    assert max(lasting) <= 5.0
    assert worst >= 0.9


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_forty_honest_peers_and_ten_hostile_ones(tmp_path):
    """The hostile push views that name each other alone, twice a second to everybody."""
    task = find_task(TASK, quick_settings(0).task.options)

    async def attack(processes, seconds):
        async with AsyncExitStack() as stack:
            hostile = [Poisoner(task) for _ in range(10)]
            for each in hostile:
                await stack.enter_async_context(each.among(pause=0.5, tarpits=0))
            for each in hostile:
                each.others = [other for other in hostile if other is not each]
            async with trio.open_nursery() as nursery:
                for each in hostile:
                    for said in state(processes).values():
                        nursery.start_soon(each.push, said["peer_id"], said["addresses"], 0.5)
                await trio.sleep(seconds)
                nursery.cancel_scope.cancel()
            return {each.identity.peer_id for each in hostile}

    with crowd(tmp_path, PEERS - 10) as processes:
        wait(lambda: min(accuracies(processes)) >= 0.9)
        begun = time.time()
        time.sleep(60)
        attacked = time.time()
        liars = trio.run(attack, processes, 120.0)
        ended = time.time()
        told = state(processes).values()
        samples = [held for said in told for held in said["samples"]]
        known = Counter(held for said in told for held in said["knows"])
        in_degrees = sorted(known[said["peer_id"]] for said in told)
        worst = min(accuracies(processes))

    def rate(after, before):
        good = sum(len(gaps(tmp_path, index, after=after, before=before)) for index in range(PEERS - 10))
        return good / (before - after) / (PEERS - 10)

    quiet, under_attack = rate(begun, attacked), rate(attacked + 60, ended)
    share = sum(held in liars for held in samples) / len(samples)
    known_share = sum(known[each] for each in liars) / known.total()
    print(
        f"hostile {share:.0%} of samples, {known_share:.0%} of known peers; in-degrees of the honest "
        f"{in_degrees[0]} to {in_degrees[-1]}; exchanges a second and peer {quiet:.3f} before, "
        f"{under_attack:.3f} under attack; lowest accuracy {worst:.2f}"
    )
    assert share <= 0.4
    assert in_degrees[0] >= 3
    assert under_attack >= 0.9 * quiet
    assert worst >= 0.9

"""Clocks that go on from a checkpoint, against those that were never stopped."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from sims.clock import Attendance, Rehearsal, RoundClock
from sims.clock.agenda import Agenda
from sims.running.choice import simulation_of
from sims.running.round_based import CLOCK
from sims.scenario import parse_scenario
from sims.world import build_world
from tests.sims.clock.scenarios import RING

SCENARIO = f"""{RING}[stop]
rounds = 9
"""
ROUNDS = 9
LINKS = ["network.links={up=1,slow=0.34}"]
LATE = [*LINKS, "network.loss=0.1", "network.deadline=0.004"]
SESSIONS = "churn.process={kind='sessions',online={median=0.02,spread=0.5},offline={median=0.01,spread=0.5}}"
NIGHTS = "churn.process={kind='charging',zones=[-9,0,9]}"
EVENTS = (
    "churn.events=[{at=1,action='drop',fraction=0.4},{at=3,action='split',parts=2},{at=4,action='return'},"
    "{at=6,action='heal'}]"
)
TIMED = st.sampled_from(
    [
        LATE,
        [*LATE, "network.delay={kind='uniform',low=0.0,high=0.003}"],
        [*LINKS, "training.step_seconds=0.01", "network.jitter=0.5", "network.period_sigma=0.5"],
        [
            "network.links={up=1,shared=[{nodes=[0,1,2],up=0.5}],both_ways=0.8}",
            "algorithm.order=both-at-once",
        ],
        [
            "network.links={up=1,changes=[{since=0.002,until=0.004,every=0.007,factor=0.3,nodes=[]}]}",
            "topology.name=complete",
        ],
        [*LINKS, "topology.name=path", "training.step_seconds=0.003"],
        [*LINKS, "topology.name=random_matching", "network.delay.seconds=0.001"],
        ["network.loss=0.2", "network.deadline=1"],
        ["network.jitter=0.5"],
        [*LATE, "algorithm.name=gradient_tracking"],
        [*LINKS, "algorithm={name='streaming',overlap=2,fragments=3}", "training.local_steps=3"],
        [*LINKS, "algorithm={name='fedavg'}", "topology={}"],
    ]
)
ABSENT = st.sampled_from(
    [[], ["churn.process={kind='cycle',offline=0.3}"], [SESSIONS], [EVENTS], [SESSIONS, EVENTS]]
)


def simulated(overrides):
    scenario = parse_scenario(SCENARIO, overrides=overrides)
    return simulation_of(scenario, build_world(scenario), threads=1, compile_when="never", device="cpu")


def on_to(simulation, rounds):
    """Advance, and tell who is online after each round."""
    online = []
    for number in range(simulation.engine.round + 1, rounds + 1):
        simulation.advance(number, between=lambda: False)
        online.append(simulation.online().tolist())
    return online


def written(state):
    """A state as it comes back from a file."""
    return load(save({name: np.ascontiguousarray(array) for name, array in state.items()}))


def require_equal(one, other):
    """Require the same models, times, counts and whole states, to the bit."""
    assert one.engine.clock.seconds == other.engine.clock.seconds
    assert one.counts() == other.counts()
    assert torch.equal(one.rows(), other.rows())
    states = one.state(), other.state()
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name], err_msg=name)


def require_no_difference(overrides, stop):
    whole, first, calls = simulated(overrides), simulated(overrides), []
    online = on_to(whole, ROUNDS)
    on_to(first, stop)
    kept = written(first.state())
    on_to(first, ROUNDS)  # what was kept does not change with it
    with pytest.MonkeyPatch.context() as patched:
        for kind, name in (
            (RoundClock, "round"),
            (Agenda, "advance"),
            (Rehearsal, "next"),
            (Attendance, "at"),
        ):
            patched.setattr(kind, name, noted(getattr(kind, name), calls))
        second = simulated(overrides)
        second.restore(kept)
        assert not calls
        assert second.seconds(stop) == whole.seconds(stop)
        assert second.online().tolist() == (online[stop - 1] if stop else [True] * 6)
        assert on_to(second, ROUNDS) == online[stop:]
    assert [given[0] for name, given in calls if name == "round"] == list(range(stop, ROUNDS))
    assert all(given[0] >= stop for name, given in calls if name == "at")
    for each in (first, second):
        require_equal(whole, each)
        each.close()
    whole.close()
    return kept


def noted(method, calls):
    """A method whose calls are noted."""

    def called(self, *given):
        calls.append((method.__name__, given))
        return method(self, *given)

    return called


@settings(max_examples=12, deadline=None)
@given(timed=TIMED, absent=ABSENT, stop=st.integers(0, ROUNDS - 1), seed=st.integers(0, 100))
def test_a_clock_goes_on_from_any_round_as_if_it_had_not_stopped(timed, absent, stop, seed):
    if any("streaming" in each or "fedavg" in each for each in timed):
        absent = []
    if absent and not any(
        "step_seconds" in each for each in timed
    ):  # rounds of nobody's neighbours take time
        absent = [*absent, "training.step_seconds=0.001"]
    require_no_difference([*timed, *absent, f"seed={seed}"], stop)


def test_nights_drawn_farther_ahead_than_planned_are_drawn_so_again():
    """Rounds of hours come to times beyond those that were drawn at the start."""
    given = ["training.step_seconds=20000", "network.period=600", NIGHTS]
    state = require_no_difference(given, 6)
    assert state["clock.attendance.until"][0] > 600 * ROUNDS


def test_a_checkpoint_without_a_clock_is_caught_up_with():
    given = [*LATE, SESSIONS]
    whole, first, second = simulated(given), simulated(given), simulated(given)
    on_to(whole, ROUNDS)
    on_to(first, 4)
    second.restore({name: each for name, each in first.state().items() if not name.startswith(CLOCK)})
    on_to(second, ROUNDS)
    require_equal(whole, second)

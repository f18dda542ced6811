"""Windows drawn while others are carried out: the same models, checkpoints and errors as one after another."""

import threading

import numpy as np
import pytest

from gossipfl.errors import InvalidTask
from sims.compiler.timeline import Timeline
from sims.compiler.timeline.states import CARRYING, CARRYING_BEGUN
from sims.engine import Engine
from sims.engine.workers import Workers
from sims.running.message_driven import MessageDriven
from tests.sims.engine.test_engine import SETTINGS
from tests.sims.worlds import SECOND, conditions, small, world_of

ROUNDS = 5
CHOSEN = ("AD-PSGD with slow training", "partitions with tokens")


@pytest.fixture
def windows_ahead(monkeypatch):
    """Have every engine draw ahead; return the threads that arranged windows."""
    arrange, threads = Engine.arrange, []

    def arranged(engine, window):
        threads.append(threading.current_thread())
        return arrange(engine, window)

    def choose():
        monkeypatch.setattr(Engine, "arrange", arranged)
        monkeypatch.setattr(Engine, "aside", lambda engine, function: engine.workers.aside(function))
        return threads

    return choose


def parts(name, threads=2):
    scenario = small(*SETTINGS[name])
    world = world_of(scenario)
    timeline = Timeline(conditions(scenario, world), most_operations=40)
    return timeline, Engine(world, compile_when="never", threads=threads)


def states(timeline, engine):
    return {**timeline.copied_state(), **{name: np.copy(each) for name, each in engine.state().items()}}


def in_use(state):
    """Places of the table that are read again: nodes' own, and those of models on their way."""
    n, prefix = len(state["steps"]), "timeline." if "timeline.calendar.ref" in state else ""
    kind, ref, begun = (state[f"{prefix}calendar.{name}"] for name in ("kind", "ref", "begun"))
    slots = [ref[np.isin(kind, CARRYING)], begun[np.isin(kind[: len(begun)], CARRYING_BEGUN)]]
    return np.concatenate([np.arange(n), *(n - each[each < 0] for each in slots)])


def assert_equal(expected, came):
    assert expected.keys() == came.keys()
    places, nodes = in_use(expected), slice(len(expected["steps"]))
    for name, array in expected.items():
        read = {"rows": places, "ages": places, "kept": nodes, "versions": nodes}.get(name, slice(None))
        assert np.array_equal(array[read], came[name][read]), name


@pytest.mark.parametrize("name", CHOSEN)
def test_models_and_timeline_are_those_of_windows_in_turn(name, windows_ahead):
    timeline, engine = parts(name, threads=1)
    seen = []
    for _ in engine.follow(timeline, ROUNDS * SECOND, begins=lambda *span: seen.append(span)):
        pass
    expected = states(timeline, engine)
    threads = windows_ahead()
    timeline, engine = parts(name)
    came = []
    for _ in engine.follow(timeline, ROUNDS * SECOND, begins=lambda *span: came.append(span)):
        pass
    assert_equal(expected, states(timeline, engine))
    assert came == seen
    assert len(came) > 2
    assert threads.count(threading.main_thread()) == 1
    engine.close()


def simulation(monkeypatch, threads):
    monkeypatch.setattr("sims.compiler.timeline.timeline._FEWEST_OPERATIONS", 40)
    monkeypatch.setattr("sims.compiler.timeline.timeline._OPERATIONS_PER_NODE", 1)
    scenario = small(*SETTINGS["delay and loss"])
    return MessageDriven(scenario, world_of(scenario), threads=threads, compile_when="never", device="cpu")


def test_nothing_drawn_ahead_is_in_a_checkpoint(monkeypatch, windows_ahead):
    """A run that is stopped after any window goes on as one that never was."""
    whole = simulation(monkeypatch, 1)
    checkpoints, counts = [], []

    def noted():
        checkpoints.append({name: np.copy(each) for name, each in whole.state().items()})
        counts.append(whole.counts())
        return False

    assert whole.advance(ROUNDS, between=noted)
    threads = windows_ahead()
    for stop in (1, 3):
        first = simulation(monkeypatch, 2)
        calls = iter(range(1, 1000))
        assert not first.advance(ROUNDS, between=lambda calls=calls, stop=stop: next(calls) == stop)
        assert_equal(checkpoints[stop - 1], first.state())
        assert first.counts() == counts[stop - 1]
        second = simulation(monkeypatch, 2)
        second.restore({name: np.copy(each) for name, each in first.state().items()})
        assert second.advance(ROUNDS, between=lambda: False)
        assert first.advance(ROUNDS, between=lambda: False)
        assert_equal(whole.state(), second.state())
        assert_equal(whole.state(), first.state())
        first.close()
        second.close()
    assert any(thread is not threading.main_thread() for thread in threads)


def failing(monkeypatch, number):
    """Let arranging the window of a number fail."""
    arrange, calls = Engine.arrange, iter(range(1, 1000))

    def arranged(engine, window):
        if next(calls) == number:
            raise ArithmeticError
        return arrange(engine, window)

    monkeypatch.setattr(Engine, "arrange", arranged)


def test_an_error_of_the_drawing_thread_is_raised_after_the_windows_before(monkeypatch, windows_ahead):
    windows_ahead()
    timeline, engine = parts("delay and loss")
    failing(monkeypatch, 4)
    done = []
    with pytest.raises(ArithmeticError):
        done.extend(engine.table.steps.sum() for _ in engine.follow(timeline, ROUNDS * SECOND))
    assert len(done) == 3
    assert np.diff(done).min() > 0
    engine.close()


def test_who_stops_before_a_window_does_not_meet_its_error(monkeypatch, windows_ahead):
    windows_ahead()
    stopped = simulation(monkeypatch, 2)
    failing(monkeypatch, 4)
    calls = iter(range(1, 1000))
    assert not stopped.advance(ROUNDS, between=lambda: next(calls) == 3)
    assert stopped.advance(ROUNDS, between=lambda: False)
    whole = simulation(monkeypatch, 2)
    assert whole.advance(ROUNDS, between=lambda: False)
    assert_equal(whole.state(), stopped.state())
    stopped.close()
    whole.close()


def test_when_a_window_fails_nobody_uses_the_timeline_any_more(monkeypatch, windows_ahead):
    windows_ahead()
    timeline, engine = parts("delay and loss")
    arrange, failed, ended = Engine.arrange, threading.Event(), []

    def arranged(engine, window):
        if threading.current_thread() is not threading.main_thread():
            failed.wait(60)
        found = arrange(engine, window)
        ended.append(window)
        return found

    def fails(*arguments, **options):
        failed.set()
        raise ArithmeticError

    monkeypatch.setattr(Engine, "arrange", arranged)
    monkeypatch.setattr(Engine, "_run", fails)
    with pytest.raises(InvalidTask):
        for _ in engine.follow(timeline, ROUNDS * SECOND):
            pass
    assert len(ended) == 2
    assert engine.workers.are_complete
    engine.close()


def test_threads_share_blocks_when_nothing_is_aside():
    workers, given = Workers(2), threading.Event()
    assert workers.are_complete
    future = workers.aside(lambda: given.wait(60))
    assert not workers.are_complete
    given.set()
    assert future.result()
    assert workers.are_complete
    workers.close()

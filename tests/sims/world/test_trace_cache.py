"""Programmes of earlier runs serve later ones, and only those that compute the same."""

import pytest

import sims
from sims.engine import programme
from sims.world.trace_cache import Traces
from tests.sims.worlds import small

ROUNDS = ("algorithm={name='d_psgd'}",)


@pytest.fixture
def traced(monkeypatch, tmp_path):
    """Names of the programmes that were traced, where no earlier run has kept any."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = []
    trace = programme.Programme._traced

    def counted(self, *arguments):
        names.append(self.name)
        return trace(self, *arguments)

    monkeypatch.setattr(programme.Programme, "_traced", counted)
    return names


def run(*overrides, traces):
    return sims.run(
        small("stop.rounds=4", "evaluate.every=2", *overrides), compile_when="never", traces=traces
    )


@pytest.mark.parametrize("algorithm", [ROUNDS, ()])
def test_a_run_with_another_seed_traces_nothing_and_comes_to_the_same(traced, algorithm):
    traces = Traces()
    run(*algorithm, traces=traces)
    assert len(traced) == len(set(traced)) > 1
    traced.clear()
    again = run(*algorithm, "seed=9", "training.seed=5", "topology.name='complete'", traces=traces)
    assert traced == []
    alone = run(*algorithm, "seed=9", "training.seed=5", "topology.name='complete'", traces=None)
    assert again.rows.equal(alone.rows)
    assert again.evaluations.equals(alone.evaluations)


@pytest.mark.parametrize(
    "change",
    [
        "training.learning_rate=0.2",
        "training.momentum=0.5",
        "training.clip_norm=0.1",
        "task.options.model='mlp'",
        "precision='float32'",
        "algorithm={name='gossip_learning',merge='UM'}",
        "algorithm={name='gossip_learning',weighting='plain'}",
        "algorithm={name='push_sum'}",
    ],
)
def test_what_computes_something_else_is_traced_anew(change):
    traces = Traces()
    run(traces=traces)
    again, alone = run(change, traces=traces), run(change, traces=None)
    assert again.rows.equal(alone.rows)


def test_of_too_many_the_one_unused_for_longest_is_dropped():
    traces = Traces(most=2)
    for key, graph in (("a", 1), ("b", 2), ("a", 1), ("c", 3)):
        traces[key] = graph
    assert [traces.get(key) for key in "abc"] == [1, None, 3]


@pytest.mark.parametrize("change", ["training.learning_rate=0.2", "training.clip_norm=0.1"])
def test_gradients_are_the_same_whatever_step_follows(traced, change):
    """And come to the same, where the step is the algorithm's own; clipping is part of a gradient."""
    traces, tracking = Traces(), "algorithm={name='gradient_tracking'}"
    run(tracking, traces=traces)
    assert any("gradients" in name for name in traced)
    traced.clear()
    again = run(tracking, change, traces=traces)
    assert any("gradients" in name for name in traced) == ("clip_norm" in change)
    assert again.rows.equal(run(tracking, change, traces=None).rows)

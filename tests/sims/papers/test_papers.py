"""Published curves, through the whole simulator."""

import numpy as np
import pytest

import sims
from gossipfl.errors import InvalidTask
from gossipfl.tasks import find_task
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings


@pytest.fixture(scope="module")
def spambase():
    try:
        task = find_task("spambase")
        return task, task.data()
    except InvalidTask as error:
        if "could not be fetched" in str(error):
            pytest.skip(f"no package index: {error}")
        raise


@pytest.fixture(scope="module")
def sequential_error(spambase):
    """Test error of Pegasos after 20,000 steps on the pooled samples, one after the other."""
    task, data = spambase
    settings = TrainingSettings(
        learning_rate=1e4,
        schedule="inverse",
        decay_age=1,
        weight_decay=1e-4,
        batch_size=1,
        local_steps=20_000,
    )
    trainer = Trainer.of(task, NodeData.of_one_node(data.train_inputs, data.train_targets), settings)
    after, _ = trainer.train(Nodes.start(task.initial_row()[None]), np.zeros(1, dtype=np.int64))
    return 1 - float(task.evaluate(after.rows, data.test_inputs, data.test_targets)["accuracy"])


def errors(merge, rounds):
    overrides = [f"algorithm.merge={merge}", f"stop.rounds={rounds}", "evaluate.nodes=60"]
    scenario = sims.load_scenario("spambase", overrides=overrides)
    result = sims.run(scenario, compile_when="never")
    return dict(zip(result.evaluations["round"], 1 - result.evaluations["accuracy_mean"], strict=True))


@pytest.mark.slow
def test_sequential_pegasos_errs_as_often_as_published(sequential_error):
    assert sequential_error == pytest.approx(0.100, abs=0.04)


@pytest.mark.parametrize("merge", ["MU", "UM"])
def test_merging_models_learn_spam_as_fast_as_published(spambase, merge):
    """Ormándi et al. 2013, Fig. 1: merging walks are as good as sequential Pegasos (0.100 ± 0.019) by cycle 50."""
    found = errors(merge, 50)
    assert found[10] < 0.19
    assert found[50] <= 0.119


def test_lone_walks_are_far_behind(spambase):
    found = errors("RW", 50)
    assert found[10] == pytest.approx(0.27, abs=0.05)
    assert found[50] == pytest.approx(0.21, abs=0.04)
    assert found[50] > 0.119 + 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("merge", "at_200"), [("RW", 0.16), ("MU", 0.075), ("UM", 0.075)])
def test_spam_after_two_hundred_cycles_as_published(spambase, merge, at_200):
    assert errors(merge, 200)[200] == pytest.approx(at_200, abs=0.025)


def test_push_pull_averaging_reduces_variance_as_published():
    """Jelasity, Montresor & Babaoglu 2005: a factor of 1/(2√e) = 0.303 a cycle.

    That is exact for the first cycle. Nodes here wake in the same order in every cycle, and later cycles do
    slightly better: 0.293, as measured.
    """
    overrides = ["stop.rounds=8", "population.nodes=1000", "task.options={nodes=1000,size=16}"]
    scenario = sims.load_scenario("push-pull-averaging", overrides=overrides)
    distances = sims.run(scenario, compile_when="never").evaluations["consensus_distance"].to_numpy()
    assert distances[1] / distances[0] == pytest.approx(0.303, abs=0.012)
    assert (distances[8] / distances[2]) ** (1 / 6) == pytest.approx(0.293, abs=0.008)

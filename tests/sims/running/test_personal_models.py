"""Models that stay with their nodes are those that runs measure and give back."""

import numpy as np
import pytest
import torch

import sims
from gossipfl.training import NodeData, Nodes, Trainer
from sims.compiler.reference import Reference
from sims.compiler.timeline import Timeline
from sims.engine.receiving import engine_of
from sims.world import build_world
from sims.world.receipts import receipts_of
from tests.sims.compiler.test_equality import FAILURES
from tests.sims.worlds import SECOND, conditions, small

SHORT = ("stop.rounds=6", "evaluate.every=3")
APART = "topology={name='sims.scenarios.apart:apart',groups=24}"


def run(*overrides):
    return sims.run(small(*SHORT, *overrides), compile_when="never")


def test_by_messages_they_equal_those_of_the_reference():
    scenario = small("algorithm={name='apfl_gossip',adapts=true,share=0.3}", *FAILURES)
    world = build_world(scenario)
    given = conditions(scenario, world)
    reference = Reference(world, given, receipts_of(world, indptr=given.indptr))
    shared = reference.run(8 * SECOND)
    engine = engine_of(world, indptr=given.indptr, compile_when="never")
    timeline = Timeline(given, most_operations=100)
    for window in timeline.windows(8 * SECOND):
        timeline.kept(engine.execute(window))
    engine.close()
    personal = torch.cat([node.models for node in reference.models])
    assert (engine.models() - personal).abs().max() < 1e-10
    assert (engine.rows() - shared).abs().max() < 1e-10
    assert (personal - shared).abs().max() > 1e-3


def test_runs_measure_them_and_the_distance_of_what_is_shared():
    shared, alone = run("algorithm.name=d_psgd"), run("algorithm.name=d_psgd", APART)
    both = run("algorithm={name='apfl',share=1.0}")
    assert both.evaluations["loss_mean"].to_list() == pytest.approx(alone.evaluations["loss_mean"].to_list())
    distances = both.evaluations["consensus_distance"].to_list()
    assert distances == pytest.approx(shared.evaluations["consensus_distance"].to_list())
    assert both.evaluations["bytes"].to_list() == shared.evaluations["bytes"].to_list()
    assert torch.allclose(both.rows, alone.rows)


def test_fine_tuned_models_are_measured_and_not_kept():
    plain = run("algorithm.name=d_psgd")
    tuned = run("algorithm.name=d_psgd", "evaluate.fine_tune=3", "evaluate.per_node=true")
    assert tuned.rows.equal(plain.rows)
    world = build_world(tuned.scenario)
    data, settings = world.trainer.data, tuned.scenario.training
    for node in (0, 7):
        inputs, targets = data.at(data.indices[data.offsets[node] : data.offsets[node + 1]])
        own = Trainer.of(
            world.task, NodeData.of_one_node(inputs, targets, number=node), settings, dtype=torch.float64
        )
        start = Nodes.start(plain.rows[node : node + 1], optimiser_state_size=own.optimiser_state_size)
        after, _ = own.train(start, np.zeros(1, dtype=np.int64), steps=3)
        loss = world.task.evaluate(after.rows, world.test_inputs, world.test_targets)["loss"]
        assert tuned.nodes is not None
        assert tuned.nodes["loss"][-24 + node] == pytest.approx(float(loss[0]))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "clusters"), [("rotated-digits", 4), ("conflicting-labels", 3)])
def test_clusters_that_find_themselves_do_better_than_one_model_and_than_each_alone(name, clusters):
    """What docs/personal.md shows over three seeds, with one."""

    def accuracy(*overrides):
        scenario = sims.load_scenario(name, overrides=["seed=1", "training.seed=1", *overrides])
        return float(sims.run(scenario, compile_when="never").evaluations["accuracy_mean"][-1])

    apart = "topology={{name='sims.scenarios.apart:apart',groups={}}}"
    best_without = max(accuracy(), accuracy(apart.format(24)))
    oracle = accuracy(apart.format(clusters))
    by_loss = accuracy("algorithm={name='similarity_weights',sharpness=20.0}")
    by_choice = accuracy(f"algorithm={{name='ifca',models={clusters}}}")
    assert oracle > best_without + 0.05
    assert by_loss > best_without + 0.04
    assert by_choice > best_without + 0.02
    assert oracle + 0.01 > by_loss

"""Round-based averaging algorithms in the simulator: same rules, real tasks, other graphs, what is counted."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch

from gossipfl.algorithms.rounds.relay_sgd import RELAYED
from gossipfl.algorithms.rounds.stochastic_gradient_push import PUSH_SUM_WEIGHTS
from gossipfl.rows import load_row
from sims.engine import RoundEngine
from sims.errors import InvalidScenario, NotSimulable
from sims.running.choice import simulation_of
from sims.scenario import Scenario, parse_scenario
from sims.world.networks import round_network
from tests.sims.worlds import world_of

COMPLETE = "topology.name=complete"
RING = "topology.name=ring"
ALGORITHMS = {
    "epidemic_learning": ("algorithm.degree=4",),
    "dfedavg": (RING,),
    "sgp": ("topology={name='tree',branching=2,depth=3}", "algorithm.weights=uniform"),
    "relay_sgd": ("topology={name='tree',branching=2,depth=3}",),
    "d_cliques": ("topology={name='d_cliques',clique_size=5}",),
    "fedavg": ("algorithm.fraction=0.4",),
    "pooled_sgd": (),
}
BASE = """
seed = 3
precision = "float64"
[population]
nodes = 15
[task]
name = "tests.sims.worlds:blobs"
partition = "quantity:0.6"
[algorithm]
name = "{name}"
[training]
batch_size = 4
learning_rate = 0.3
"""
QUADRATIC = ("task={name='tests.sims.worlds:quadratic',options={nodes=15},partition='contiguous'}",)


def scenario_of(name: str, *overrides: str) -> Scenario:
    return parse_scenario(BASE.replace("{name}", name), overrides=overrides)


def engine_of(name: str, *overrides: str, threads: int = 1) -> RoundEngine:
    scenario = scenario_of(name, *overrides)
    world = world_of(scenario)
    network = round_network(scenario, class_counts=world.class_counts)
    return RoundEngine(world, network, compile_when="never", threads=threads)


def run(engine: RoundEngine, rounds: int) -> RoundEngine:
    for _ in range(rounds):
        engine.run_round()
    engine.close()
    return engine


def one_by_one(engine: RoundEngine) -> RoundEngine:
    """Train nodes one by one: nothing is traced for each number of samples."""
    engine.local.vectorised = False
    return engine


def rows_after(rounds: int, name: str, *overrides: str) -> torch.Tensor:
    return run(engine_of(name, *overrides), rounds).rows()


@pytest.mark.parametrize(
    ("name", "overrides", "momentum"),
    [
        ("d_psgd", (COMPLETE,), 0.8),
        ("sgp", (COMPLETE,), 0.8),
        ("epidemic_learning", ("algorithm.degree=4", "algorithm.variant=local"), 0.8),
        ("epidemic_learning", ("algorithm.degree=4",), 0.0),
        ("d_cliques", ("topology={name='d_cliques',clique_size=5}",), 0.0),
        ("d_cliques", ("topology={name='d_cliques',clique_size=5}",), 0.8),
        ("dfedavg", (COMPLETE,), 0.0),
        ("dfedavg", (COMPLETE, "algorithm.epochs=0"), 0.0),
        ("fedavg", ("algorithm.weighting=nodes",), 0.0),
        ("fedavg", (), 0.0),
    ],
)
def test_complete_mixing_with_full_data_is_pooled_sgd(name, overrides, momentum):
    """Multinomial regression on unequal numbers of samples."""
    full = ("population.nodes=5", "training.batch_size=1000", f"training.momentum={momentum}")
    weighting = "samples" if (name, overrides) == ("fedavg", ()) else "nodes"
    pooled = one_by_one(engine_of("pooled_sgd", f"algorithm.weighting={weighting}", *full))
    other = one_by_one(engine_of(name, *overrides, *full))
    assert torch.allclose(run(other, 12).rows(), run(pooled, 12).rows(), rtol=0, atol=1e-12)


def test_pooled_sgd_with_all_samples_is_gradient_descent_on_all_of_them():
    """Against torch's own gradient and optimiser on the pooled data set."""
    engine = engine_of(
        "pooled_sgd", "population.nodes=5", "algorithm.weighting=samples", "training.batch_size=1000"
    )
    task, data = engine.world.task, engine.world.trainer.data
    module = task.build_module()
    load_row(module, task.layout, engine.rows()[0])
    descent = torch.optim.SGD(module.parameters(), lr=0.3)
    for _ in range(10):
        descent.zero_grad()
        torch.nn.functional.cross_entropy(module(data.inputs), data.targets).backward()
        descent.step()
    expected = torch.cat([p.detach().flatten() for p in module.parameters()])
    rows = run(engine, 10).rows()
    assert torch.allclose(rows, expected.expand_as(rows), rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", ["mlp", "batchnorm", "dropout", "personal"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_threads_blocks_and_kinds_of_modules_do_not_matter(name, model):
    """Nodes with many numbers of samples, against training them one by one."""
    overrides = (*ALGORITHMS[name], f"task.options={{model='{model}'}}", "training.momentum=0.5")
    plain = run(one_by_one(engine_of(name, *overrides)), 3)
    blocks = run(engine_of(name, *overrides, threads=2), 3)
    assert torch.allclose(blocks.rows(), plain.rows(), rtol=1e-12, atol=1e-12)
    assert blocks.nodes.ages.tolist() == plain.nodes.ages.tolist()
    assert blocks.nodes.steps.tolist() == plain.nodes.steps.tolist()
    shared = blocks.world.layout.shared_size
    if name in ("fedavg", "pooled_sgd"):
        assert torch.equal(blocks.rows()[:, :shared], blocks.rows()[:1, :shared].expand(15, -1))
    if model == "personal":
        assert float((blocks.rows()[:, shared:] - blocks.rows()[:1, shared:]).abs().max()) > 1e-3


@pytest.mark.parametrize("name", ["dfedavg", "fedavg"])
def test_an_epoch_is_a_pass_over_a_nodes_own_samples(name):
    engine = run(engine_of(name, *(() if name == "fedavg" else (RING,)), "algorithm.epochs=2"), 3)
    counts = engine.world.trainer.data.counts
    assert counts.min() < 8 < counts.max()
    assert engine.nodes.steps.tolist() == (3 * 2 * -(-counts // 4)).tolist()


def test_push_sum_averages_exactly_over_links_that_go_one_way(tmp_path):
    links = nx.gn_graph(15, seed=5)
    links.add_edge(0, 14)
    links.add_edges_from((i, (i + 4) % 15) for i in range(15) if not links.has_edge(i, (i + 4) % 15))
    file = tmp_path / "links.edges"
    file.write_text("\n".join(f"{i} {j}" for i, j in links.edges if i != j))
    engine = engine_of(
        "sgp", "training.enabled=false", f"topology={{name='file',path='{file}',directed=true}}"
    )
    values = torch.randn(engine.rows().shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    engine.nodes.rows.copy_(values)
    for _ in range(300):
        engine.run_round()
        weights = engine.nodes.auxiliary[PUSH_SUM_WEIGHTS]
        assert torch.allclose((engine.rows() * weights).sum(0), values.sum(0), rtol=0, atol=1e-12)
    assert float((weights - 1).abs().max()) > 0.1
    assert torch.allclose(engine.rows(), values.mean(0).expand_as(values), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["path", "star", "tree"])
def test_relay_sgd_reaches_the_optimum_of_heterogeneous_quadratics_along_trees(name):
    topology = "topology={name='tree',branching=2,depth=3}" if name == "tree" else f"topology.name={name}"
    rate = "training.learning_rate=0.1"
    assert float(rows_after(800, "relay_sgd", *QUADRATIC, topology, rate).abs().max()) < 1e-10
    assert float(rows_after(200, "d_psgd", *QUADRATIC, topology, rate).abs().max()) > 0.5


def test_relay_sgd_counts_everybody_after_the_diameter():
    engine = engine_of("relay_sgd", "topology={name='tree',branching=2,depth=3}")
    for _ in range(6):
        engine.run_round()
    owner = engine.exchanges.links().owner
    counts = engine.nodes.auxiliary[RELAYED][:, -1]
    assert torch.zeros(15).double().index_add(0, owner, counts).tolist() == [14.0] * 15


def test_d_cliques_step_along_the_gradient_of_all_samples_of_the_clique():
    """Nodes without links out of their clique, after one round; one class a node, all classes a clique."""
    engine = engine_of(
        "d_cliques",
        "topology={name='d_cliques',clique_size=3}",
        "population.nodes=24",
        "task.partition=shards:1",
        "training.batch_size=1000",
    )
    task, data = engine.world.task, engine.world.trainer.data
    cliques = engine.exchanges._links.cliques.numpy()
    module = task.build_module()
    load_row(module, task.layout, engine.rows()[0])
    links = engine.exchanges.links()
    outwards = cliques[links.owner] != cliques[links.neighbours]
    inside = sorted(set(range(24)) - set(links.owner[outwards].tolist()))
    assert len(inside) >= 8
    rows = run(engine, 1).rows()
    for node in inside:
        members = np.flatnonzero(cliques == cliques[node])
        samples = np.concatenate([data.indices[data.offsets[i] : data.offsets[i + 1]] for i in members])
        assert sorted(set(data.targets[samples].tolist())) == [0, 1, 2]
        module.zero_grad()
        torch.nn.functional.cross_entropy(module(data.inputs[samples]), data.targets[samples]).backward()
        stepped = torch.cat([(p - 0.3 * p.grad).detach().flatten() for p in module.parameters()])
        assert torch.allclose(rows[node], stepped, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("degree", "variant", "expected"), [(3, "oracle", 0.2421), (7, "local", 0.1322)])
def test_epidemic_learning_contracts_as_published(degree, variant, expected):
    """96 nodes without training: the mean of E‖Wx − x̄‖² / ‖x − x̄‖² over rounds (de Vos et al. 2023)."""
    engine = engine_of(
        "epidemic_learning",
        "population.nodes=96",
        "task.partition=iid",
        "training.enabled=false",
        f"algorithm.degree={degree}",
        f"algorithm.variant={variant}",
    )
    generator, ratios = torch.Generator().manual_seed(0), []
    for _ in range(300):
        rows = torch.randn(engine.rows().shape, dtype=torch.float64, generator=generator)
        rows -= rows.mean(0)
        engine.nodes.rows.copy_(rows)
        engine.run_round()
        ratios.append(float((engine.rows() ** 2).sum() / (rows**2).sum()))
    error = float(np.std(ratios)) / len(ratios) ** 0.5
    assert np.mean(ratios) == pytest.approx(expected, abs=4 * error + 5e-5)


@pytest.mark.parametrize(
    ("name", "messages", "numbers"),
    [
        ("epidemic_learning", 15 * 3, 18),
        ("dfedavg", 30, 18),
        ("sgp", 28, 19),
        ("relay_sgd", 28, 19),
        ("fedavg", 2 * 6, 19),
        ("pooled_sgd", 2 * 15, 19),
    ],
)
def test_what_is_sent_is_counted(name, messages, numbers):
    degree = ("algorithm.degree=3", "algorithm.variant=local") if name == "epidemic_learning" else ()
    engine = engine_of(name, *(degree or ALGORITHMS[name]))
    assert [engine.run_round() for _ in range(3)] == [messages] * 3
    assert engine.exchanges.bytes == 3 * messages * numbers * 4


def test_models_are_sent_in_half_the_bytes_where_nothing_else_goes_with_them():
    for name in ("epidemic_learning", "dfedavg", "d_cliques"):
        full, half = (
            engine_of(name, *ALGORITHMS[name]),
            engine_of(name, *ALGORITHMS[name], "algorithm.codec=bfloat16"),
        )
        run(full, 4), run(half, 4)
        assert half.exchanges.bytes * 2 == full.exchanges.bytes
        assert 0 < float((half.rows() - full.rows()).abs().max()) < 0.02


def test_d_cliques_send_gradients_in_cliques_and_models_to_all():
    engine = engine_of("d_cliques", *ALGORITHMS["d_cliques"])
    in_cliques = 3 * 5 * 4
    assert engine.run_round() == in_cliques + (in_cliques + 2 * 3)
    assert engine.exchanges.bytes == engine.exchanges.messages * 18 * 4


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_run_that_is_interrupted_goes_on_to_the_same_models(name):
    def simulation():
        scenario = scenario_of(name, *ALGORITHMS[name], "training.momentum=0.5")
        return simulation_of(scenario, world_of(scenario), threads=1, compile_when="never", device="cpu")

    through, first, second = simulation(), simulation(), simulation()
    through.advance(7, between=lambda: False)
    first.advance(3, between=lambda: False)
    second.restore(first.state())
    second.advance(7, between=lambda: False)
    assert torch.equal(through.rows(), second.rows())
    assert through.counts() == second.counts()


@pytest.mark.parametrize(
    ("name", "overrides", "says"),
    [
        ("relay_sgd", (RING,), "relay_sgd relays along a tree, and ring"),
        ("relay_sgd", ("topology.name=one_peer_exponential",), "same matrix in every round"),
        ("d_cliques", (RING,), "averages within cliques, and ring"),
        ("dfedavg", ("topology.name=star", "algorithm.weights=uniform"), "doubly stochastic"),
        ("dfedavg", (RING, "training.local_steps=3"), "whole epochs"),
        ("fedavg", ("training.local_steps=3",), "algorithm.epochs = 0"),
        ("sgp", (RING, "algorithm.codec=bfloat16"), "weights, counts or residues"),
        ("relay_sgd", ("topology.name=star", "algorithm.codec=int8"), "which int8:256 would change"),
        ("pooled_sgd", ("algorithm.codec=bfloat16",), "weights, counts or residues"),
    ],
)
def test_what_an_algorithm_is_not_defined_on_is_refused_by_name(name, overrides, says):
    with pytest.raises(NotSimulable, match=says):
        engine_of(name, *overrides)


@pytest.mark.parametrize(
    ("name", "overrides", "says"),
    [
        ("epidemic_learning", ("algorithm.degree=4", RING), "brings its own network"),
        ("epidemic_learning", ("algorithm.degree=15",), "expected s of at most n - 1 = 14; got 15"),
        ("epidemic_learning", ("algorithm.degree=2", "algorithm.weights=uniform"), "weighs by itself"),
        ("epidemic_learning", (), "degree"),
        ("fedavg", (RING,), "brings its own network"),
        ("fedavg", ("algorithm.fraction=0",), "fraction"),
        ("pooled_sgd", ("algorithm.weights=uniform",), "weighs by itself"),
        ("pooled_sgd", ("algorithm.weighting=classes",), "weighting"),
        ("dfedavg", (RING, "algorithm.epochs=-1"), "epochs"),
        ("dfedavg", (RING, "algorithm.epoch=1"), "epoch"),
    ],
)
def test_bad_settings_are_refused_by_name(name, overrides, says):
    with pytest.raises(InvalidScenario, match=says):
        engine_of(name, *overrides)

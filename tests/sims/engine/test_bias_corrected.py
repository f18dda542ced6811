"""Exact diffusion, D², gradient tracking and quasi-global momentum in the simulator."""

import numpy as np
import pytest
import torch

import sims
from gossipfl.consensus import consensus_distance
from sims.engine import RoundEngine
from sims.errors import InvalidScenario, NotSimulable
from sims.running.memory import estimate_memory
from sims.world.networks import round_network
from tests.sims.worlds import small, world_of

QUADRATIC = (
    "population.nodes=16",
    "task.name=tests.sims.worlds:quadratic",
    "task.partition=contiguous",
    "training.learning_rate=0.1",
)
RING, TORUS, HYPERCUBE = (
    "topology.name=ring",
    "topology={name='torus',shape=[4,4]}",
    "topology={name='hypercube',dimension=4}",
)
ALL = {
    "exact_diffusion": "{name='exact_diffusion'}",
    "d_squared": "{name='d_squared'}",
    "gradient_tracking": "{name='gradient_tracking'}",
    "semi": "{name='gradient_tracking',order='semi-adapt-then-combine'}",
    "diging": "{name='gradient_tracking',order='combine-then-adapt'}",
    "qg_dsgdm": "{name='qg_dsgdm',momentum=0.6,nesterov=true}",
}


def engine_of(algorithm, *overrides, threads=1):
    scenario = small(f"algorithm={ALL[algorithm]}", *overrides)
    return RoundEngine(world_of(scenario), round_network(scenario), compile_when="never", threads=threads)


def run(engine, rounds):
    for _ in range(rounds):
        engine.run_round()
    engine.close()
    return engine


@pytest.mark.parametrize("topology", [RING, TORUS, HYPERCUBE, "topology={name='random_regular',degree=3}"])
@pytest.mark.parametrize("algorithm", ["exact_diffusion", "gradient_tracking"])
def test_the_optimum_is_reached_where_d_psgd_stops_short(algorithm, topology):
    """f_i(x) = ½(x − b_i)²: D-PSGD rests 5.9 apart on the ring, these where the mean of all b_i is, at 0."""
    rounds = 2200 if (topology, algorithm) == (RING, "gradient_tracking") else 500
    rows = run(engine_of(algorithm, *QUADRATIC, topology), rounds).rows()
    assert rows.abs().max() < 1e-10
    assert abs(float(rows.mean())) < 1e-12


@pytest.mark.parametrize(("topology", "converges"), [(RING, True), (TORUS, False), (HYPERCUBE, False)])
def test_d_squared_diverges_where_an_eigenvalue_is_below_a_third(topology, converges):
    rows = run(engine_of("d_squared", *QUADRATIC, topology), 1000).rows()
    assert rows.abs().max() < 1e-10 if converges else rows.abs().max() > 1e10


@pytest.mark.parametrize("algorithm", ["d_squared", "gradient_tracking", "semi"])
def test_with_complete_mixing_and_full_data_it_is_pooled_gradient_descent(algorithm):
    """On a real task in float64: every node's model is that of gradient descent on the mean of all losses."""
    overrides = ("population.nodes=6", "topology.name=complete", "training.batch_size=1000")
    engine = engine_of(algorithm, *overrides, "task.options.model=mlp", "task.partition=dirichlet:0.5")
    engine.local.vectorised = False  # every node has another number of samples
    trainer, everyone = engine.world.trainer, np.arange(6)
    pooled = engine.nodes
    for _ in range(5):
        gradients = trainer.gradient(pooled, everyone)[1]
        moved = pooled.rows - trainer.learning_rates(pooled) * gradients.mean(0)
        pooled = pooled.with_shared(moved, ages=pooled.ages + 1)
        engine.run_round()
        assert torch.allclose(engine.rows(), pooled.rows, rtol=0, atol=1e-12)
    engine.close()


@pytest.mark.parametrize("algorithm", ALL)
def test_threads_and_blocks_do_not_matter(algorithm):
    overrides = ("task.partition=quantity:0.7", "population.nodes=12", "training.batch_size=12")
    engines = [engine_of(algorithm, *overrides), engine_of(algorithm, *overrides, threads=2)]
    engines[0].local.vectorised = False
    plain, blocks = (run(engine, 4).nodes for engine in engines)
    assert torch.allclose(plain.rows, blocks.rows, rtol=1e-11, atol=1e-12)
    for name, kept in plain.auxiliary.items():
        assert torch.allclose(kept, blocks.auxiliary[name], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("algorithm", ["exact_diffusion", "gradient_tracking", "qg_dsgdm"])
def test_in_float32_it_is_the_same_to_rounding(algorithm):
    overrides = ("task.partition=dirichlet:0.5", "population.nodes=12")
    double = run(engine_of(algorithm, *overrides), 10).rows()
    single = run(engine_of(algorithm, *overrides, "precision=float32"), 10).rows()
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), double, atol=1e-4)


@pytest.mark.parametrize(
    ("algorithm", "messages", "models"),
    [
        ("exact_diffusion", 1, 1),
        ("d_squared", 1, 1),
        ("gradient_tracking", 2, 2),
        ("semi", 1, 2),
        ("diging", 1, 2),
        ("qg_dsgdm", 1, 1),
    ],
)
def test_what_is_sent_is_counted_exchange_by_exchange(algorithm, messages, models):
    engine = run(engine_of(algorithm, "topology={name='random_regular',degree=4}"), 3)
    links = 3 * 24 * 4
    assert engine.exchanges.messages == messages * links
    assert engine.exchanges.bytes == models * links * 4 * engine.world.layout.shared_size


@pytest.mark.parametrize("algorithm", ["exact_diffusion", "gradient_tracking", "qg_dsgdm"])
def test_a_resumed_run_ends_where_the_whole_one_does(tmp_path, algorithm):
    scenario = small(
        f"algorithm={ALL[algorithm]}", "stop.rounds=8", "evaluate.every=3", "output.checkpoint_every=3"
    )
    whole = sims.run(scenario, compile_when="never")
    sims.run(scenario, out=tmp_path, compile_when="never")
    (tmp_path / "run.json").unlink()
    (tmp_path / "rows.safetensors").unlink()
    seen = []
    again = sims.run(
        None, out=tmp_path, resume=True, compile_when="never", on_progress=lambda p: seen.append(p.rounds)
    )
    assert (seen[0], seen[-1]) == (6, 8)
    assert again.rows.equal(whole.rows)
    assert again.evaluations.equals(whole.evaluations)


@pytest.mark.parametrize("algorithm", ALL)
def test_the_estimate_covers_what_is_kept(algorithm):
    scenario = small(f"algorithm={ALL[algorithm]}", "population.nodes=100", "task.samples_per_node=5")
    world = world_of(scenario)
    nodes = run(RoundEngine(world, round_network(scenario), compile_when="never"), 2).nodes
    taken = nodes.rows.nbytes + sum(kept.nbytes for kept in nodes.auxiliary.values())
    without = small("algorithm={name='d_psgd'}", *_same(scenario))
    plain = estimate_memory(without, world_of(without)).rows
    assert 2 * taken < estimate_memory(scenario, world).rows
    assert estimate_memory(scenario, world).rows - plain >= 2 * (taken - nodes.rows.nbytes)


def _same(scenario):
    return (f"population.nodes={scenario.population.nodes}", "task.samples_per_node=5")


def test_d_psgd_without_momentum_is_quasi_global_momentum_with_none():
    quasi = run(engine_of("qg_dsgdm", "algorithm.momentum=0.0", "task.options.model=mlp"), 5).rows()
    scenario = small("algorithm={name='d_psgd'}", "task.options.model=mlp")
    plain = run(RoundEngine(world_of(scenario), round_network(scenario), compile_when="never"), 5).rows()
    assert torch.allclose(quasi, plain, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (
            ("algorithm.name=exact_diffusion", "topology={name='base',k=1}"),
            "exact_diffusion needs the same matrix",
        ),
        (
            ("algorithm.name=d_squared", "topology.name=one_peer_exponential"),
            "d_squared needs the same matrix",
        ),
        (("algorithm.name=d_squared", "topology.name=exponential"), "d_squared needs symmetric mixing"),
        (
            ("algorithm.name=gradient_tracking", "topology.name=star", "algorithm.weights=uniform"),
            r"gradient_tracking needs doubly stochastic mixing, and the matrices of star:24 are not",
        ),
        (("algorithm.name=gradient_tracking", "training.momentum=0.9"), "training.momentum"),
        (("algorithm.name=qg_dsgdm", "training.local_steps=2"), "qg_dsgdm takes one gradient a round"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(overrides, what):
    scenario = small(*overrides)
    with pytest.raises(NotSimulable, match=what):
        RoundEngine(world_of(scenario), round_network(scenario))


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (("algorithm.name=exact_difusion",), "exact_difusion"),
        (("algorithm.name=gradient_tracking", "algorithm.ordr='x'"), "Did you mean 'order'"),
        (("algorithm.name=qg_dsgdm", "algorithm.momentum=1.0"), "algorithm.momentum"),
    ],
)
def test_a_mistake_in_the_algorithm_section_is_named(overrides, what):
    with pytest.raises(InvalidScenario, match=what):
        small(*overrides)


def test_on_directed_regular_graphs_weights_are_uniform_unless_given():
    engine = run(engine_of("gradient_tracking", *QUADRATIC, "topology.name=exponential"), 300)
    assert engine.exchanges.sequence.matrix(0).diagonal() == pytest.approx(1 / 5)
    assert consensus_distance(engine.rows(), 1, np.ones(16, dtype=bool)) < 1e-20

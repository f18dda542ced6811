"""Round-based learning against exact results on quadratics."""

import numpy as np
import pytest
import torch

from gossipfl.consensus import consensus_distance
from sims.engine import RoundEngine
from sims.errors import NotSimulable
from sims.world.networks import round_network
from tests.sims.worlds import small, world_of

QUADRATIC = (
    "population.nodes=16",
    "task.name=tests.sims.worlds:quadratic",
    "task.partition=contiguous",
    "algorithm={name='d_psgd'}",
)


def after(rounds, *overrides):
    scenario = small(*QUADRATIC, *overrides)
    engine = RoundEngine(world_of(scenario), round_network(scenario).sequence, compile_when="never")
    for _ in range(rounds):
        engine.run_round()
    engine.close()
    return engine.rows()


@pytest.mark.parametrize(("rate", "rounds", "distance"), [(0.1, 1500, 5.897387), (0.01, 5000, 0.331913)])
def test_adapt_then_combine_stops_where_it_should(rate, rounds, distance):
    """The fixed point of W(X − ηG) on the ring of 16 in closed form: mode λ rests at ηλb̂/(1 − (1 − η)λ)."""
    rows = after(rounds, f"training.learning_rate={rate}")
    assert consensus_distance(rows, 1, np.ones(16, dtype=bool)) == pytest.approx(distance, abs=1e-6)
    assert float(rows.mean()) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("order", "mode"),
    [
        ("adapt-then-combine", lambda eta, w: eta * w / (1 - (1 - eta) * w)),
        ("combine-then-adapt", lambda eta, w: eta / (1 - (1 - eta) * w)),
        ("both-at-once", lambda eta, w: eta / (1 - w + eta)),
    ],
)
@pytest.mark.parametrize("topology", ["ring", "torus"])
def test_every_order_has_its_own_fixed_point(order, mode, topology):
    shape = ("topology={name='torus',shape=[4,4]}",) if topology == "torus" else ()
    overrides = (f"algorithm.order={order}", "training.learning_rate=0.2", *shape)
    W = round_network(small(*QUADRATIC, *overrides)).sequence.matrix(0).toarray()
    eigenvalues, vectors = np.linalg.eigh(W)
    b = np.arange(16) - 7.5
    expected = vectors @ (mode(0.2, eigenvalues) * (vectors.T @ b))
    assert after(600, *overrides)[:, 0].numpy() == pytest.approx(expected, abs=1e-9)


def test_with_complete_mixing_it_is_pooled_gradient_descent():
    rows = after(7, "topology.name=complete", "training.learning_rate=0.3")
    assert torch.allclose(rows, torch.zeros_like(rows), atol=1e-12)


def test_a_sequence_is_followed_round_by_round():
    """Averaging alone over one period of the base graph reaches the mean exactly."""
    scenario = small(
        *QUADRATIC, "topology={name='base',k=1}", "training.enabled=false", "population.nodes=16"
    )
    world, sequence = world_of(scenario), round_network(scenario).sequence
    engine = RoundEngine(world, sequence, compile_when="never")
    engine.nodes.rows.copy_(torch.arange(16.0, dtype=torch.float64)[:, None])
    messages = sum(engine.run_round() for _ in range(sequence.period))
    assert torch.allclose(engine.rows(), torch.full((16, 1), 7.5, dtype=torch.float64), atol=1e-12)
    assert messages == 16 * sequence.period


def test_threads_blocks_and_batch_sizes_do_not_matter():
    """Nodes with shards of many sizes, against training them one by one."""
    overrides = ("task.partition=quantity:0.7", "algorithm={name='d_psgd'}", "training.momentum=0.5")
    scenario = small(*overrides)
    world = world_of(scenario)
    engine = RoundEngine(world, round_network(scenario).sequence, compile_when="never", threads=2)
    plain = RoundEngine(world, round_network(scenario).sequence, compile_when="never")
    plain.local.vectorised = False
    for _ in range(3):
        engine.run_round()
        plain.run_round()
    engine.close()
    assert torch.allclose(engine.rows(), plain.rows(), rtol=1e-12, atol=1e-12)
    assert engine.nodes.ages.tolist() == plain.nodes.ages.tolist() == [3] * 24


def test_weights_that_are_not_doubly_stochastic_are_refused():
    scenario = small(*QUADRATIC, "topology.name=star", "algorithm.weights=uniform")
    with pytest.raises(NotSimulable, match="doubly stochastic"):
        RoundEngine(world_of(scenario), round_network(scenario).sequence)

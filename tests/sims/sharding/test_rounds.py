"""Simulations in rounds: shards against one machine."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.algorithms import algorithm_names
from sims.errors import InvalidScenario, NotSimulable
from sims.running import run
from sims.scenario import parse_scenario
from sims.sharding.start import sharded
from sims.world.trace_cache import Traces
from tests.sims.worlds import blobs

TRACES = Traces()
SERVERS = {"fedavg", "pooled_sgd"}
GRAPH = "topology={name='random_regular',degree=4}"
QUICK = {"coordinate_median", "d_cliques", "power_gossip", "relay_sgd"}
"""One of each kind of exchange."""
NEED = {
    "d_cliques": ("topology={name='d_cliques',clique_size=5}",),
    "relay_sgd": ("topology={name='tree',branching=2,depth=3}",),
    "epidemic_learning": ("algorithm.degree=4",),
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
[evaluate]
every = 2
per_node = true
[stop]
rounds = 4
"""


def started_apart():
    """A task whose nodes start from models of their own."""
    return replace(blobs(), start="independent")


def scenario_of(name, *overrides):
    return parse_scenario(BASE.replace("{name}", name), overrides=overrides)


def in_shards(scenario, shards, **kwargs):
    return run(scenario, traces=TRACES, simulated_by=partial(sharded, shards=shards), **kwargs)


def require_equal(one, many):
    """Require the same models to the bit, and the same records but for the rounding of sums of all nodes."""
    assert torch.equal(one.rows, many.rows)
    assert one.summary["result"] == many.summary["result"]
    require_equal_records(one, many)


def require_equal_records(one, many, *, atol=1e-12):
    assert one.evaluations.columns == many.evaluations.columns
    for name in one.evaluations.columns:
        found, expected = (each.evaluations[name].to_numpy() for each in (many, one))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=atol, err_msg=name)
    for name in one.nodes.columns:
        found, expected = (each.nodes[name].to_numpy() for each in (many, one))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=atol, err_msg=name)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in sorted(set(algorithm_names("rounds")) - SERVERS)
    ],
)
def test_every_algorithm_is_the_same_to_the_bit(name):
    """Nodes with data of other sizes each, on a graph that METIS cuts into three."""
    made = scenario_of(name, *NEED.get(name, (GRAPH,)))
    require_equal(run(made, traces=TRACES), in_shards(made, 3))


FEATURES = {
    "codec": ("outgoing=[{kind='codec',name='bfloat16'}]",),
    "mask": ("outgoing=[{kind='mask',share=0.5}]",),
    "adamw": ("training.optimiser=adamw", "training.local_steps=2"),
    "speeds": ("network.period_sigma=0.5", "training.by_speed=true", "training.local_steps=3"),
    "own starts": ("task={name='tests.sims.sharding.test_rounds:started_apart'}",),
    "false labels": ("attack={name='label_flip',share=0.2}",),
    "losses": ("network.loss=0.2", "network.deadline=1", "churn.process={kind='cycle',offline=0.2}"),
    "links": ("network.links={up=1,slow=0.34}", "network.loss=0.1", "network.deadline=0.01"),
    "layers": ("evaluate.layers=true", "evaluate.mean_model=true"),
    "a sample": ("evaluate.nodes=6", "evaluate.fine_tune=2"),
    "one by one": ("task={name='tests.sims.worlds:blobs',options={model='dropout'}}",),
    "buffers": ("task={name='tests.sims.worlds:blobs',options={model='batchnorm'}}",),
    "single precision": ("precision=float32", "training.momentum=0.9"),
}
"""What scenarios have besides, each of which reaches for other parts of the engine."""
QUICK_FEATURES = {"losses", "layers", "a sample"}


@pytest.mark.parametrize(
    "feature",
    [pytest.param(each, marks=() if each in QUICK_FEATURES else pytest.mark.slow) for each in FEATURES],
)
def test_every_feature_is_the_same_to_the_bit(feature):
    made = scenario_of("d_psgd", GRAPH, *FEATURES[feature])
    one, many = run(made, traces=TRACES), in_shards(made, 2)
    assert torch.equal(one.rows, many.rows)
    require_equal_records(one, many, atol=1e-6 if "float32" in str(FEATURES[feature]) else 1e-12)


UNEVEN = "topology={name='erdos_renyi',p=0.4}"
ATTACKS = {
    "sign_flip, median": ("coordinate_median", UNEVEN, "attack={name='sign_flip',share=0.3}"),
    "noise": ("d_psgd", UNEVEN, "attack={name='noise',share=0.3,from_round=2}"),
    "replay": ("gradient_tracking", GRAPH, "attack={name='replay',share=0.2,lag=2}"),
    "free riders": ("d_psgd", GRAPH, "attack={name='random',share=0.2}"),
    "losses": ("d_psgd", UNEVEN, "attack={name='sign_flip',share=0.3}", *FEATURES["losses"]),
    "one hostile node": ("d_psgd", "topology.name=ring", "attack={name='stale',share=0.07}"),
    "fast codec": ("d_psgd", UNEVEN, "attack={name='sign_flip',share=0.3}", *FEATURES["codec"]),
}
"""Attacks that make a row of the node's own: another shard hears what the node's own shard made of it."""
QUICK_ATTACKS = {"one hostile node"}


@pytest.mark.parametrize(
    "attack",
    [pytest.param(each, marks=() if each in QUICK_ATTACKS else pytest.mark.slow) for each in ATTACKS],
)
def test_every_attack_on_a_row_is_the_same_to_the_bit(attack):
    name, *overrides = ATTACKS[attack]
    made = scenario_of(name, *overrides)
    honest = scenario_of(name, *(each for each in overrides if not each.startswith("attack")))
    one = run(made, traces=TRACES)
    require_equal(one, in_shards(made, 3))
    assert not torch.equal(one.rows, run(honest, traces=TRACES).rows)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["shards", "one machine"])
def test_what_attackers_remember_is_resumed(first, tmp_path):
    """A row of two rounds ago, of nodes that are not in all shards."""
    made = scenario_of("d_psgd", GRAPH, "evaluate.every=1", "attack={name='replay',share=0.14,lag=2}")
    stops = iter([False, False, True])
    options = {run: {"traces": TRACES}, in_shards: {"shards": 4}}
    begun, resumed = (in_shards, run) if first == "shards" else (run, in_shards)
    part = begun(made, out=tmp_path / "run", interrupted=lambda: next(stops), **options[begun])
    assert not part.finished
    whole = run(made, traces=TRACES)
    require_equal(whole, resumed(None, out=tmp_path / "run", resume=True, **options[resumed]))


@settings(max_examples=3, deadline=None)
@given(
    nodes=st.integers(6, 20),
    shards=st.integers(1, 4),
    topology=st.sampled_from(
        ["{name='ring'}", "{name='erdos_renyi',p=0.9}", "{name='one_peer_exponential'}", "{name='star'}"]
    ),
    name=st.sampled_from(["d_psgd", "gradient_tracking", "coordinate_median"]),
    seed=st.integers(0, 1000),
)
def test_any_cut_of_any_network_is_the_same_to_the_bit(nodes, shards, topology, name, seed):
    made = scenario_of(name, f"topology={topology}", f"population.nodes={nodes}", f"seed={seed}")
    require_equal(run(made, traces=TRACES), in_shards(made, shards))


def test_means_of_all_are_the_same_to_rounding():
    made = scenario_of("d_psgd", "topology.name=complete")
    one, many = run(made, traces=TRACES), in_shards(made, 4)
    torch.testing.assert_close(one.rows, many.rows, rtol=1e-12, atol=1e-12)
    require_equal_records(one, many, atol=1e-9)


@pytest.mark.parametrize(
    ("overrides", "name", "said"),
    [
        ((), "fedavg", "averages at a server"),
        (("masked_sums={range=8.0}", GRAPH), "d_psgd", "masked_sums"),
        (("attack={name='alie',share=0.2}", GRAPH), "d_psgd", "looks at rows of all honest nodes"),
        (
            ("attack={name='sign_flip',share=0.2}", "topology.name=complete"),
            "d_psgd",
            "on the complete graph lies are told to each node",
        ),
        (("topology.name=complete",), "coordinate_median", "a rule looks at the rows of all nodes"),
    ],
)
def test_what_needs_all_rows_in_one_place_is_refused(overrides, name, said):
    with pytest.raises(NotSimulable, match=said):
        in_shards(scenario_of(name, *overrides), 2)


def test_more_shards_than_nodes_are_refused():
    with pytest.raises(InvalidScenario, match="1 … 15 shards; got 16"):
        in_shards(scenario_of("d_psgd", GRAPH), 16)


@pytest.mark.parametrize("first", ["shards", "one machine"])
@pytest.mark.parametrize("name", ["power_gossip", "choco", "d_psgd"])
def test_a_run_is_resumed_in_shards_and_on_one_machine(first, name, tmp_path):
    """The checkpoint of an interrupted run is the same thing, whoever wrote it."""
    timed = FEATURES["links"] if name == "d_psgd" else ()
    made = scenario_of(name, GRAPH, "evaluate.every=1", *timed)
    whole = run(made, traces=TRACES)
    stops = iter([False, True])
    begun, resumed = in_shards, run
    if first == "one machine":
        begun, resumed = run, in_shards
    extra = {begun: {}, resumed: {}}
    extra[in_shards] = {"shards": 3}
    extra[run] = {"traces": TRACES}
    part = begun(made, out=tmp_path / "run", interrupted=lambda: next(stops), **extra[begun])
    assert not part.finished
    assert len(part.evaluations) == 2
    require_equal(whole, resumed(None, out=tmp_path / "run", resume=True, **extra[resumed]))

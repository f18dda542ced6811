"""Simulations in rounds: shards against one machine."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.algorithms import Exchange, Requirements, RoundAlgorithm, algorithm_names
from sims.errors import InvalidScenario, NotSimulable
from sims.running import run
from sims.scenario import parse_scenario
from sims.sharding.start import sharded
from sims.world.trace_cache import Traces
from tests.sims.worlds import blobs

TRACES = Traces()
SLOW = pytest.mark.slow
SERVERS = {"fedavg", "pooled_sgd"}
"""Without a topology; means of all are added in another order."""
GRAPH = "topology={name='random_regular',degree=4}"
QUICK = {"coordinate_median", "d_cliques", "power_gossip", "relay_sgd"}
"""One of each kind of exchange."""
NEED = {
    "d_cliques": ("topology={name='d_cliques',clique_size=5}",),
    "relay_sgd": ("topology={name='tree',branching=2,depth=3}",),
    "noloco": (GRAPH, "algorithm.bits=2", "algorithm.reach=0.1"),
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


MASKED = "masked_sums={range=8.0}"
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
    "masked sums": (MASKED, "topology={name='erdos_renyi',p=0.6}"),
    "masked sums that fail": ("masked_sums={range=8.0,drop_out=0.3}", "precision=float32"),
    "masked sums with deadlines": (MASKED, "network.loss=0.2", "network.deadline=1", "precision=float32"),
    "masked sums of all": ("masked_sums={range=8.0,drop_out=0.1}", "topology.name=complete"),
    "one by one": ("task={name='tests.sims.worlds:blobs',options={model='dropout'}}",),
    "buffers": ("task={name='tests.sims.worlds:blobs',options={model='batchnorm'}}",),
    "single precision": ("precision=float32", "training.momentum=0.9"),
}
"""What scenarios have besides, each of which reaches for other parts of the engine."""
QUICK_FEATURES = {"losses", "layers", "a sample", "masked sums that fail"}


@pytest.mark.parametrize(
    "feature",
    [pytest.param(each, marks=() if each in QUICK_FEATURES else pytest.mark.slow) for each in FEATURES],
)
def test_every_feature_is_the_same_to_the_bit(feature):
    made = scenario_of("d_psgd", GRAPH, *FEATURES[feature])
    one, many = run(made, traces=TRACES), in_shards(made, 2)
    assert torch.equal(one.rows, many.rows)
    require_equal_records(one, many, atol=1e-6 if "float32" in str(FEATURES[feature]) else 1e-12)
    assert feature != "masked sums that fail" or one.evaluations["failed_sums"].to_numpy()[-1] > 0


UNEVEN = "topology={name='erdos_renyi',p=0.4}"
ATTACKS = {
    "sign_flip, median": ("coordinate_median", UNEVEN, "attack={name='sign_flip',share=0.3}"),
    "noise": ("d_psgd", UNEVEN, "attack={name='noise',share=0.3,from_round=2}"),
    "replay": ("gradient_tracking", GRAPH, "attack={name='replay',share=0.2,lag=2}"),
    "free riders": ("d_psgd", GRAPH, "attack={name='random',share=0.2}"),
    "losses": ("d_psgd", UNEVEN, "attack={name='sign_flip',share=0.3}", *FEATURES["losses"]),
    "one hostile node": ("d_psgd", "topology.name=ring", "attack={name='stale',share=0.07}"),
    "fast codec": ("d_psgd", UNEVEN, "attack={name='sign_flip',share=0.3}", *FEATURES["codec"]),
    "alie": ("d_psgd", UNEVEN, "attack={name='alie',share=0.3}"),
    "alie, search": ("coordinate_median", UNEVEN, "attack={name='alie',share=0.3,search=true}"),
    "dissensus": ("d_psgd", UNEVEN, "attack={name='dissensus',share=0.3}"),
    "spectral": ("d_psgd", UNEVEN, "attack={name='spectral',share=0.3}", *FEATURES["losses"]),
    "mimic": ("coordinate_median", GRAPH, "attack={name='mimic',share=0.3,victim=4}"),
    "flip, median of all": (
        "coordinate_median",
        "topology.name=complete",
        "attack={name='sign_flip',share=0.2}",
    ),
}
"""Another shard hears what the node's own shard made of its row, or what it makes itself of the rows of all."""
QUICK_ATTACKS = {"one hostile node", "spectral", "flip, median of all"}


@pytest.mark.parametrize(
    "attack",
    [pytest.param(each, marks=() if each in QUICK_ATTACKS else pytest.mark.slow) for each in ATTACKS],
)
def test_every_attack_is_the_same_to_the_bit(attack):
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


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        pytest.param(("topology.name=complete",), "d_psgd", id="complete graph"),
        pytest.param(("algorithm.fraction=0.4", *FEATURES["own starts"]), "fedavg", id="drawn nodes"),
        pytest.param(
            ("algorithm.epochs=0", *FEATURES["losses"][2:]), "fedavg", marks=SLOW, id="absent nodes"
        ),
        pytest.param(("training.momentum=0.9",), "pooled_sgd", marks=SLOW, id="pooled"),
        pytest.param(("algorithm.average=all-reduce",), "diloco", id="all-reduce"),
        pytest.param(
            ("algorithm.average=all-reduce", "algorithm.weighting=steps", *FEATURES["speeds"]),
            "diloco",
            marks=SLOW,
            id="all-reduce by steps",
        ),
        pytest.param(
            ("algorithm.average=all-reduce", "algorithm.codec='qsgd:4'"),
            "streaming",
            marks=SLOW,
            id="fragments",
        ),
        pytest.param(
            ("attack={name='alie',share=0.3}", "topology.name=complete"),
            "d_psgd",
            marks=SLOW,
            id="lies to all",
        ),
        pytest.param(("attack={name='ipm',share=0.3}", UNEVEN), "trimmed_mean", marks=SLOW, id="ipm"),
    ],
)
def test_means_of_all_are_the_same_to_rounding(overrides, name):
    made = scenario_of(name, *overrides)
    one, many = run(made, traces=TRACES), in_shards(made, 3)
    torch.testing.assert_close(one.rows, many.rows, rtol=1e-12, atol=1e-12)
    require_equal_records(one, many, atol=1e-9)


@dataclass(frozen=True)
class Peeking(RoundAlgorithm):
    """Averages rows by itself, and lets a server average what is alike already."""

    name = "peeking"

    @property
    def requirements(self):
        return Requirements(server=True)

    def round(self, nodes, context):
        trained = context.local.update(nodes)
        mean = trained.rows[:, : context.shared_size].mean(dim=0, keepdim=True)
        mixed = yield Exchange(mean.expand(len(nodes), -1).contiguous(), over="server")
        return trained.with_shared(mixed.rows, ages=trained.ages)


def test_a_server_that_reaches_for_rows_besides_is_refused():
    made = scenario_of("tests.sims.sharding.test_rounds:Peeking")
    assert run(made, traces=TRACES).finished
    with pytest.raises(NotSimulable, match="uses rows of other nodes without an exchange"):
        in_shards(made, 2)


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

"""Message-driven simulations: shards against one machine."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sims.compiler.timeline import Timeline, ticks
from sims.errors import NotSimulable
from sims.running import run
from sims.sharding.shard import Shard
from sims.sharding.supersteps import plan_of
from tests.sims.compiler.test_equality import FAILURES, OTHERS
from tests.sims.sharding.test_losses import Losing
from tests.sims.sharding.test_rounds import (
    GRAPH,
    TRACES,
    in_shards,
    require_equal,
    require_equal_records,
    scenario_of,
)
from tests.sims.worlds import conditions

DELAYS = [
    "network.delay={kind='constant',seconds=0.0}",
    "network.delay={kind='constant',seconds=0.3}",
    "network.delay={kind='uniform',low=0.0,high=3.0}",
]
QUICK = {"AD-PSGD", "randomized tokens, limited"}


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(variant, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for name, variant in OTHERS.items()
    ],
)
def test_every_variant_is_the_same_to_the_bit(variant):
    """Messages in any order, lost ones, and nodes that come and go."""
    made = scenario_of("gossip_learning", GRAPH, *FAILURES, *variant)
    require_equal(run(made, traces=TRACES), in_shards(made, 3))


@pytest.mark.parametrize(
    "lossy",
    [
        ("algorithm.codec='qsgd:4'",),
        pytest.param(("algorithm.codec='bfloat16'", "algorithm.exchange=push-pull"), marks=pytest.mark.slow),
        pytest.param(
            ("outgoing=[{kind='clip',norm=1.0},{kind='noise',deviation=0.01}]",), marks=pytest.mark.slow
        ),
        pytest.param(
            ("algorithm.codec='qsgd:4'", "task={name='tests.sims.worlds:blobs',options={model='dropout'}}"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_messages_lose_on_their_way_is_the_same_to_the_bit(lossy):
    """What a codec or noise draws for a message depends on the receiver's number in the network."""
    made = scenario_of("gossip_learning", GRAPH, "precision=float32", *FAILURES, *lossy)
    one, many = run(made, traces=TRACES), in_shards(made, 2)
    assert torch.equal(one.rows, many.rows)
    assert one.summary["result"] == many.summary["result"]


GATE = "gate={enabled=true,loss_samples=2}"
LIARS = "attack={name='sign_flip',share=0.2}"
ARRIVALS = {
    "gates and liars": (GATE, LIARS, *FAILURES),
    "liars that listen": ("attack={name='alie',share=0.3}", *FAILURES),
    "liars with memories": ("attack={name='replay',share=0.2,lag=2}", GATE),
    "free riders": ("attack={name='random',share=0.2}",),
    "false ages": ("attack={name='age_inflation',share=0.2}", "gate.enabled=true"),
    "everybody": (GATE, LIARS, "topology.name=complete"),
    "parts": (GATE, LIARS, "algorithm.sharing={kind='partitioned',parts=2}"),
    "codec": (GATE, "precision=float32", "algorithm.codec='qsgd:4'", *FAILURES),
    "own starts": (GATE, "task={name='tests.sims.sharding.test_rounds:started_apart'}"),
}
"""What is done to messages between their arrival and their merge."""
QUICK_ARRIVALS = {"gates and liars"}


@pytest.mark.parametrize(
    "arrivals",
    [pytest.param(each, marks=() if each in QUICK_ARRIVALS else pytest.mark.slow) for each in ARRIVALS],
)
def test_what_is_done_to_messages_on_arrival_is_the_same_to_the_bit(arrivals):
    overrides = ARRIVALS[arrivals]
    topology = () if "topology.name=complete" in overrides else (GRAPH,)
    made = scenario_of("gossip_learning", *topology, *overrides)
    one, many = run(made, traces=TRACES), in_shards(made, 3)
    assert torch.equal(one.rows, many.rows)
    require_equal_records(one, many, atol=1e-6 if "precision=float32" in overrides else 1e-12)
    assert one.summary.get("gate") == many.summary.get("gate")


@settings(max_examples=3, deadline=None)
@given(
    nodes=st.integers(6, 20),
    shards=st.integers(1, 4),
    topology=st.sampled_from(["{name='ring'}", "{name='erdos_renyi',p=0.9}", "{name='complete'}"]),
    delay=st.sampled_from(DELAYS),
    exchange=st.sampled_from(["push", "pull", "push-pull"]),
    seed=st.integers(0, 1000),
)
def test_any_cut_of_any_network_is_the_same_to_the_bit(nodes, shards, topology, delay, exchange, seed):
    numbers = f"population.nodes={nodes}", f"seed={seed}"
    made = scenario_of(
        "gossip_learning", f"topology={topology}", delay, f"algorithm.exchange={exchange}", *numbers
    )
    require_equal(run(made, traces=TRACES), in_shards(made, shards))


@pytest.mark.parametrize(
    ("first", "arrivals"),
    [
        ("shards", ()),
        ("one machine", (GATE, "attack={name='replay',share=0.3,lag=2}")),
        pytest.param("shards", (GATE, "attack={name='alie',share=0.3}"), marks=pytest.mark.slow),
        pytest.param("one machine", (), marks=pytest.mark.slow),
    ],
)
def test_a_run_is_resumed_in_shards_and_on_one_machine(first, arrivals, tmp_path):
    """Models on their way go from one to the other, too, and what gates and liars remember."""
    made = scenario_of("ad_psgd", GRAPH, "evaluate.every=1", DELAYS[2], *arrivals)
    whole, stops = run(made, traces=TRACES), iter([False, True])

    def interrupted():
        return next(stops)

    if first == "shards":
        part = in_shards(made, 3, out=tmp_path / "run", interrupted=interrupted)
        rest = run(None, out=tmp_path / "run", resume=True, traces=TRACES)
    else:
        part = run(made, out=tmp_path / "run", interrupted=interrupted, traces=TRACES)
        rest = in_shards(None, 3, out=tmp_path / "run", resume=True)
    assert not part.finished
    require_equal(whole, rest)


@pytest.mark.parametrize(
    "overrides",
    [
        ("output.checkpoint_every=2",),
        pytest.param((), marks=pytest.mark.slow),
        pytest.param(
            ("output.checkpoint_every=2", GATE, "attack={name='replay',share=0.3,lag=2}"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_run_that_lost_shards_ends_as_if_it_had_not(overrides, tmp_path):
    made = scenario_of("gossip_learning", GRAPH, "stop.rounds=8", *FAILURES, *overrides)
    losing = Losing((3, 1), (5, 0))
    many = run(made, out=tmp_path / "run", traces=TRACES, simulated_by=losing, on_progress=losing.look)
    assert losing.simulation.losses == 2
    require_equal(run(made, traces=TRACES), many)


@pytest.mark.parametrize(("delay", "steps"), [(6.0, 1), (1.5, 4)])
def test_a_window_is_cut_no_oftener_than_messages_can_cross_it(delay, steps):
    """In five periods a model goes from shard to shard three times if that takes one and a half, else never."""
    made = scenario_of("gossip_learning", "topology.name=ring", f"network.delay.seconds={delay}")
    (window,) = Timeline(conditions(made)).windows(ticks(5.0))
    none = np.zeros(0, dtype=np.int64)
    plans = [plan_of(window, first_holders=none, shard_of=np.arange(15) // 8, shard=k) for k in range(2)]
    assert plans[0].steps == plans[1].steps <= steps
    assert (plans[0].steps == 1) == (steps == 1)
    assert sorted([*plans[0].own, *plans[1].own]) == list(range(len(window)))
    for one, other in (plans, plans[::-1]):
        assert one.sent[:, [0, 2]].tolist() == other.received[:, [0, 2]].tolist()


def test_rows_in_few_bits_are_refused():
    made = scenario_of("gossip_learning", GRAPH, "precision=float32", "engine.rows=int8")
    with pytest.raises(NotSimulable, match=r"engine\.rows"):
        in_shards(made, 2)


def test_how_far_a_shard_is_grows_within_a_round(monkeypatch):
    """Messages that arrive at once make many parts of a window, of which each is done from 0 to 1."""
    heard = []
    monkeypatch.setattr(Shard, "_note", lambda self, rounds: heard.append((self._post.shard, rounds)))
    made = scenario_of("gossip_learning", "topology.name=ring", DELAYS[0], "evaluate.every=4")
    in_shards(made, 2)
    for shard in range(2):
        rounds = [done for number, done in heard if number == shard]
        assert rounds == sorted(rounds)
        assert any(done % 1 for done in rounds)
        assert 3.5 < rounds[-1] <= 4

"""Rounds in real time, against times and models computed by hand."""

import numpy as np
import pytest
import torch

import sims
from gossipfl.algorithms import make_algorithm
from gossipfl.layout import layout_of
from gossipfl.outgoing import IN_FULL
from gossipfl.settings import TrainingSettings
from sims.clock import Attending, Circumstances, ExchangeProfile, Rehearsal, RoundClock, RoundProfile
from sims.compiler.timeline.links import links_of
from sims.errors import InvalidScenario, NotSimulable, SimulationError
from sims.running.choice import simulation_of
from sims.scenario import parse_scenario
from sims.scenario.network import NetworkSection
from sims.world import build_world
from sims.world.networks import RoundNetwork, round_network
from tests.sims.clock.scenarios import RING
from topology import graphs, mixing, sequences

SCENARIO = f"""{RING}[evaluate]
every = 1
[stop]
rounds = 4
"""
EVERYBODY = Attending(away=np.zeros(2, dtype=bool), side=np.zeros(2, dtype=int), idle=np.zeros(2, dtype=bool))
MESSAGE = 18 * 4 * 8e-6
"""Megabits of a model of the task."""


def simulated(*overrides):
    scenario = parse_scenario(SCENARIO, overrides=overrides)
    return simulation_of(scenario, build_world(scenario), threads=1, compile_when="never", device="cpu")


def after(rounds, *overrides):
    simulation = simulated(*overrides)
    simulation.advance(rounds, between=lambda: False)
    simulation.close()
    return simulation


def seconds(*overrides, rounds=4):
    return after(rounds, *overrides).seconds(rounds)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        pytest.param(["network.period=3"], 12, id="periods, where nothing takes time"),
        pytest.param(["training.step_seconds=2"], 8, id="training"),
        pytest.param(["network.delay.seconds=0.5"], 4, id="there and back"),
        pytest.param(["network.bandwidth=1"], 4 * 2 * MESSAGE, id="two messages over an uplink"),
        pytest.param(["network.links.down=0.5"], 4 * 4 * MESSAGE, id="two messages over a slower downlink"),
        pytest.param(["network.links.up=1", "topology.name=complete"], 4 * 5 * MESSAGE, id="all with all"),
        pytest.param(["network.links.up=1", "topology.name=random_matching"], 4 * MESSAGE, id="one partner"),
        pytest.param(
            ["network.links.up=1", "training.step_seconds=0.1", "training.local_steps=5"],
            4 * (0.1 + 2 * MESSAGE),
            id="training, then sending",
        ),
        pytest.param(
            ["network.links.up=1", "training.step_seconds=0.1", "algorithm.order=both-at-once"],
            4 * 0.1,
            id="sending while training",
        ),
        pytest.param(
            [
                "network.links.up=0.1",
                "algorithm={name='streaming',overlap=2,fragments=1}",
                "training.step_seconds=0.01",
                "training.local_steps=5",
            ],
            4 * (20 * MESSAGE + 0.006),
            id="sending while training two steps of five",
        ),
        pytest.param(
            ["network.links={up=1,down=2}", "algorithm={name='diloco',average='all-reduce'}", "topology={}"],
            4 * 1.5 * MESSAGE,
            id="to a server and back",
        ),
        pytest.param(
            ["network.links.up=[1,1,1,1,1,0.1]", "topology.name=complete"], 4 * 50 * MESSAGE, id="a straggler"
        ),
    ],
)
def test_a_round_takes_what_its_parts_take(overrides, expected):
    assert seconds(*overrides) == pytest.approx(expected)


def test_nobody_waits_for_those_far_away():
    """On a path a slow end delays its neighbour in the first round, and the other end four rounds later."""
    simulation = after(6, "topology.name=path", "network.links.up=[0.01,1,1,1,1,1]")
    clock = simulation.engine.clock
    assert clock.seconds[-1] == pytest.approx(6 * 100 * MESSAGE, rel=0.1)
    other_end = simulated("topology.name=path", "network.links.up=[0.01,1,1,1,1,1]").engine.clock
    ends = [other_end.round(number).ends for number in range(6)]
    assert all(each[5] < 20 * MESSAGE for each in ends[:3])
    assert ends[5][5] > 100 * MESSAGE


def test_the_slowest_matched_link_decides(tmp_path):
    """With bandwidths between hosts a round of a matching takes what its slowest pair takes."""
    speeds = np.random.default_rng(1).uniform(0.5, 2, (6, 6))
    np.savetxt(tmp_path / "links.csv", speeds, delimiter=",")
    given = f"network.links={{file='{tmp_path / 'links.csv'}',hosts=[0,1,2,3,4,5]}}"
    simulation = simulated(given, "topology.name=random_matching")
    matrix = simulation.engine.exchanges.sequence.matrix(0).toarray()
    np.fill_diagonal(matrix, 0)
    times = simulation.engine.clock.round(0)
    slowest = max(MESSAGE / speeds[j, i] for i, j in np.argwhere(matrix))
    assert times.ends.max() == pytest.approx(slowest)


def test_rows_that_come_after_the_deadline_weigh_nothing():
    """One node's uplink takes four times the deadline: its neighbours give its weight to themselves."""
    deadline = 4 * MESSAGE
    slow = ["network.links.up=[0.1,1,1,1,1,1]", "training.enabled=false"]
    simulation = simulated(*slow, f"network.deadline={deadline}")
    engine = simulation.engine
    engine.nodes.rows.copy_(torch.arange(6.0, dtype=torch.float64)[:, None].expand(-1, 18))
    engine.run_round()
    third = 1 / 3
    W = np.array(round_network(simulation._scenario).sequence.matrix(0).toarray())
    for receiver in (1, 5):
        W[receiver, receiver], W[receiver, 0] = 2 * third, 0
    assert engine.rows()[:, 0].numpy() == pytest.approx(W @ np.arange(6.0))
    assert simulation.seconds(1) == pytest.approx(deadline)
    assert simulation.counts()["unreachable"] == 2
    assert seconds(*slow) == pytest.approx(4 * 20 * MESSAGE)


def test_lost_rows_and_absent_nodes_are_done_without():
    simulation = after(
        20, "network.loss=0.2", "network.deadline=1", "churn.process={kind='cycle',offline=0.2}"
    )
    counts = simulation.counts()
    assert 0.1 < counts["lost"] / counts["messages"] < 0.3
    assert counts["unreachable"] >= counts["lost"] * 0.5
    assert counts["messages"] < 20 * 12 * 0.75
    assert simulation.steps().sum() == pytest.approx(20 * 6 * 0.8, rel=0.15)
    assert simulation.steps().max() > simulation.steps().min()


def test_push_sum_keeps_its_mass_whatever_is_lost():
    """Senders keep what does not arrive, and the absent what they have."""
    simulation = simulated(
        "algorithm={name='sgp'}",
        "training.enabled=false",
        "network.loss=0.3",
        "network.deadline=1",
        "churn.process={kind='cycle',offline=0.3}",
    )
    engine = simulation.engine
    engine.nodes.rows.copy_(torch.arange(6.0, dtype=torch.float64)[:, None].expand(-1, 18))
    for _ in range(30):
        engine.run_round()
    weights, models = engine.nodes.auxiliary["push_sum_weights"][:, 0], engine.rows()[:, 0]
    assert float(weights.sum()) == pytest.approx(6)
    assert float((weights * models).sum()) == pytest.approx(15)
    assert float(models.max() - models.min()) < 1


@pytest.mark.parametrize(
    ("overrides", "error", "match"),
    [
        (["network.loss=0.1"], NotSimulable, "network.deadline, in seconds"),
        (["network.deadline=1"], NotSimulable, "nothing takes time"),
        (
            ["network.loss=0.1", "network.deadline=1", "algorithm={name='relay_sgd'}", "topology.name=path"],
            NotSimulable,
            "needs the rows of all",
        ),
        (["network.links.up=[1,2]"], InvalidScenario, "a number for each node; expected 6"),
        (["network.links.shared=[{nodes=[7],up=1}]"], InvalidScenario, "0 to 5"),
        (["network.links.shared=[{nodes=[1],up=1},{nodes=[1,2],up=1}]"], InvalidScenario, "one shared link"),
        (["network.links.changes=[{since=3,until=2,factor=2}]"], InvalidScenario, "begins before it ends"),
        (["network.bandwidth=1", "network.links.up=1"], InvalidScenario, "leave one of them out"),
        (["network.links.file=nowhere"], SimulationError, "planetlab"),
        (["algorithm={name='gossip_learning'}", "network.deadline=1"], InvalidScenario, "is for rounds"),
        (
            ["algorithm={name='gossip_learning'}", "network.links.shared=[{nodes=[1],up=1}]"],
            InvalidScenario,
            "is for rounds",
        ),
        (
            ["algorithm={name='gossip_learning'}", "network.links.up=9", "network.links.both_ways=0.8"],
            InvalidScenario,
            "both_ways is for rounds",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(overrides, error, match):
    with pytest.raises(error, match=match):
        after(1, *overrides)


def test_a_rehearsal_finds_what_overlaps():
    layout = layout_of(torch.nn.Linear(5, 3))

    def profile(name, parameters=None):
        rehearsal = Rehearsal(
            make_algorithm(name, parameters, kind="rounds"),
            layout=layout,
            settings=TrainingSettings(local_steps=5),
            samples=10,
            seed=0,
            outgoing=IN_FULL,
        )
        rehearsal.next()
        found = rehearsal.next()
        return [(each.steps, each.overlaps) for each in found.exchanges], found.steps_after

    assert profile("noloco") == ([(5, False)], 0)
    assert profile("saps") == ([(0, True)], 5)
    assert profile("d_psgd", {"order": "both-at-once"}) == ([(5, True)], 0)
    assert profile("streaming", {"overlap": 2}) == ([(2, True)], 3)
    assert profile("streaming", {"overlap": 2, "pull": 0.5}) == ([(2, True), (0, True)], 3)


def test_a_planet_of_hosts():
    """Half a round trip there and half back, between hosts measured on PlanetLab."""
    simulation = after(2, "network.delay={kind='matrix',file='planetlab',hosts=[0,1,2,3,4,5]}")
    file = sims.__path__[0] + "/scenarios/networks/planetlab.npz"
    rtt = np.load(file)["rtt"].astype(float)
    assert rtt.shape == (490, 490)
    ring = max(rtt[i, (i + 1) % 6] for i in range(6)) / 1000
    assert ring <= simulation.seconds(2) <= 2 * ring


def test_fast_nodes_do_more_steps_in_the_same_time():
    given = ["network.period_sigma=0.7", "training.step_seconds=1", "training.local_steps=10"]
    paced = after(2, *given, "training.by_speed=true", "algorithm={name='noloco',weighting='steps'}")
    assert paced.seconds(2) == pytest.approx(2)
    assert paced.steps().min() < 20 < paced.steps().max()
    alike = after(2, *given, "algorithm={name='noloco'}")
    assert alike.steps().tolist() == [20] * 6
    slowest = 20 / paced.steps().min()
    assert alike.seconds(2) == pytest.approx(2 * slowest, rel=0.15)
    with pytest.raises(InvalidScenario, match=r"needs network\.period_sigma"):
        simulated("training.by_speed=true")


@pytest.mark.parametrize(("size", "trips"), [(1000, 2), (200_000, 4)])
def test_large_rows_are_offered_first(size, trips):
    """There and back for the offer, then the row and its answer."""
    exchange = ExchangeProfile(steps=0, overlaps=False, bytes=size, over="neighbours")
    around = Circumstances(
        links=links_of(NetworkSection(), seed=0, numbers=range(2)),
        step_seconds=np.zeros(2),
        travel=lambda sender, receiver, number: 0.5,
        to_server=np.zeros(2),
        is_lost=lambda sender, number: False,
        attending=lambda number, now: EVERYBODY,
    )
    network = RoundNetwork(sequences.static(mixing.uniform(graphs.complete(2))))
    clock = RoundClock(network, around, lambda: RoundProfile(exchanges=(exchange,), steps_after=0))
    assert [clock.round(number).ends.max() for number in range(2)] == [0.5 * trips, trips]

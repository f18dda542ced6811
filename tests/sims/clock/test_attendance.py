"""Rounds that not everybody attends, against models and times computed by hand."""

import numpy as np
import pytest
import torch

from gossipfl.algorithms import Exchange
from sims.clock import MissingRows
from sims.compiler.timeline.draws import JITTER, PLAN, below, uniform
from sims.engine.exchange import Exchanges
from sims.errors import NotSimulable
from sims.running.choice import simulation_of
from sims.scenario import parse_scenario
from sims.world import build_world
from sims.world.networks import round_network
from tests.sims.clock.scenarios import RING
from topology import graphs, mixing, sequences

N = 6
SCENARIO = f"""{RING}[stop]
rounds = 8
"""


def simulated(*overrides):
    scenario = parse_scenario(SCENARIO, overrides=overrides)
    return simulation_of(scenario, build_world(scenario), threads=1, compile_when="never", device="cpu")


def after(rounds, *overrides):
    simulation = simulated(*overrides)
    simulation.advance(rounds, between=lambda: False)
    simulation.close()
    return simulation


def with_numbers(*overrides):
    """An engine that does not train, at first each node with its number as its model."""
    simulation = simulated("training.enabled=false", *overrides)
    simulation.engine.nodes.rows.copy_(torch.arange(float(N), dtype=torch.float64)[:, None].expand(-1, 18))
    return simulation


def without(W, apart):
    """A mixing matrix of whose pairs some exchange nothing: receivers give their weights to themselves."""
    W = W.copy()
    for i in range(N):
        for j in range(N):
            if i != j and apart(i, j):
                W[i, i], W[i, j] = W[i, i] + W[i, j], 0
    return W


def ring(simulation):
    return round_network(simulation._scenario).sequence.matrix(0).toarray()


def test_whoever_is_away_when_a_round_begins_sits_it_out(tmp_path):
    """Rounds of one second, and recorded sessions: models and steps as computed from who is there at 0, 1, 2, …"""
    online = {0: (0, 99), 1: (0, 3.5), 2: (2.5, 6), 3: (0, 99), 4: (0.5, 99), 5: (4, 4.5)}
    lines = [f"{node},{start},{end}" for node, (start, end) in online.items()]
    (tmp_path / "sessions.csv").write_text("\n".join(["node,start,end", *lines]))
    given = f"churn.process={{kind='trace',file='{tmp_path / 'sessions.csv'}'}}"
    simulation = with_numbers(given)
    x, W = np.arange(float(N)), ring(simulation)
    updates = 0
    for number in range(7):
        there = [start <= number < end for start, end in online.values()]
        simulation.advance(number + 1, between=lambda: False)
        updates += sum(there)
        assert simulation.engine.phases.updates == updates
        x = without(W, lambda i, j, there=there: not (there[i] and there[j])) @ x
        assert simulation.engine.rows()[:, 0].numpy() == pytest.approx(x)
        assert simulation.online().tolist() == there
        assert simulation.seconds(number + 1) == number + 1
    trained = after(7, given, "training.step_seconds=1")
    expected = [sum(start <= number < end for number in range(7)) for start, end in online.values()]
    assert trained.steps().tolist() == expected


def test_planned_events_take_place_at_their_rounds():
    """A split in which each side keeps its sum; nodes that leave, come back, and join."""
    events = "[{at=1,action='split'},{at=5,action='heal'}]"
    simulation = with_numbers(f"churn.events={events}")
    side = np.array([below(3, PLAN, node, 0, 2) for node in range(N)])
    assert 0 < side.sum() < N
    W, x = ring(simulation), np.arange(float(N))
    for number in range(7):
        simulation.advance(number + 1, between=lambda: False)
        is_split = 1 <= number < 5
        x = without(W, lambda i, j, is_split=is_split: is_split and side[i] != side[j]) @ x
        assert simulation.engine.rows()[:, 0].numpy() == pytest.approx(x)
    joined = after(6, "churn.events=[{at=2,action='join',nodes=2}]")
    assert joined.steps().tolist() == [6, 6, 6, 6, 4, 4]
    dropped = after(6, "churn.events=[{at=1,action='drop',fraction=0.5},{at=4,action='return'}]")
    gone = np.array([uniform(3, PLAN, node, 0) < 0.5 for node in range(N)])
    assert 0 < gone.sum() < N
    assert dropped.steps().tolist() == [3 if each else 6 for each in gone]


def test_sessions_and_phones_that_charge_decide_who_takes_part():
    sessions = "churn.process={kind='sessions',online={median=4,spread=0.5},offline={median=4,spread=0.5}}"
    simulation = after(40, sessions, "stop.rounds=40")
    assert simulation.steps().sum() == pytest.approx(40 * N / 2, rel=0.35)
    again = after(40, sessions, "stop.rounds=40")
    assert again.steps().tolist() == simulation.steps().tolist()
    # Nights are drawn as far ahead as rounds come, which take longer than their periods.
    given = ["network.period=1800", "training.step_seconds=3600", "stop.rounds=72"]
    phones = after(72, "churn.process={kind='charging',nights=1}", *given)
    assert phones.seconds(72) > 40 * 3600
    assert (phones.steps() >= 10).all()
    assert (phones.steps() <= 36).all()


def test_an_empty_network_lets_a_period_pass(tmp_path):
    (tmp_path / "sessions.csv").write_text("node,start,end\n" + "\n".join(f"{each},5,9" for each in range(N)))
    given = f"churn.process={{kind='trace',file='{tmp_path / 'sessions.csv'}'}}"
    simulation = after(8, given, "network.period=2", "training.step_seconds=1")
    assert [simulation.seconds(number) for number in range(1, 9)] == [2, 4, 6, 7, 8, 9, 11, 13]
    assert simulation.steps().tolist() == [3] * N


def test_time_goes_on_where_nobody_has_anybody_to_talk_to():
    """Those who are there are often no neighbours, and nothing else takes any time."""
    moments = (
        "churn.process={kind='sessions',online={median=0.02,spread=0.5},offline={median=0.2,spread=0.5}}"
    )
    seconds = after(8, "network.links={up=1}", moments, "network.period=0.05").engine.clock.seconds
    assert len(seconds) == 8
    assert all(np.diff(seconds)[1:] + np.diff(seconds)[:-1] > 0)  # no two rounds in no time


@pytest.mark.parametrize("timed", [False, True])
def test_jitter_makes_rounds_of_different_lengths(timed):
    """Whoever waits for neighbours begins with the last of them."""
    given = ["network.jitter=0.5", "algorithm.order='adapt-then-combine'"]
    simulation = after(5, *given, *(["training.step_seconds=2"] if timed else []))
    work = np.array(
        [[1 + 0.5 * (2 * uniform(3, JITTER, node, number) - 1) for node in range(N)] for number in range(5)]
    )
    begins = np.zeros(N)
    for number in range(5):
        if timed:
            ready = begins + 2 * work[number]
            begins = np.maximum(ready, np.maximum(np.roll(ready, 1), np.roll(ready, -1)))
        else:  # rows are sent at once, and a round lasts its period at least
            rows = np.maximum(np.roll(begins, 1), np.roll(begins, -1))
            begins = np.maximum(begins + work[number], rows)
        assert simulation.seconds(number + 1) == pytest.approx(begins.max())


def test_members_of_a_clique_do_without_those_who_are_away():
    """Against means by hand: the weight of a row that does not arrive goes to one's own."""
    cliques = np.array([0, 0, 0, 1, 1, 1])
    sequence = sequences.static(mixing.metropolis_hastings(graphs.ring(N)))
    exchanges = Exchanges(sequence, cliques=cliques, seed=1, device=torch.device("cpu"))
    missing = MissingRows(receivers=np.array([0, 1, 2, 2, 4]), senders=np.array([2, 2, 0, 1, 3]), unsent=4)
    exchanges.begin(0, missing=(missing,))
    rows = torch.randn(N, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mixed = exchanges(Exchange(rows, over="clique")).rows
    third = 1 / 3
    expected = [
        third * (rows[0] + rows[1] + rows[0]),
        third * (rows[0] + rows[1] + rows[1]),
        rows[2],
        rows[3:].mean(dim=0),
        third * (rows[4] + rows[5] + rows[4]),
        rows[3:].mean(dim=0),
    ]
    assert torch.allclose(mixed, torch.stack(expected))
    assert exchanges.messages == 12 - 4


def test_d_cliques_go_on_without_the_absent():
    given = ["algorithm={name='d_cliques'}", "topology={name='d_cliques',classes=3,clique_size=3}"]
    simulation = after(12, *given, "churn.process={kind='cycle',offline=0.3}")
    assert 12 * N * 0.5 < simulation.steps().sum() < 12 * N
    assert np.isfinite(simulation.engine.rows().numpy()).all()


def test_a_server_averages_those_who_are_there(tmp_path):
    """The absent are sent nothing and send nothing; when they come back they find the server's model."""
    (tmp_path / "sessions.csv").write_text(
        "node,start,end\n" + "\n".join(f"{node},0,{99 if node else 1}" for node in range(N))
    )
    given = ["algorithm={name='fedavg',epochs=0}", "topology={}", "training.local_steps=3"]
    away = f"churn.process={{kind='trace',file='{tmp_path / 'sessions.csv'}'}}"
    simulation, everybody = simulated(*given, away), simulated(*given)
    for engine in (simulation.engine, everybody.engine):
        engine.run_round()
    assert torch.equal(simulation.engine.rows(), everybody.engine.rows())
    before, sizes = everybody.engine.nodes, everybody.engine.world.trainer.data.counts
    trained = everybody.engine.local.update(before).rows.double()
    simulation.engine.run_round()
    weights = torch.as_tensor(sizes, dtype=torch.float64)[1:, None]
    expected = (weights * trained[1:]).sum(dim=0) / weights.sum()
    assert torch.allclose(simulation.engine.rows().double(), expected.expand(N, -1), atol=1e-6)
    assert simulation.engine.exchanges.messages == 2 * N + 2 * (N - 1)


def test_a_server_waits_for_those_it_draws():
    """Two of six upload at 1 Mbit/s, and download as fast; one of them is slower in some rounds."""
    given = [
        "algorithm={name='fedavg',fraction=0.34}",
        "topology={}",
        "network.links={up=[1,1,1,1,1,0.1],down=1}",
    ]
    simulation = after(6, *given)
    algorithm, numbers, model = simulation.engine.algorithm, torch.arange(N), 19 * 4 * 8e-6
    drawn = [algorithm.participants(numbers, seed=3, number=number).tolist() for number in range(6)]
    assert {sum(each) for each in drawn} == {2}
    took = np.cumsum([(10 if each[5] else 1) * model + model for each in drawn])
    assert [simulation.seconds(number) for number in range(1, 7)] == pytest.approx(took)
    assert simulation.engine.exchanges.messages == 6 * 4


def test_a_server_that_hears_nobody_keeps_its_model():
    given = [
        "algorithm={name='fedavg',fraction=0.17}",
        "topology={}",
        "churn.process={kind='cycle',offline=0.8}",
    ]
    simulation = simulated(*given)
    heard = 0
    for _ in range(12):
        before, messages = simulation.engine.rows().clone(), simulation.engine.exchanges.messages
        simulation.engine.run_round()
        heard += simulation.engine.exchanges.messages > messages
        is_same = torch.equal(simulation.engine.rows(), before)
        assert is_same == (simulation.engine.exchanges.messages == messages)
        assert (simulation.engine.rows() == simulation.engine.rows()[:1]).all()
    assert 0 < heard < 12


def test_hostile_rows_are_lost_as_others_are():
    """One that turns rows around, and a link that is too slow for the deadline: the mixing matrix by hand."""
    given = ["attack={name='sign_flip',scale=2.0,nodes=[2]}", "network.links.up=[0.01,9,9,9,9,9]"]
    simulation = with_numbers(*given, "network.deadline=0.01")
    W = without(ring(simulation), lambda i, j: j == 0)
    simulation.engine.run_round()
    x = np.arange(float(N))
    told = x.copy()
    told[2] = -2 * x[2]
    expected = W @ told
    expected[2] = W[2] @ x
    assert simulation.engine.rows()[:, 0].numpy() == pytest.approx(expected)


def test_masked_sums_do_without_late_rows_and_take_two_round_trips_more():
    """Of five neighbours one may be late: the models are those of plain sums."""
    given = ["topology.name=complete", "network.links.up=[0.01,9,9,9,9,9]", "network.deadline=0.04"]
    masked, plain = after(4, *given, "masked_sums={}"), after(4, *given)
    assert masked.counts()["unreachable"] == plain.counts()["unreachable"] == 4 * 5
    assert masked.counts()["failed_sums"] == 0
    assert torch.allclose(masked.engine.rows(), plain.engine.rows(), atol=1e-6)
    assert masked.seconds(1) == pytest.approx(0.75 * plain.seconds(1))
    delayed = ["topology.name=complete", "network.delay.seconds=0.5"]
    assert after(1, *delayed).seconds(1) == pytest.approx(1)
    assert after(1, *delayed, "masked_sums={}").seconds(1) == pytest.approx(3)


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["network.jitter=0.1", "network.links.up=1"], "training takes no time"),
        (
            ["algorithm={name='fedavg'}", "topology={}", "network.loss=0.1", "network.deadline=1"],
            "a server waits",
        ),
        (
            [
                "algorithm={name='diloco',average='all-reduce'}",
                "topology={}",
                "churn.process={kind='cycle',offline=0.1}",
            ],
            "numbers of its server",
        ),
        (
            ["algorithm={name='relay_sgd'}", "topology.name=path", "churn.events=[{at=1,action='split'}]"],
            "needs the rows of all",
        ),
    ],
)
def test_what_is_not_simulated_is_refused_by_name(overrides, match):
    with pytest.raises(NotSimulable, match=match):
        after(1, *overrides)

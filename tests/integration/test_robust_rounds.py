"""Rules that are not linear, run by real peers: where the simulator ends, and again from their records."""

import pytest
import torch

from gossipfl.peer.rounds import plan as plans
from sims.engine import RoundEngine
from sims.replay import replay
from sims.scenario import parse_scenario
from sims.world import build_world
from sims.world.networks import round_network
from tests.gossipfl.algorithms.robust_rules import SelfCentredClipping, TrimmedMean
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.rounds.networks_of_rounds import peers_in_rounds
from tests.integration.peers import records_of, running
from tests.integration.test_rounds import SCENARIO, assert_replayed, digits_peers, run_all

RULES = {"trimmed mean": TrimmedMean(1), "self-centred clipping": SelfCentredClipping(0.5)}


@pytest.fixture
def rule(request, monkeypatch):
    """The algorithm of all peers, whatever their settings name."""
    algorithm = RULES[request.param]
    monkeypatch.setattr(plans, "make_algorithm", lambda name, parameters: algorithm)
    return algorithm


def simulated(algorithm, nodes, rounds, topology):
    scenario = parse_scenario(
        SCENARIO.format(
            nodes=nodes, topology=topology, algorithm='name = "d_psgd"', training="momentum = 0.5"
        )
    )
    engine = RoundEngine(build_world(scenario), round_network(scenario), compile_when="never")
    engine.algorithm = algorithm
    for _ in range(rounds):
        engine.run_round()
    engine.close()
    return engine.rows()


@pytest.mark.parametrize("rule", RULES, indirect=True)
@in_trio
async def test_peers_end_where_the_simulation_ends_and_are_replayed(tmp_path, rule):
    """On a path, so that ends have one neighbour and the others two."""
    peers = digits_peers(
        tmp_path, 5, rounds={"stop_after": 10, "topology": "path:5"}, training={"momentum": 0.5}
    )
    await run_all(peers)
    rows = torch.cat([peer._learner.state.nodes.rows for peer in peers])
    assert (rows - simulated(rule, 5, 10, 'name = "path"')).abs().max() < 1e-5
    assert_replayed([peer.home.directory for peer in peers])


@pytest.mark.parametrize("rule", RULES, indirect=True)
@in_trio
async def test_a_missing_neighbour_has_no_place_in_a_rule(tmp_path, rule):
    rounds = {"stop_after": 6, "gathering": 0.5, "deadline": 0.5, "patience": 1, "topology": "complete:4"}
    *there, _never = peers_in_rounds(tmp_path, 4, rounds=rounds)
    await run_all(there)
    for peer in there:
        assert [each["missing"] for each in records_of(peer.home, "mix")] == [[3]] * 6
        assert torch.isfinite(peer._learner.state.nodes.rows).all()
    assert_replayed([peer.home.directory for peer in there])


@pytest.mark.parametrize("rule", RULES, indirect=True)
@in_trio
async def test_who_is_late_begins_at_the_median_of_the_others(tmp_path, rule):
    rounds = {"gathering": 0.3, "deadline": 0.5, "patience": 1, "period": 0.03, "topology": "complete:3"}
    first, second, late = peers_in_rounds(tmp_path, 3, rounds=rounds)
    async with running(first, second):
        await until(lambda: first.status().event >= 12)
        async with running(late):
            await until(lambda: any(each["listening"] for each in records_of(late.home, "mix")))
            there = late._learner.state.event
            await until(lambda: late._learner.state.event > there + 2)
    listened = [each for each in records_of(late.home, "mix") if each["listening"]]
    assert listened[-1]["members"] == [0, 1]
    report = replay([peer.home.directory for peer in (first, second, late)])
    assert [peer.verdict for peer in report.peers] == ["identical"] * 3

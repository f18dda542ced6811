"""Rules that are not linear, run by real peers: where the simulator ends, and again from their records."""

import json

import pytest
import torch

from tests.gossipfl.network.helpers import in_trio
from tests.gossipfl.peer.rounds.networks_of_rounds import peers_in_rounds
from tests.integration.peers import REPOSITORY, records_of
from tests.integration.test_rounds import assert_replayed, digits_peers, one_comes_late, run_all, simulated

MODULE = "tests.gossipfl.algorithms.robust_rules"
RULES = [
    {"algorithm": f"{MODULE}:TrimmedMean", "parameters": {"trim": 1}},
    {"algorithm": f"{MODULE}:SelfCentredClipping", "parameters": {"radius": 0.5}},
]
each_rule = pytest.mark.parametrize("rule", RULES, ids=["trimmed mean", "self-centred clipping"])
BUNDLED = [
    {"algorithm": "krum", "parameters": {"hostile": 1}},
    {"algorithm": "clipped_gossip", "parameters": {"hostile": 1}},
    {"algorithm": "examples.balance:Balance", "parameters": {"rounds": 10}},
    {"algorithm": "ubar", "parameters": {"kept": 1.0}},
    {"algorithm": "sketchguard", "parameters": {"width": 50}},
    {"algorithm": "trimmed_mean", "parameters": {"before": "bucketing"}},
]
every_rule = pytest.mark.parametrize("rule", [*RULES, *BUNDLED], ids=lambda rule: rule["algorithm"])


def simulated_with(rule, nodes, rounds, topology):
    ((name, value),) = rule["parameters"].items()
    algorithm = f'name = "{rule["algorithm"]}"\n{name} = {json.dumps(value)}'
    return simulated(nodes, rounds, topology=topology, algorithm=algorithm, training="momentum = 0.5")


def test_the_rule_of_the_page_on_extending_is_the_example():
    page = (REPOSITORY / "docs" / "extend.md").read_text(encoding="utf-8")
    example = (REPOSITORY / "examples" / "balance.py").read_text(encoding="utf-8")
    code = example.partition('"""\n\n')[2]
    assert f"```py\n{code}```" in page
    assert len(example.splitlines()) <= 60


@every_rule
@in_trio
async def test_peers_end_where_the_simulation_ends_and_are_replayed(tmp_path, rule):
    """On a path, so that ends have one neighbour and the others two."""
    peers = digits_peers(
        tmp_path, 5, rounds={"stop_after": 10, "topology": "path:5", **rule}, training={"momentum": 0.5}
    )
    await run_all(peers)
    rows = torch.cat([peer._incarnation.learner.state.nodes.rows for peer in peers])
    assert (rows - simulated_with(rule, 5, 10, 'name = "path"')).abs().max() < 1e-5
    assert_replayed([peer.home.directory for peer in peers])


@each_rule
@in_trio
async def test_a_missing_neighbour_has_no_place_in_a_rule(tmp_path, rule):
    rounds = {
        "stop_after": 6,
        "gathering": 0.5,
        "deadline": 4.0,
        "patience": 1,
        "topology": "complete:4",
        **rule,
    }
    *there, _never = peers_in_rounds(tmp_path, 4, rounds=rounds)
    await run_all(there)
    for peer in there:
        assert [each["missing"] for each in records_of(peer.home, "mix")] == [[3]] * 6
        assert torch.isfinite(peer._incarnation.learner.state.nodes.rows).all()
    assert_replayed([peer.home.directory for peer in there])


@each_rule
@in_trio
async def test_who_is_late_begins_at_the_median_of_the_others(tmp_path, rule):
    rounds = {
        "gathering": 0.3,
        "deadline": 2.0,
        "patience": 1,
        "period": 0.03,
        "topology": "complete:3",
        **rule,
    }
    first, second, late = peers_in_rounds(tmp_path, 3, rounds=rounds)
    await one_comes_late(first, second, late)

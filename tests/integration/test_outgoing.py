"""Transformed rows of real peers: those of the simulator, and of the replay where their noise was recorded."""

import math

import numpy as np
import pytest
import torch

from gossipfl.algorithms import Exchange
from gossipfl.outgoing import IN_FULL, Pipeline, SharedMask
from sims.engine import RoundEngine
from sims.engine.exchange import Exchanges
from sims.replay import replay
from sims.replay.errors import NotRecomputable
from sims.scenario import parse_scenario
from sims.world import build_world
from sims.world.networks import round_network
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import network_of, records_of
from tests.integration.test_rounds import SCENARIO, assert_replayed, digits_peers, run_all
from topology import sequences

CLIP = {"kind": "clip", "norm": 1.5}
MASK = {"kind": "mask", "share": 0.3}
NOISE = {"kind": "noise", "deviation": 0.01}
CODEC = {"kind": "codec", "name": "int8:64"}


def as_toml(tables):
    lines = []
    for table in tables:
        lines.append("[[outgoing]]")
        lines += [f"{key} = {value!r}".lower().replace("'", '"') for key, value in table.items()]
    return "\n".join(lines)


def simulated(rounds, tables, *, algorithm='name = "d_psgd"'):
    text = SCENARIO.format(nodes=5, topology='name = "ring"', algorithm=algorithm, training="")
    scenario = parse_scenario(text + as_toml(tables))
    engine = RoundEngine(build_world(scenario), round_network(scenario), compile_when="never")
    for _ in range(rounds):
        engine.run_round()
    engine.close()
    return engine


ROWS = {"clip": [CLIP], "mask": [MASK], "mask, clip, codec": [MASK, CLIP, CODEC]}


@pytest.mark.parametrize("tables", ROWS.values(), ids=ROWS)
@in_trio
async def test_peers_send_what_simulated_nodes_send(tmp_path, tables):
    peers = digits_peers(tmp_path, 5, rounds={"stop_after": 8, "topology": "ring:5"}, outgoing=tables)
    await run_all(peers)
    rows = torch.cat([peer._incarnation.learner.state.nodes.rows for peer in peers])
    engine = simulated(8, tables)
    tolerance = 1e-2 if CODEC in tables else 1e-5  # a number on an edge is rounded to the other side
    assert (rows - engine.rows()).abs().max() < tolerance
    assert (rows - simulated(8, []).rows()).abs().max() > 10 * tolerance or CODEC in tables
    for peer in peers:
        assert all(mix["missing"] == [] for mix in records_of(peer.home, "mix"))
    assert_replayed([peer.home.directory for peer in peers])


@in_trio
async def test_a_rule_sees_whole_rows_where_a_mask_leaves_numbers_out(tmp_path):
    rule = "tests.gossipfl.algorithms.robust_rules:SelfCentredClipping"
    rounds = {"stop_after": 6, "topology": "ring:5", "algorithm": rule, "parameters": {"radius": 0.2}}
    peers = digits_peers(tmp_path, 5, rounds=rounds, outgoing=[MASK])
    await run_all(peers)
    rows = torch.cat([peer._incarnation.learner.state.nodes.rows for peer in peers])
    engine = simulated(6, [MASK], algorithm=f'name = "{rule}"\nradius = 0.2')
    assert (rows - engine.rows()).abs().max() < 1e-5
    assert_replayed([peer.home.directory for peer in peers])


@in_trio
async def test_noise_that_was_recorded_is_drawn_again(tmp_path):
    tables = [CLIP, {**NOISE, "recorded": True}]
    peers = digits_peers(tmp_path, 4, rounds={"stop_after": 5, "topology": "ring:4"}, outgoing=tables)
    await run_all(peers)
    secrets = [each["secret"] for peer in peers for each in records_of(peer.home, "noise")]
    assert len(set(secrets)) == 4 * 5
    assert_replayed([peer.home.directory for peer in peers])


@in_trio
async def test_noise_is_secret_unless_it_was_to_be_recorded(tmp_path):
    peers = digits_peers(tmp_path, 3, rounds={"stop_after": 2, "topology": "ring:3"}, outgoing=[NOISE])
    await run_all(peers)
    assert not any(records_of(peer.home, "noise") for peer in peers)
    with pytest.raises(NotRecomputable, match=r"added noise to its messages.*recorded = true"):
        replay([peer.home.directory for peer in peers])


@pytest.mark.parametrize("codec", ["float32", "qsgd:127:16"])
@in_trio
async def test_gossip_goes_through_the_same_seam(tmp_path, codec):
    tables = [CLIP, {**NOISE, "recorded": True}, {"kind": "codec", "name": codec}]
    async with network_of(tmp_path, 3, outgoing=tables) as peers:
        await until(lambda: all(peer.status().event >= 8 for peer in peers))
    merges = [each for peer in peers for each in records_of(peer.home, "merge")]
    assert {each["codec"] for each in merges} == {codec}
    assert any(each["sequence"] for each in records_of(peers[0].home, "noise"))
    report = replay([peer.home.directory for peer in peers])
    assert [peer.verdict for peer in report.peers] == ["identical"] * 3
    assert report.notes == ()
    plain = replay([peer.home.directory for peer in peers], batched=True, tolerance=0.05)
    assert plain.equal


def test_bytes_are_those_of_what_is_left():
    full, masked = simulated(2, []), simulated(2, [MASK, CODEC])
    size = full.world.layout.shared_size
    width = round(0.3 * size)
    assert full.exchanges.bytes == full.exchanges.messages * IN_FULL.payload_bytes(size)
    assert masked.exchanges.bytes == masked.exchanges.messages * (width + 4 * math.ceil(width / 64))


@pytest.mark.parametrize(("nodes", "share", "contraction"), [(16, 0.1, 0.946667), (32, 0.01, 0.994839)])
def test_masked_matchings_contract_as_published(nodes, share, contraction):
    """q + pρ² with ρ² = (n − 2)/(2(n − 1)) for uniform perfect matchings (Tang et al. 2023)."""
    generator = np.random.default_rng(0)
    rows = torch.from_numpy(generator.normal(size=(nodes, 400)))
    outgoing = Pipeline(transformations=(SharedMask(share),))
    exchanges = Exchanges(
        sequences.random_matching(nodes, seed=1), seed=2, device=torch.device("cpu"), outgoing=outgoing
    )
    ratios = []
    for number in range(400):
        exchanges.begin(number)
        mixed = exchanges(Exchange(rows)).rows
        assert torch.allclose(mixed.mean(0), rows.mean(0), atol=1e-12)
        ratios.append(float(mixed.var(0).sum() / rows.var(0).sum()))
    assert np.mean(ratios) == pytest.approx(contraction, abs=4 * np.std(ratios) / 20)

"""Compressed rounds of real peers against the simulator: the same draws, bytes and rows."""

import pytest
import torch

from gossipfl.algorithms import make_algorithm
from gossipfl.algorithms.for_peers import require_in_peers
from gossipfl.codecs import codec
from gossipfl.errors import SettingError
from tests.gossipfl.network.helpers import in_trio
from tests.integration.peers import records_of
from tests.integration.test_rounds import digits_peers, run_all, simulated

ROUNDS = 10

CASES = {
    "choco, top k": ("choco", {"restart_every": 6}, "top:0.1", 0.3),
    "choco, qsgd": ("choco", {"restart_every": 100}, "qsgd:64", 0.9),
    "deep squeeze, qsgd": ("deep_squeeze", {}, "qsgd:64:128", 0.5),
}


@pytest.mark.parametrize(("name", "more", "way", "step_size"), CASES.values(), ids=CASES)
@in_trio
async def test_peers_end_where_the_simulation_ends(tmp_path, name, more, way, step_size):
    """But for rounding: a number on an edge falls on the other side, and is put right in later rounds."""
    parameters = {"compressor": way, "consensus_step_size": step_size, **more}
    peers = digits_peers(
        tmp_path,
        5,
        rounds={"algorithm": name, "parameters": parameters, "topology": "ring:5", "stop_after": ROUNDS},
    )
    await run_all(peers)
    rows = torch.cat([peer._incarnation.learner.state.nodes.rows for peer in peers])
    algorithm = f'name = "{name}"\ncodec = "{way}"\nconsensus_step_size = {step_size}\n'
    algorithm += "\n".join(f"{key} = {value}" for key, value in more.items())
    there = simulated(5, ROUNDS, topology='name = "ring"', algorithm=algorithm)
    plain = simulated(5, ROUNDS, topology='name = "ring"', algorithm='name = "d_psgd"')
    print(
        name,
        way,
        float((rows - there).abs().max()),
        float((rows - there).norm()),
        float((rows - plain).norm()),
    )
    assert (rows - there).norm() < 1e-3 * (rows - plain).norm()
    for peer in peers:
        assert {mix["codec"] for mix in records_of(peer.home, "mix")} == {codec(way).name}


def test_what_one_lost_message_would_harm_for_good_is_refused():
    for name, said in (("choco", "unless restart_every is set"), ("power_gossip", "keep the same factors")):
        with pytest.raises(SettingError, match=rf"{name} runs in the simulator only.*{said}"):
            require_in_peers(name, make_algorithm(name, {}))

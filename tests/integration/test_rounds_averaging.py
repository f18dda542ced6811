"""Real peers running the averaging algorithms end where the simulator ends."""

import pytest
import torch

from tests.gossipfl.network.helpers import in_trio
from tests.integration.peers import records_of
from tests.integration.test_rounds import digits_peers, run_all, simulated

PEERS, ROUNDS = 6, 8

CASES = {
    "epidemic learning brings its own graphs": (
        {"topology": "", "algorithm": 'name = "epidemic_learning"\ndegree = 2\nvariant = "local"'},
        {
            "algorithm": "epidemic_learning",
            "parameters": {"degree": 2, "variant": "local"},
            "topology": None,
        },
        {},
    ),
    "local epochs": (
        {"topology": 'name = "ring"', "algorithm": 'name = "dfedavg"', "training": "momentum = 0.5"},
        {"algorithm": "dfedavg", "topology": "ring:6"},
        {"momentum": 0.5},
    ),
    "push-sum over links that senders weigh": (
        {"topology": 'name = "epidemic"\ns = 2\nmode = "local"', "algorithm": 'name = "sgp"'},
        {"algorithm": "sgp", "topology": "epidemic:6,s=2,mode=local,seed=5"},
        {},
    ),
    "another message over each link": (
        {"topology": 'name = "path"', "algorithm": 'name = "relay_sgd"'},
        {"algorithm": "relay_sgd", "topology": "path:6"},
        {},
    ),
    "gradients in cliques": (
        {
            "topology": 'name = "d_cliques"\nlabels = [0, 1, 2, 0, 1, 2]\nclique_size = 3\nseed = 0',
            "algorithm": 'name = "d_cliques"',
            "training": "momentum = 0.5",
        },
        {"algorithm": "d_cliques", "topology": "d-cliques:6,classes=3,clique_size=3,seed=0"},
        {"momentum": 0.5},
    ),
}


@pytest.mark.parametrize(("simulation", "rounds", "training"), CASES.values(), ids=CASES)
@in_trio
async def test_peers_that_are_all_there_end_where_the_simulation_ends(tmp_path, simulation, rounds, training):
    peers = digits_peers(tmp_path, PEERS, rounds={"stop_after": ROUNDS, **rounds}, training=training)
    await run_all(peers)
    rows = torch.cat([peer._incarnation.learner.state.nodes.rows for peer in peers])
    assert (rows - simulated(PEERS, ROUNDS, **simulation)).abs().max() < 1e-5
    for peer in peers:
        assert all(mix["missing"] == [] for mix in records_of(peer.home, "mix"))

"""Rounds of peers behind links that carry so much, and the same rounds by the simulator's clock."""

from contextlib import ExitStack

import numpy as np
import pytest

from gossipfl.network.identity import load_or_create_identity
from gossipfl.peer.link_matrix import link_matrix
from sims.running.choice import simulation_of
from sims.scenario import parse_scenario
from sims.world import build_world

from .namespaces import lab, needs_namespaces
from .peers import PeerProcess, quick_settings, records_of
from .plain_streams import both_ways

pytestmark = [needs_namespaces, pytest.mark.slow, pytest.mark.timeout(900)]

UP = (4.0, 4.0, 4.0, 2.0, 4.0, 4.0)
"""Mbit/s each way of six modems."""
HIDDEN = {"1 MB": 12_500, "0.5 MB": 6_250}
ROUNDS, FIRST = 10, 2
SCENARIO = f"""
[population]
nodes = {len(UP)}
[task]
name = "tests.integration.tasks:blobs"
options = {{ hidden = HIDDEN }}
[topology]
name = "random-matching:seed=5"
"""


def simulated(algorithm, hidden, links, round_trip, share):
    """Seconds of the rounds from the third to the last, by the clock alone, over links as peers measured them.

    A peer's own link is as fast as its fastest path. Both ways at once it carries the share that plain streams do.
    """
    matrix = np.loadtxt(links, delimiter=",")
    network = f"[network]\ndelay.seconds = {round_trip / 2}\n"
    network += f"[network.links]\nfile = '{links}'\nhosts = {list(range(len(UP)))}\nboth_ways = {share}\n"
    network += f"up = {matrix.max(axis=1).tolist()}\ndown = {matrix.max(axis=0).tolist()}\n"
    given = SCENARIO.replace("HIDDEN", str(hidden))
    scenario = parse_scenario(given + network + f"[algorithm]\n{algorithm}\n")
    simulation = simulation_of(scenario, build_world(scenario), threads=1, compile_when="never", device="cpu")
    clock = simulation.engine.clock
    for number in range(ROUNDS):
        clock.round(number)
    simulation.close()
    return clock.seconds[-1] - clock.seconds[FIRST - 1]


def measured(directory, name, hidden, parameters):
    """The same of six peers in namespaces; their round trip, and the share of a link that is used both ways."""
    with lab() as spaces, ExitStack() as stack:
        switch = spaces.switch("switch")
        peers = []
        behind = [
            spaces.behind_modem(f"h{number}", switch, f"10.0.0.{number + 1}/24", mbits=mbits)
            for number, mbits in enumerate(UP)
        ]
        share = both_ways(behind[0], behind[1], "10.0.0.1", size=1_000_000)
        for number, space in enumerate(behind):
            settings = quick_settings(
                number,
                options={"hidden": hidden},
                network={"listen": ["/ip4/0.0.0.0/tcp/4001"], "silence_seconds": 30.0},
                rounds={
                    "algorithm": name,
                    "parameters": parameters,
                    "topology": f"random-matching:{len(UP)},seed=5",
                    "roster_file": "../roster.txt",
                    "deadline": 60.0,
                    "gathering": 240.0,
                },
                checkpoint={"period": 600.0},
                evaluation={"period": 600.0},
            )
            peer = PeerProcess(directory / f"peer-{number}", settings, namespace=space)
            peers.append(stack.enter_context(peer))
        members = [load_or_create_identity(peer.home.directory).peer_id for peer in peers]
        lines = [f"/ip4/10.0.0.{number + 1}/tcp/4001/p2p/{each}" for number, each in enumerate(members)]
        (directory / "roster.txt").write_text("\n".join(lines))
        for peer in peers:
            peer.start()
        for peer in peers:
            peer.until_at(seconds=600, event=ROUNDS)
        statuses = [peer.status() for peer in peers]
        ends = [
            max(
                each["time"]
                for peer in peers
                for each in records_of(peer.home, "round")
                if each["round"] == number
            )
            for number in (FIRST - 1, ROUNDS - 1)
        ]
        assert all(each["missing"] == [] for peer in peers for each in records_of(peer.home, "mix"))
    matrix = link_matrix(members, statuses, [None] * len(peers))
    np.savetxt(directory / "links.csv", np.where(np.isnan(matrix), min(UP), matrix), delimiter=",")
    trips = [each["round_trip"] for status in statuses for each in status["peers"] if each["round_trip"]]
    print(np.round(matrix, 2), np.round(sorted(trips), 3))
    return ends[1] - ends[0], float(np.median(trips)), share


@pytest.mark.parametrize("hidden", HIDDEN.values(), ids=HIDDEN.keys())
@pytest.mark.parametrize(
    ("name", "parameters"), [("noloco", {}), ("saps", {"share": 0.5})], ids=["NoLoCo", "SAPS"]
)
def test_rounds_take_what_the_clock_says(tmp_path, name, parameters, hidden):
    """Peers also compute, which the clock leaves out. See docs/slow-links.md."""
    written = "\n".join([f'name = "{name}"', *(f"{key} = {value}" for key, value in parameters.items())])
    took, round_trip, share = measured(tmp_path, name, hidden, parameters)
    expected = simulated(written, hidden, tmp_path / "links.csv", round_trip, share)
    print(f"{name}: {took:.2f} s, simulated {expected:.2f} s: {took / expected:.3f}; both ways {share:.3f}")
    assert 0.85 < took / expected < 1.15

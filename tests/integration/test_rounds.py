"""Rounds of real peers against the simulator: the same rows from the same scenario."""

import time
from contextlib import ExitStack

import pytest
import torch
import trio

from sims.analysis import load_runs
from sims.calibration.calibrate import NothingObserved, calibrate
from sims.engine import RoundEngine
from sims.replay import replay
from sims.scenario import parse_scenario
from sims.world import build_world
from sims.world.networks import round_network
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.rounds.networks_of_rounds import members, peers_in_rounds, settings_of
from tests.integration.peers import PeerProcess, records_of, running

SEED = 5

SCENARIO = """
seed = 5
[population]
nodes = {nodes}
[task]
name = "digits"
partition = "shards:2"
options = {{ seed = 5 }}
[topology]
{topology}
[algorithm]
{algorithm}
[training]
learning_rate = 0.1
batch_size = 16
seed = 5
{training}
"""


def simulated(nodes: int, rounds: int, *, topology: str, algorithm: str, training: str = "") -> torch.Tensor:
    """Rows of all nodes after some rounds of a simulation."""
    text = SCENARIO.format(nodes=nodes, topology=topology, algorithm=algorithm, training=training)
    return rows_after(parse_scenario(text), rounds)


def rows_after(scenario, rounds: int) -> torch.Tensor:
    """Rows of all nodes after some rounds of a scenario."""
    return engine_after(scenario, rounds).rows()


def engine_after(scenario, rounds: int) -> RoundEngine:
    """The engine of a scenario, closed after some rounds."""
    engine = RoundEngine(build_world(scenario), round_network(scenario), compile_when="never")
    for _ in range(rounds):
        engine.run_round()
    engine.close()
    return engine


async def run_all(peers) -> None:
    async with trio.open_nursery() as nursery:
        for peer in peers:
            nursery.start_soon(peer.run)


async def one_comes_late(first, second, late) -> None:
    """Two members are some rounds ahead when the third comes; it listens first, and all are replayed."""
    async with running(first, second):
        await until(lambda: first.status().event >= 12)
        async with running(late):
            await until(lambda: any(each["listening"] for each in records_of(late.home, "mix")))
            there = late._incarnation.learner.state.event
            await until(lambda: late._incarnation.learner.state.event > there + 2)
    listened = [each for each in records_of(late.home, "mix") if each["listening"]]
    assert listened[-1]["members"]  # both, if neither was too late
    assert {*listened[-1]["members"]} <= {0, 1}
    report = replay([peer.home.directory for peer in (first, second, late)])
    assert [peer.verdict for peer in report.peers] == ["identical"] * 3


def digits_peers(directory, nodes: int, *, rounds, training=None, outgoing=()):
    """Peers with the data that the simulation's nodes have."""
    shared = {"partition": "shards:2", "peers": nodes, "seed": SEED}
    tables = {
        "rounds": {"seed": SEED, "gathering": 120.0, "deadline": 60.0, **rounds},  # nobody is absent
        "training": {"learning_rate": 0.1, "batch_size": 16, "seed": SEED, **(training or {})},
        "evaluation": {"period": 1000.0},
        "checkpoint": {"period": 1000.0},
        "outgoing": outgoing,
    }
    return peers_in_rounds(directory, nodes, task="digits", options=shared, **tables)


CASES = {
    "d-psgd on a ring": (
        {"topology": 'name = "ring"', "algorithm": 'name = "d_psgd"'},
        {"algorithm": "d_psgd", "topology": "ring:5"},
        {},
    ),
    "private training, replayed from its seed": (
        {
            "topology": 'name = "ring"',
            "algorithm": 'name = "gradient_tracking"',
            "training": "privacy = { clip = 1.0, noise_multiplier = 0.5 }",
        },
        {"algorithm": "gradient_tracking", "topology": "ring:5"},
        {"privacy": {"clip": 1.0, "noise_multiplier": 0.5, "secret": False}},
    ),
    "decor": (
        {"topology": 'name = "ring"', "algorithm": 'name = "decor"\ndeviation = 0.1\nedge_deviation = 2.0'},
        {
            "algorithm": "decor",
            "topology": "ring:5",
            "parameters": {"deviation": 0.1, "edge_deviation": 2.0, "secret": False},
        },
        {},
    ),
    "muffliato, accelerated": (
        {"topology": 'name = "ring"', "algorithm": 'name = "muffliato_sgd"\nmixings = 3\ngap = 0.4'},
        {
            "algorithm": "muffliato_sgd",
            "topology": "ring:5",
            "parameters": {"mixings": 3, "gap": 0.4, "secret": False},
        },
        {},
    ),
    "zip-dl": (
        {"topology": 'name = "ring"', "algorithm": 'name = "zip_dl"\ndeviation = 0.5'},
        {"algorithm": "zip_dl", "topology": "ring:5", "parameters": {"deviation": 0.5, "secret": False}},
        {},
    ),
    "combine, then adapt; momentum; changing partners": (
        {
            "topology": 'name = "one_peer_exponential"',
            "algorithm": 'name = "d_psgd"\norder = "combine-then-adapt"',
            "training": "momentum = 0.9\nlocal_steps = 2",
        },
        {
            "algorithm": "d_psgd",
            "parameters": {"order": "combine-then-adapt"},
            "topology": "one-peer-exponential:5",
        },
        {"momentum": 0.9, "local_steps": 2},
    ),
    "gradient tracking, two rows a round": (
        {"topology": 'name = "ring"', "algorithm": 'name = "gradient_tracking"'},
        {"algorithm": "gradient_tracking", "topology": "ring:5"},
        {},
    ),
    "exact diffusion": (
        {"topology": 'name = "ring"', "algorithm": 'name = "exact_diffusion"'},
        {"algorithm": "exact_diffusion", "topology": "ring:5"},
        {},
    ),
    "quasi-global momentum": (
        {"topology": 'name = "ring"', "algorithm": 'name = "qg_dsgdm"'},
        {"algorithm": "qg_dsgdm", "topology": "ring:5"},
        {},
    ),
}


@pytest.mark.parametrize(("simulation", "rounds", "training"), CASES.values(), ids=CASES)
@in_trio
async def test_peers_that_are_all_there_end_where_the_simulation_ends(tmp_path, simulation, rounds, training):
    peers = digits_peers(tmp_path, 5, rounds={"stop_after": 15, **rounds}, training=training)
    await run_all(peers)
    rows = torch.cat([peer._incarnation.learner.state.nodes.rows for peer in peers])
    assert (rows - simulated(5, 15, **simulation)).abs().max() < 1e-5
    for peer in peers:
        assert all(mix["missing"] == [] for mix in records_of(peer.home, "mix"))


def assert_replayed(homes, *, batched_too=True):
    """Every checkpoint comes out again from the records: to the last bit, and batched within 1e-4."""
    report = replay(homes)
    assert report.notes == ()
    assert [peer.verdict for peer in report.peers] == ["identical"] * len(homes)
    if batched_too:
        batched = replay(homes, batched=True)
        assert batched.waves > 0
        assert batched.equal, batched.notes
    return report


@pytest.mark.parametrize(
    ("name", "parameters", "training"),
    [
        ("saps", {"share": 0.1}, {"momentum": 0.9}),
        ("noloco", {"momentum": 0.4, "pull": 0.6}, {"optimiser": "adamw", "local_steps": 3}),
        pytest.param(
            "noloco",
            {"momentum": 0.4, "bits": 3, "share": 0.5, "reach": 3.0},
            {"optimiser": "adamw", "local_steps": 3},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "sparseloco",
            {"codec": "chunk-top:8:64", "pull": 0.02},
            {"momentum": 0.5, "local_steps": 2},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "streaming",
            {
                "codec": "fp4",
                "feedback": 1.0,
                "pull": 0.1,
                "momentum": 0.5,
                "nesterov": False,
                "fragments": 3,
            },
            {"optimiser": "adamw", "local_steps": 3},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "gasloc", {"momentum": 0.6}, {"optimiser": "adamw", "local_steps": 2}, marks=pytest.mark.slow
        ),
    ],
)
@in_trio
async def test_six_peers_in_pairs_end_where_the_simulation_ends_and_are_replayed(
    tmp_path, name, parameters, training
):
    rounds = {"algorithm": name, "parameters": parameters, "topology": "random-matching:6,seed=5"}
    training = {**training, "learning_rate": 0.01}
    peers = digits_peers(tmp_path, 6, rounds={"stop_after": 12, **rounds}, training=training)
    await run_all(peers)
    rows = torch.cat([peer._incarnation.learner.state.nodes.rows for peer in peers])
    alike = parse_scenario(
        SCENARIO.format(
            nodes=6, topology='name = "random_matching"', algorithm=f'name = "{name}"', training=""
        ),
        overrides=[
            *(f"algorithm.{key}={value}" for key, value in parameters.items()),
            *(f"training.{key}={value}" for key, value in training.items()),
        ],
    )
    assert (rows - rows_after(alike, 12)).abs().max() < 1e-5
    assert_replayed([peer.home.directory for peer in peers])
    for peer in peers:
        told = peer._incarnation.learner.described().get("measures", {})
        assert told == records_of(peer.home, "round")[-1].get("measures", {})
        assert list(told) == (["wrong_residues"] if "bits" in parameters else [])
    assert_analysed(peers)


def assert_analysed(peers):
    """An analysis of the homes has the bytes of the rows that were taken, and what the algorithm measured."""
    (run,) = load_runs([peer.home.directory for peer in peers])
    plan = peers[0]._incarnation.learner.plan
    taken = [
        (len(mix["members"]), plan.forms[mix["exchange"]])
        for peer in peers
        for mix in records_of(peer.home, "mix")
    ]
    size = sum(
        count * plan.codec_of(form).payload_bytes(plan.outgoing.width(form.size)) for count, form in taken
    )
    assert run.last("bytes") == size
    measured = [
        each["measures"]
        for peer in peers
        for each in records_of(peer.home, "round")[-1:]
        if "measures" in each
    ]
    for name in measured[0] if measured else ():
        values = [each[name] for each in measured]
        assert run.last(f"algorithm/{name}") == pytest.approx(sum(values) / len(values))
        assert run.last(f"algorithm/{name}_max") == max(values)


@in_trio
async def test_a_run_in_rounds_is_replayed(tmp_path):
    peers = peers_in_rounds(tmp_path, 4, rounds={"stop_after": 12}, training={"momentum": 0.9})
    await run_all(peers)
    homes = [peer.home.directory for peer in peers]
    report = assert_replayed(homes)
    assert report.events == 4 * 12
    with pytest.raises(NothingObserved, match="learned in rounds"):
        calibrate(homes)


def test_a_run_with_a_killed_and_restarted_process_is_replayed(tmp_path):
    """Others go on without it; it comes back from its checkpoint, and joins the round they are in."""
    listen, roster = members(tmp_path, 4)
    rounds = {"topology": "one-peer-exponential:4", "deadline": 1.0, "patience": 1, "period": 0.05}
    tables = {"rounds": rounds, "checkpoint": {"period": 0.1}}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                PeerProcess(
                    tmp_path / f"peer-{number}", settings_of(number, listen, roster, **tables), forked=True
                )
            ).start("--plain")
            for number in range(4)
        ]
        victim = processes[2]
        victim.until_at(event=8)
        victim.process.kill()
        victim.process.wait()
        last = max(record["round"] for record in records_of(victim.home, "round"))
        processes[0].until_at(event=last + 10)
        victim.start("--plain")
        wait_until(lambda: any(2 in mix["members"] for mix in mixes_after(processes[0].home, last + 10)))
        for process in processes:
            process.process.terminate()
        for process in processes:
            assert process.process.wait(timeout=60) == 0, process.err
    starts = records_of(victim.home, "start")
    killed, again = (start["incarnation"] for start in starts)
    assert killed < again
    assert starts[1]["resumed_from"] == killed
    assert starts[1]["event"] > 0
    assert records_of(victim.home, "jump")[0]["from_round"] == starts[1]["event"]
    assert any(2 in mix["missing"] for mix in records_of(processes[0].home, "mix"))
    report = assert_replayed([process.home.directory for process in processes])
    assert [peer.starts for peer in report.peers] == [1, 1, 2, 1]


def mixes_after(home, number):
    return [mix for mix in records_of(home, "mix") if mix["round"] > number]


def wait_until(condition, *, seconds=60.0):
    """Wait without an event loop."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)

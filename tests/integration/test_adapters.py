"""A frozen language model and its low-rank adapters: only these travel, in simulations and between peers alike."""

import math
from pathlib import Path

import pytest
import torch

from gossipfl.peer import Peer
from gossipfl.peer.rounds import framing
from gossipfl.tasks import Task
from sims.running import run
from sims.scenario import parse_scenario
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.rounds.networks_of_rounds import members, peers_in_rounds, settings_of
from tests.integration.peers import running
from tests.integration.test_rounds import assert_replayed, run_all

adapters = pytest.importorskip("examples.adapters")  # which needs transformers and peft

TASK = "tests.integration.test_adapters:of_author"
SMALL = {"text": "", "length": 16, "each": 12, "kept": 4, "rank": 2}
SCENARIO = """
seed = 5
population.nodes = 6
task.name = "examples.adapters:task"
task.partition = "natural"
task.options = {{ body = "{body}", text = "", authors = 6, length = 16, each = 12, kept = 4, rank = 2 }}
topology.name = "random_matching"
algorithm = {{ name = "{name}", {parameters} }}
training = {{ optimiser = "adamw", learning_rate = 0.01, batch_size = 4, local_steps = 2, seed = 5 }}
network = {{ links = {{ up = 20, down = 100 }}, delay.seconds = 0.02 }}
evaluate = {{ every = {rounds}, own = true, per_node = true }}
stop.rounds = {rounds}
"""
ROUNDS = 6


def of_author(*, index: int, body: Path, **options) -> Task:
    """The task of a peer, whose number is its author's."""
    return adapters.task(author=index, body=body, **options)


@pytest.fixture(scope="module")
def bodies(tmp_path_factory):
    """Two bodies that differ in their weights alone."""
    folder = tmp_path_factory.mktemp("bodies")
    for seed in range(2):
        torch.manual_seed(seed)
        adapters.untrained("tiny", 16).save_pretrained(folder / str(seed))
    return folder


def peers_of(tmp_path, body, name, parameters, **rounds):
    return peers_in_rounds(
        tmp_path,
        6,
        task=TASK,
        options={**SMALL, "body": str(body)},
        rounds={
            "algorithm": name,
            "parameters": parameters,
            "topology": "random-matching:6,seed=5",
            "seed": 5,
            **rounds,
        },
        training={
            "optimiser": "adamw",
            "learning_rate": 0.01,
            "batch_size": 4,
            "local_steps": 2,
            "seed": 5,
        },
        evaluation={"period": 1000.0},
        checkpoint={"period": 1000.0},
    )


def chunk_top_bytes(size, *, count, chunk):
    """Bytes of a payload: four float32, and of each number two bits of a level and log2(chunk) of a place."""
    chosen = size // chunk * count + min(size % chunk, count)
    return 16 + math.ceil(chosen * 2 / 8) + math.ceil(chosen * math.log2(chunk) / 8)


def test_authors_fine_tune_a_body_together(bodies):
    text = SCENARIO.format(body=bodies / "0", name="noloco", parameters="momentum = 0.5", rounds=2)
    result = run(parse_scenario(text, overrides=["evaluate.every=1"]), compile_when="never")
    task = adapters.task(body=bodies / "0", authors=6, **SMALL)
    assert result.layout.size == result.layout.shared_size == task.layout.shared_size
    assert result.evaluations["bytes"][-1] == 4 * 6 * 2 * task.layout.shared_size
    assert result.evaluations["loss_mean"][-1] < result.evaluations["loss_mean"][0]

    data = task.dataset()
    last = result.nodes.filter(result.nodes["round"] == 2)
    whole = torch.cat([result.rows, task.initial_row()[result.layout.size :].expand(6, -1)], dim=1)
    for author, row in enumerate(whole):
        own = data.test_owners == author
        found = task.evaluate(row[None], {"input_ids": data.test_targets[own]}, data.test_targets[own])
        assert last["perplexity"][author] == pytest.approx(found["perplexity"].item(), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "parameters", "numbers"),
    [
        pytest.param("noloco", {"momentum": 0.5}, 1, marks=pytest.mark.slow),
        pytest.param("saps", {"share": 0.25}, 0.25, marks=pytest.mark.slow),
        pytest.param("sparseloco", {"codec": "chunk-top:8:64"}, None, marks=pytest.mark.slow),
    ],
)
@in_trio
async def test_six_peers_send_adapters_alone_and_end_where_the_simulation_ends(
    tmp_path, monkeypatch, bodies, name, parameters, numbers
):
    bodies_sent, encoded = [], framing.encode_round

    def watched(payload, **named):
        bodies_sent.append(
            sum(tensor.data.nbytes for tensor in payload)
        )  # without what aligns them in a frame
        return encoded(payload, **named)

    monkeypatch.setattr(framing, "encode_round", watched)
    peers = peers_of(tmp_path, bodies / "0", name, parameters, stop_after=ROUNDS)
    await run_all(peers)
    given = ", ".join(f"{key} = {value!r}" for key, value in parameters.items())
    text = SCENARIO.format(body=bodies / "0", name=name, parameters=given, rounds=ROUNDS)
    there = run(parse_scenario(text), compile_when="never")
    shared = there.layout.shared_size
    whole = adapters.untrained("tiny", 16).num_parameters()
    assert shared == there.layout.size < whole / 10
    rows = torch.cat([peer._incarnation.learner.state.nodes.rows for peer in peers])
    assert (rows[:, :shared] - there.rows).abs().max() < 1e-5

    accounted = there.evaluations["bytes"][-1] // (6 * ROUNDS)
    if numbers is None:
        assert accounted == chunk_top_bytes(shared, count=8, chunk=64)
    else:
        assert accounted == 4 * int(numbers * shared)
    assert bodies_sent == [accounted] * (6 * ROUNDS)
    assert_replayed([peer.home.directory for peer in peers])

    perplexity = there.nodes.filter(there.nodes["round"] == ROUNDS)["perplexity"].to_list()
    for peer, expected in zip(peers, perplexity, strict=True):
        data = peer.task.dataset()
        row = peer._incarnation.learner.state.nodes.rows
        found = peer.task.evaluate(row, data.test_inputs, data.test_targets)["perplexity"].item()
        assert found == pytest.approx(expected, rel=1e-4)


@in_trio
async def test_peers_with_other_bodies_refuse_each_other(tmp_path, bodies):
    listen, roster = members(tmp_path, 2)
    rounds = {"topology": "complete:2", "gathering": 20.0}
    peers = []
    for number in range(2):
        task = {"name": TASK, "options": {**SMALL, "body": str(bodies / str(number)), "index": number}}
        settings = settings_of(number, listen, roster, rounds=rounds, task_=task)
        peers.append(Peer(tmp_path / f"peer-{number}", settings=settings))
    assert peers[0].task.layout.digest == peers[1].task.layout.digest
    async with running(*peers):
        await until(lambda: all(peer.counters.refused["incompatible_task"] for peer in peers))
        assert all(peer.status().rounds["gathering"] for peer in peers)

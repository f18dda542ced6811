"""Bytes of real peers in rounds, from rows to sockets, beside those that simulations account."""

import os

import pytest
import torch
import trio

from gossipfl.peer.rounds.exchanging import Exchanger
from sims.scenario import parse_scenario
from tests.gossipfl.network.helpers import in_trio
from tests.gossipfl.peer.rounds.networks_of_rounds import peers_in_rounds
from tests.integration.test_rounds import SCENARIO, SEED, engine_after, run_all

NODES, ROUNDS = 3, 8
PAIRS, RING = ("random-matching:3,seed=5", "random_matching"), ("ring:3", "ring")


class Counted:
    """What peers of this program send: bodies and headers of rows, and all that sockets carry."""

    def __init__(self, monkeypatch):
        self.rows = self.bodies = self.headers = self.sockets = 0
        sent, send_all, writev = Exchanger._sent, trio.SocketStream.send_all, os.writev

        async def counted_row(exchanger, recipient, frame):
            header, *body = (buffer.nbytes for buffer in frame.buffers)
            kept = await sent(exchanger, recipient, frame)
            self.rows, self.headers, self.bodies = (
                self.rows + 1,
                self.headers + header,
                self.bodies + sum(body),
            )
            return kept

        async def counted_stream(stream, data):
            self.sockets += len(data)
            await send_all(stream, data)

        def counted_write(file, buffers):
            written = writev(file, buffers)
            self.sockets += written
            return written

        monkeypatch.setattr(Exchanger, "_sent", counted_row)
        monkeypatch.setattr(trio.SocketStream, "send_all", counted_stream)
        monkeypatch.setattr(os, "writev", counted_write)


@pytest.mark.parametrize(
    ("name", "topology", "parameters", "training"),
    [
        ("saps", PAIRS, {"share": 0.1}, {}),
        pytest.param("noloco", PAIRS, {}, {"local_steps": 3}, marks=pytest.mark.slow),
        pytest.param(
            "noloco", PAIRS, {"momentum": 0.4, "pull": 0.3}, {"local_steps": 3}, marks=pytest.mark.slow
        ),
        pytest.param(
            "noloco",
            PAIRS,
            {"momentum": 0.0, "bits": 2, "share": 0.6},
            {"local_steps": 3},
            marks=pytest.mark.slow,
        ),
        pytest.param("gasloc", RING, {}, {"local_steps": 2}, marks=pytest.mark.slow),
        pytest.param("diloco", RING, {"weighting": "steps"}, {"local_steps": 2}, marks=pytest.mark.slow),
        pytest.param(
            "streaming",
            PAIRS,
            {"fragments": 7, "overlap": 1, "codec": "fp4:128", "pull": 0.1, "nesterov": False},
            {"local_steps": 3},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "sparseloco", PAIRS, {"codec": "chunk-top:8:64", "pull": 0.05}, {}, marks=pytest.mark.slow
        ),
        pytest.param("sparseloco", RING, {}, {"local_steps": 2}, marks=pytest.mark.slow),
        pytest.param("demo", RING, {"count": 20, "pull": 0.02}, {}, marks=pytest.mark.slow),
        pytest.param("sparta", RING, {"share": 0.05}, {}, marks=pytest.mark.slow),
    ],
)
@in_trio
async def test_rows_have_the_bytes_that_simulations_account(
    tmp_path, monkeypatch, name, topology, parameters, training
):
    """To the byte; frames and sockets add so much to each row, whatever its size."""
    counted = Counted(monkeypatch)
    peers = peers_in_rounds(
        tmp_path,
        NODES,
        task="digits",
        options={"partition": "shards:2", "peers": NODES, "seed": SEED},
        rounds={
            "algorithm": name,
            "parameters": parameters,
            "topology": topology[0],
            "seed": SEED,
            "gathering": 120.0,
            "deadline": 60.0,
            "stop_after": ROUNDS,
        },
        training={"learning_rate": 0.1, "batch_size": 16, "seed": SEED, **training},
        evaluation={"period": 1000.0},
        checkpoint={"period": 1000.0},
        view={"period": 900.0},
    )
    await run_all(peers)
    alike = parse_scenario(
        SCENARIO.format(
            nodes=NODES, topology=f'name = "{topology[1]}"', algorithm=f'name = "{name}"', training=""
        ),
        overrides=[
            *(f"algorithm.{key}={value}" for key, value in parameters.items()),
            *(f"training.{key}={value}" for key, value in training.items()),
        ],
    )
    engine = engine_after(alike, ROUNDS)
    rows = torch.cat([peer._incarnation.learner.state.nodes.rows for peer in peers])
    assert (rows - engine.rows()).abs().max() < 1e-5  # nothing was lost, or sent twice
    assert counted.bodies == engine.exchanges.bytes
    frames = sum(peer._incarnation.counters.bytes_sent for peer in peers)
    messages = sum(peer._incarnation.counters.messages_sent for peer in peers)
    print(
        f"{name}: {counted.rows} rows of {counted.bodies / counted.rows:.0f} bytes, headers of"
        f" {counted.headers / counted.rows:.0f}; {messages} frames of {frames:,} bytes in {counted.sockets:,}"
    )
    assert counted.headers <= 300 * counted.rows
    assert counted.bodies + counted.headers < frames < counted.sockets
    assert counted.sockets <= 1.01 * frames + 150 * messages + 8000 * NODES

"""A client written from docs/wire-protocol.md, over a stock libp2p host, without any of this project's code."""

import hashlib
import json
import struct
import time

import msgpack
import multiaddr
import numpy as np
import pytest
import torch
import trio
import xxhash
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from gossipfl.peer import Peer
from tests.gossipfl.network.helpers import in_trio, until

from .peers import quick_settings, running


def digest_of_layout(module):
    entries, offset = [], 0
    for name, parameter in module.named_parameters():
        entries.append([name, list(parameter.shape), "float32", offset])
        offset += parameter.numel()
    return hashlib.sha256(json.dumps(entries, separators=(",", ":")).encode()).digest(), offset


def frame(kind, fields, body=b""):
    header = msgpack.packb(fields)
    return (
        struct.pack("<4sHHIIQ", b"GSFL", 4, kind, len(header), xxhash.xxh32_intdigest(header), len(body))
        + header
        + body
    )


def model(task, layout, size, *, sequence):
    body = bytes(4 * size)
    fields = {
        "task": task,
        "layout": layout,
        "age": 0,
        "incarnation": int(time.time()),
        "sequence": sequence,
        "event": 0,
        "wants_answer": True,
        "codec": "float32",
        "tensors": [["row", "float32-le", [size]]],
        "checksum": xxhash.xxh3_64_intdigest(body),
    }
    return frame(1, fields, body)


def pull(task, layout, size, *, sequence):
    del size, sequence
    return frame(9, {"task": task, "layout": layout, "incarnation": int(time.time()), "part": 0})


def read(data):
    _, _, kind, header_bytes, _, body_bytes = struct.unpack("<4sHHIIQ", data[:24])
    fields, body = msgpack.unpackb(data[24 : 24 + header_bytes]), data[24 + header_bytes :]
    assert len(body) == body_bytes
    return kind, fields, body


async def read_to_the_end(stream):
    """All bytes until the other side ends; a reset would raise another error, or lose some of them."""
    data = b""
    while True:
        try:
            piece = await stream.read(65_536)
        except StreamEOF:
            return data
        if not piece:
            return data
        data += piece


@pytest.mark.parametrize(
    "half_close", [False, True], ids=["close at the end", "half-close after the question"]
)
@pytest.mark.parametrize("request_of", [pull, model], ids=["pull", "a row of age 0"])
@in_trio
async def test_a_client_from_the_document_fetches_the_model(tmp_path, half_close, request_of):
    still = {"exchange": {"merges_per_training": 1000, "patience": 2.0}}
    peer = Peer(tmp_path / "peer", settings=quick_settings(0, **still))
    stock = new_host(key_pair=create_new_key_pair())
    async with running(peer), stock.run([multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        module = peer.task.build_module()
        layout, size = digest_of_layout(module)
        task = peer.task.fingerprint  # a client is told it with the task
        status = peer.status()
        who = ID.from_base58(status.peer_id)
        await until(lambda: peer._incarnation.learner.state.age > 0)
        compared = 0
        with trio.fail_after(30):
            await stock.connect(PeerInfo(who, [multiaddr.Multiaddr(status.addresses[0])]))
            for sequence in range(1, 12):
                stream = await stock.new_stream(who, ["/gossipfl/exchange/1.0.0"])
                await stream.write(request_of(task, layout, size, sequence=sequence))
                if half_close:
                    await stream.close_write()
                    kind, fields, body = read(await read_to_the_end(stream))
                else:
                    data = b""
                    while len(data) < 24 + 4 * size:
                        data += await stream.read(65_536)
                    kind, fields, body = read(data)
                    await stream.close()
                assert kind == 1, fields
                assert fields["checksum"] == xxhash.xxh3_64_intdigest(body)
                row = torch.from_numpy(np.frombuffer(body, "<f4").copy())
                state = peer._incarnation.learner.state
                if fields["age"] == state.age:  # it has not trained since, and a row of age 0 changed nothing
                    compared += 1
                    assert torch.equal(row, state.nodes.rows[0, :size])
        assert compared > 5
        await until(lambda: peer.counters.messages_sent == 11)
        assert not peer.counters.refused


@in_trio
async def test_a_client_of_another_task_is_told_so_and_nothing_else(tmp_path):
    peer = Peer(tmp_path / "peer", settings=quick_settings(0))
    stock = new_host(key_pair=create_new_key_pair())
    async with running(peer), stock.run([multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        status = peer.status()
        who = ID.from_base58(status.peer_id)
        with trio.fail_after(30):
            await stock.connect(PeerInfo(who, [multiaddr.Multiaddr(status.addresses[0])]))
            for task, code in (
                (bytes(32), "incompatible_task"),
                (peer.task.fingerprint, "incompatible_model"),
            ):
                stream = await stock.new_stream(who, ["/gossipfl/exchange/1.0.0"])
                await stream.write(model(task, bytes(32), 3, sequence=1))
                kind, fields, _ = read(await read_to_the_end(stream))
                assert (kind, fields["code"]) == (4, code)
                for secret in (peer.task.fingerprint, peer.task.layout.digest):
                    assert secret.hex()[:16] not in fields["text"]

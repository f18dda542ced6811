"""The ends that `exchange.py` measures: a whole exchange, a bare stock libp2p stream, a bare TCP socket.

Run as a program it is the answering end, in a process of its own; it prints where it listens.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import asynccontextmanager, suppress

import multiaddr
import torch
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport

from gossipfl.codecs import codec
from gossipfl.network import Identity, NetworkLimits, open_host
from gossipfl.wire import Acknowledgement, Expectation, encode, encode_model

FLOAT32 = codec("float32")
TASK, LAYOUT = b"t" * 32, b"l" * 32
BARE_PROTOCOL = "/benchmark/bare/1.0.0"
BEST_CHUNK = 65_507  # one Yamux frame in one Noise message: the fastest size of write for a stock stream
LIMITS = NetworkLimits(frames_per_second=1e6, bytes_per_second=1e12, small_frames_per_second=1e9)


def expectation(payload_bytes):
    return Expectation(task=TASK, layout=LAYOUT, size=payload_bytes // 4, codecs=(FLOAT32,))


def frame_of(row, sequence):
    return encode_model(
        row,
        codec=FLOAT32,
        task=TASK,
        layout=LAYOUT,
        age=sequence,
        incarnation=1,
        sequence=sequence,
        event=sequence,
    )


def stock_host():
    key_pair = create_new_key_pair()
    noise = NoiseTransport(key_pair, noise_privkey=create_noise_key_pair().private_key)
    return new_host(key_pair=key_pair, sec_opt={NOISE: noise})


# The exchange of this project


async def answer_exchanges(payload_bytes, where):
    async def acknowledge(_peer_id, message):
        return encode(Acknowledgement(incarnation=1, sequence=message.header.sequence))

    async with open_host(Identity.generate(), expectation=expectation(payload_bytes), limits=LIMITS) as host:
        host.serve(acknowledge)
        where(host.peer_id, host.addresses)
        await trio.sleep_forever()


@asynccontextmanager
async def exchanges(payload_bytes, peer_id, addresses):
    row = torch.randn(payload_bytes // 4)
    async with open_host(Identity.generate(), expectation=expectation(payload_bytes), limits=LIMITS) as host:
        sequence = 0

        async def once():
            nonlocal sequence
            sequence += 1
            reply = await host.exchange(peer_id, addresses, frame_of(row, sequence), seconds=120)
            assert reply.sequence == sequence

        yield once


# A bare stream of a stock libp2p host


async def answer_bare_streams(payload_bytes, where):
    target = memoryview(bytearray(payload_bytes))

    async def acknowledge(stream):
        while True:
            await fill(target, stream.read)
            await stream.write(b"ok")

    host = stock_host()
    host.set_stream_handler(BARE_PROTOCOL, acknowledge)
    async with host.run([multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        where(str(host.get_id()), [str(address) for address in host.get_addrs()])
        await trio.sleep_forever()


@asynccontextmanager
async def bare_streams(payload_bytes, peer_id, addresses):
    payload = torch.randn(payload_bytes // 4).numpy().tobytes()
    host = stock_host()
    async with host.run([]):
        target = ID.from_base58(peer_id)
        await host.connect(PeerInfo(target, [multiaddr.Multiaddr(each) for each in addresses]))
        stream = await host.new_stream(target, [BARE_PROTOCOL])
        reply = memoryview(bytearray(2))

        async def once():
            for start in range(0, payload_bytes, BEST_CHUNK):
                await stream.write(payload[start : start + BEST_CHUNK])
            await fill(reply, stream.read)

        yield once


# A bare TCP socket


async def answer_bare_sockets(payload_bytes, where):
    target = memoryview(bytearray(payload_bytes))

    async def acknowledge(stream):
        with suppress(trio.BrokenResourceError, ConnectionError):
            while await fill_from_socket(target, stream.socket):
                await stream.send_all(b"ok")

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    where("", [listeners[0].socket.getsockname()[1]])
    await trio.serve_listeners(acknowledge, listeners)


@asynccontextmanager
async def bare_sockets(payload_bytes, _peer_id, addresses):
    payload = torch.randn(payload_bytes // 4).numpy().tobytes()
    async with await trio.open_tcp_stream("127.0.0.1", addresses[0]) as stream:
        reply = memoryview(bytearray(2))

        async def once():
            await stream.send_all(payload)
            await fill_from_socket(reply, stream.socket)

        yield once


async def fill(target, read):
    filled = 0
    while filled < len(target):
        data = await read(len(target) - filled)
        target[filled : filled + len(data)] = data
        filled += len(data)


async def fill_from_socket(target, socket):
    filled = 0
    while filled < len(target):
        count = await socket.recv_into(target[filled:])
        if not count:
            return False
        filled += count
    return True


KINDS = {
    "exchange": (answer_exchanges, exchanges),
    "libp2p stream": (answer_bare_streams, bare_streams),
    "TCP socket": (answer_bare_sockets, bare_sockets),
}


def train_for_ever():
    """Keep a core busy as a peer that trains does, in a thread beside the event loop."""
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    samples, labels = torch.randn(16, 64), torch.randint(0, 10, (16,))
    while True:
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(samples), labels).backward()
        optimiser.step()


async def answer(kind, payload_bytes, *, train):
    def where(peer_id, addresses):
        print(json.dumps([peer_id, list(addresses)]), flush=True)

    async with trio.open_nursery() as nursery:
        if train:
            nursery.start_soon(trio.to_thread.run_sync, train_for_ever)
        nursery.start_soon(KINDS[kind][0], payload_bytes, where)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("payload_bytes", type=int)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--switch-interval", type=float, default=sys.getswitchinterval())
    arguments = parser.parse_args()
    sys.setswitchinterval(arguments.switch_interval)
    sys.exit(trio.run(lambda: answer(arguments.kind, arguments.payload_bytes, train=arguments.train)))

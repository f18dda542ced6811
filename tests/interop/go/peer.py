"""A go-libp2p host for tests: takes a JSON object a line, {"do": NAME, ...}, and answers each with one.

It runs in a process of its own, because its package has the name of py-libp2p's.
"""

import asyncio
import json
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / ".packages"))

from libp2p.crypto import KeyType, crypto_generate_keypair
from libp2p.main import (
    DefaultTransports,
    Host,
    Identity,
    ListenAddrStrings,
    MuxerYamux,
    Ping,
    SecurityNoise,
)
from libp2p.peer import addr_info_from_p2p_addr
from libp2p.ping import PingService
from libp2p.utils import GoString

PROTOCOL = b"/gossipfl/exchange/1.0.0"
PREAMBLE = struct.Struct("<4sHHIIQ")
OFFERED_BYTES = 131_072
CLEARANCE = 8


def header_end(data):
    """Where the body of a frame begins."""
    return PREAMBLE.size + PREAMBLE.unpack(data[: PREAMBLE.size])[3]


def is_offered(data):
    """Whether the body of a frame may be sent only once it has been cleared."""
    return PREAMBLE.unpack(data[: PREAMBLE.size])[-1] > OFFERED_BYTES


async def read_frame(stream, clearance=b""):
    """Return the next frame's bytes, or none at the end; clear its body if that is offered."""
    data, is_cleared = b"", not clearance
    wanted = PREAMBLE.size
    while len(data) < wanted:
        count, piece = await stream.read_bytes(wanted - len(data))
        if not count:
            return b""
        data += piece[:count]
        if len(data) == PREAMBLE.size:
            wanted = header_end(data)
        if len(data) == wanted == header_end(data):
            wanted += PREAMBLE.unpack(data[: PREAMBLE.size])[-1]
            if not is_cleared and is_offered(data):
                is_cleared = True
                await stream.write(clearance)
    return data


class Peer:
    """What can be asked of the host; frames are in files, because they are large."""

    def __init__(self, host):
        self.host = host
        self.reply = self.clearance = b""

    async def answer(self, stream):
        """Answer each frame with the one that `listen` named, until the other side ends."""
        try:
            while await read_frame(stream, self.clearance):
                await stream.write(self.reply)
        except ValueError:  # the end of the stream, too
            pass
        await stream.close()

    async def listen(self, reply, clearance):
        self.reply, self.clearance = Path(reply).read_bytes(), Path(clearance).read_bytes()
        return {}

    async def dial(self, address):
        info = addr_info_from_p2p_addr(address)
        await self.host.connect(info)
        return {"known": list(self.host.peer_store.addrs(info.id.string.encode()))}

    async def exchange(self, address, frame, reply):
        info = addr_info_from_p2p_addr(address)
        await self.host.connect(info)
        stream = await self.host.new_stream(info.id, PROTOCOL)
        request = Path(frame).read_bytes()
        body = header_end(request) if is_offered(request) else len(request)
        await stream.write(request[:body])
        data = await read_frame(stream)
        if body < len(request) and PREAMBLE.unpack(data[: PREAMBLE.size])[2] == CLEARANCE:
            await stream.write(request[body:])
            data = await read_frame(stream)
        await stream.close()  # both halves: the bindings know of no other way
        Path(reply).write_bytes(data)
        return {"bytes": len(data)}

    async def negotiate(self, address, protocol):
        info = addr_info_from_p2p_addr(address)
        await self.host.connect(info)
        stream = await self.host.new_stream(info.id, protocol.encode())
        await stream.close()
        return {}

    async def ping(self, address, times):
        info = addr_info_from_p2p_addr(address)
        await self.host.connect(info)
        results = []
        async for result in PingService(self.host).ping(info.id.bytes):  # text would be no id
            if result.error:
                return {"error": result.error}
            results.append(result.rtt)
            if len(results) == times:
                return {"nanoseconds": results}
        return {"error": "no answer"}


async def main():
    """Serve requests until standard input ends."""
    private, _ = crypto_generate_keypair(KeyType.Ed25519, -1)
    host = Host(
        Identity(private),
        ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
        DefaultTransports(),
        SecurityNoise(),
        MuxerYamux(GoString.new(b"/yamux/1.0.0")),
        Ping(True),
    )
    peer = Peer(host)
    host.set_stream_handler(PROTOCOL, peer.answer)
    tell({"id": host.id.string, "addresses": [f"{each}/p2p/{host.id.string}" for each in host.addrs]})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        try:
            tell(await getattr(peer, request.pop("do"))(**request))
        except ValueError as error:
            tell({"error": str(error)})


def tell(answer):
    """Write an answer as a line."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

"""Programs on other implementations of libp2p: they take one request a line, and give one answer a line."""

import json
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

HERE = Path(__file__).parent

needs_javascript = pytest.mark.skipif(
    shutil.which("node") is None or not (HERE / "js/node_modules/libp2p").is_dir(),
    reason="js-libp2p is not installed: it takes Node.js 20 or later, and `npm ci --prefix tests/interop/js`",
)
needs_go = pytest.mark.skipif(
    not (HERE / "go/.packages/libp2p").is_dir(),
    reason="go-libp2p is not installed: it takes Python 3.11 on Linux, and "
    "`pip install --no-deps --target tests/interop/go/.packages -r tests/interop/go/requirements.txt`",
)


class Program:
    """A running program with a host of its own.

    Attributes
    ----------
    peer_id : str
    addresses : list of str
    """

    def __init__(self, process):
        self._process = process
        self._received = b""

    async def ask(self, request, **parameters):
        """Return what the program answers to a request; what failed there is in ``error``."""
        await self._process.stdin.send_all(json.dumps({"do": request, **parameters}).encode() + b"\n")
        return await self._read()

    def kill(self):
        """End the program as a power cut would."""
        self._process.kill()

    async def _read(self):
        while b"\n" not in self._received:
            data = await self._process.stdout.receive_some()
            assert data, "the program ended; what it said is on standard error"
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)


@asynccontextmanager
async def running(*command):
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        program = Program(process)
        started = await program._read()
        program.peer_id, program.addresses = started["id"], started["addresses"]
        yield program
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()


def in_javascript():
    """A js-libp2p host for the time of an ``async with`` block."""
    return running("node", str(HERE / "js/peer.js"))


def in_go():
    """A go-libp2p host, likewise."""
    return running(sys.executable, str(HERE / "go/peer.py"))

"""A host without descriptors: it pauses, says so in a line, and goes on when there are some again."""

import os
import resource
import socket
from contextlib import suppress
from pathlib import Path

from .helpers import assert_serves, in_trio, serving_host, tcp_address, until


@in_trio
async def test_a_host_out_of_descriptors_pauses_and_says_so_in_a_line(caplog):
    """It used to print 118 kB of tracebacks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers = []
    async with serving_host() as host:
        clients = [socket.socket() for _ in range(8)]
        for client in clients:
            client.setblocking(False)
        try:
            taken = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
            resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 1, hard))
            with suppress(OSError):
                while True:
                    fillers.append(os.dup(0))
            for client in clients:
                client.connect_ex(tcp_address(host))
            await until(lambda: "cannot accept connections for the moment" in caplog.text)
        finally:
            for each in fillers:
                os.close(each)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for client in clients:
                client.close()
        assert "Traceback" not in caplog.text
        assert len(caplog.text) < 1_000
        await assert_serves(host)

"""A peer in a process of its own: prints where it is, answers exchanges until Ctrl-C, then exits with 0."""

import json
import signal
import sys

import trio

from tests.gossipfl.network.helpers import serving_host


async def main(size):
    async with serving_host(size=size) as host, trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            print(json.dumps([host.peer_id, host.addresses]), flush=True)
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))

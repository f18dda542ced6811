"""A peer inside an asyncio program: it learns in the background while the program answers questions.

Run it twice, in two terminals; the second one is told where the first one is::

    python examples/asyncio_peer.py --home alice --index 0
    python examples/asyncio_peer.py --home bob --index 1 --bootstrap ADDRESS_THAT_ALICE_PRINTED

Ctrl-C ends it; it leaves a checkpoint and goes on from there next time.
"""

import argparse
import asyncio
from contextlib import suppress
from pathlib import Path

from gossipfl import Peer, PeerSettings, aio


async def answer_questions(peer: Peer, seconds: float, pause: float) -> None:
    """Stand in for your own asyncio program, say a web server: it uses the newest model, with no network."""
    test = peer.task.data()
    questions = 0
    async with asyncio.timeout(seconds):
        while True:
            sample = test.test_inputs[questions % len(test.test_inputs)]
            digit = int(peer.model()(sample[None]).argmax())
            questions += 1
            status = peer.status()
            print(f"question {questions}: it is a {digit} (age {status.age}, {status.neighbours} neighbours)")
            await asyncio.sleep(pause)


async def main(home: Path, index: int, bootstrap: list[str], seconds: float, pause: float) -> None:
    """Run a peer, and the program beside it."""
    settings = PeerSettings.model_validate(
        {
            "task": {"options": {"partition": "shards:5", "peers": 2, "index": index}},
            "exchange": {"period": 0.2, "patience": 1.0},
            "network": {"bootstrap": bootstrap},
            "runtime": {"number": index},
        }
    )
    # Starting raises the peer's named error if it cannot start; leaving the block stops it, and waits for its
    # checkpoint. Should the peer fail meanwhile, the block is cancelled and its error comes out here.
    async with aio.running(Peer(home, settings=settings)) as peer:
        print("listening at", *peer.status().addresses, flush=True)
        with suppress(TimeoutError):
            await answer_questions(peer, seconds, pause)
    print(f"stopped at age {peer.status().age}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path("asyncio-peer"))
    parser.add_argument(
        "--index", type=int, default=0, choices=(0, 1), help="which half of the data is its own"
    )
    parser.add_argument("--bootstrap", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between two questions")
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(
            main(arguments.home, arguments.index, arguments.bootstrap, arguments.seconds, arguments.pause)
        )

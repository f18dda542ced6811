"""Two peers inside one trio program learn handwritten digits from each other.

Alice holds half of the digits' classes and Bob the other half, so alone neither can know more than half of
the test samples. Run it::

    python examples/trio_peer.py --age 300

The peers' directories are left in ``trio-peers``; a second run resumes where the first one ended.
"""

import argparse
from pathlib import Path

import trio

from gossipfl import Peer, PeerSettings


def settings(index: int, *, bootstrap: tuple[str, ...] = ()) -> PeerSettings:
    """Every setting has a default; ``gossipfl peer init --help`` lists them all."""
    return PeerSettings.model_validate(
        {
            # Which task, and which part of its data is this peer's own.
            "task": {
                "name": "digits",
                "options": {"partition": "shards:5", "peers": 2, "index": index},
            },
            "training": {"learning_rate": 0.5},
            # Ten exchanges a second suit two peers on one machine; between machines, take a second or more.
            "exchange": {"period": 0.1, "merges_per_training": 1},
            # Whom to ask first. More peers are learned from them.
            "network": {"bootstrap": list(bootstrap)},
            "runtime": {"number": index},
        }
    )


async def main(directory: Path, age: int) -> list[float]:
    """Run both peers until their models are old enough."""
    async with trio.open_nursery() as nursery:
        alice = Peer(directory / "alice", settings=settings(0))
        nursery.start_soon(alice.run)
        await alice.ready.wait()  # from here on it is reachable, and status() and model() answer

        bob = Peer(directory / "bob", settings=settings(1, bootstrap=alice.status().addresses))
        nursery.start_soon(bob.run)
        await bob.ready.wait()

        # Your own program runs here, beside the peers, in the same event loop.
        while min(alice.status().age, bob.status().age) < age:
            await trio.sleep(0.2)

        accuracies = []
        for name, peer in (("Alice", alice), ("Bob", bob)):
            model = peer.model()  # an ordinary torch module, for answers on the spot
            test = peer.task.data()
            right = model(test.test_inputs).argmax(dim=1) == test.test_targets
            accuracies.append(float(right.float().mean()))
            print(f"{name}: model of age {peer.status().age}, {accuracies[-1]:.1%} of the test digits right")

        alice.stop()  # each leaves a checkpoint; then the nursery ends
        bob.stop()
    return accuracies


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--age", type=int, default=300, help="stop when both models are that old")
    parser.add_argument("--directory", type=Path, default=Path("trio-peers"))
    arguments = parser.parse_args()
    trio.run(main, arguments.directory, arguments.age)

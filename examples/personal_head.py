"""Share a model's body and keep its head: two peers who name the same things differently.

Both see handwritten digits, and Bob labels them in his own way (a nine is his zero). The first layers, which
learn what digits look like, are exchanged; the last layer, which gives names, stays each peer's own. A share
policy of one line says so::

    Task(..., share=SharePolicy(local=("head.*",)))

Run it::

    python examples/personal_head.py --age 300
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import trio
from torch import Tensor, nn

from gossipfl import Dataset, Peer, PeerSettings, SharePolicy, Task
from gossipfl.tasks.digits import load_digits


class BodyAndHead(nn.Module):
    """The body says what it sees, the head how that is called."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """Give a score for each name."""
        return self.head(self.body(pixels))


def half_of_the_digits(half: int, naming: Callable[[Tensor], Tensor]) -> Dataset:
    """Read one peer's half, named its own way."""
    pooled = load_digits()
    own = slice(half, None, 2)
    return Dataset(
        train_inputs=pooled.train_inputs[own],
        train_targets=naming(pooled.train_targets[own]),
        test_inputs=pooled.test_inputs,
        test_targets=naming(pooled.test_targets),
    )


def task(half: int, naming: Callable[[Tensor], Tensor]) -> Task:
    """Make one peer's task. What is not shared need not be alike, or even have the same shape."""
    return Task(
        name="digits with personal names",
        model=BodyAndHead,
        data=partial(half_of_the_digits, half, naming),
        share=SharePolicy(local=("head.*",)),
    )


async def main(directory: Path, age: int) -> dict[str, float]:
    """Let both learn, and look at what they came to share."""
    alice = task(0, naming=lambda digits: digits)
    bob = task(1, naming=lambda digits: 9 - digits)
    layout = alice.layout
    print(f"{layout.shared_size} of {layout.size} numbers are shared; the other ones stay where they are")

    quick = {"exchange": {"period": 0.1, "merges_per_training": 1}, "training": {"learning_rate": 0.5}}
    accuracies = {}
    async with trio.open_nursery() as nursery:
        # A task object can be handed over directly, where no other process has to find it by name.
        settings = PeerSettings.model_validate({**quick, "runtime": {"number": 0}})
        first = Peer(directory / "alice", settings=settings, task=alice)
        nursery.start_soon(first.run)
        await first.ready.wait()
        others = {"bootstrap": list(first.status().addresses)}
        settings = PeerSettings.model_validate({**quick, "runtime": {"number": 1}, "network": others})
        second = Peer(directory / "bob", settings=settings, task=bob)
        nursery.start_soon(second.run)
        await second.ready.wait()

        while min(first.status().age, second.status().age) < age:
            await trio.sleep(0.2)

        for name, peer in (("Alice", first), ("Bob", second)):
            test = peer.task.data()
            right = peer.model()(test.test_inputs).argmax(dim=1) == test.test_targets
            accuracies[name] = float(right.float().mean())
            print(f"{name}: {accuracies[name]:.1%} right, by the names {name} uses")

        # Bob's body under Alice's head speaks her language: they share what they see, not what they call it.
        chimera = second.model()
        chimera.head.load_state_dict(first.model().head.state_dict())
        test = alice.data()
        right = chimera(test.test_inputs).argmax(dim=1) == test.test_targets
        accuracies["Bob's body, Alice's head"] = float(right.float().mean())
        print(f"Bob's body with Alice's head: {float(right.float().mean()):.1%} right, by Alice's names")
        first.stop()
        second.stop()
    return accuracies


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--age", type=int, default=300, help="stop when both models are that old")
    parser.add_argument("--directory", type=Path, default=Path("personal-peers"))
    arguments = parser.parse_args()
    trio.run(main, arguments.directory, arguments.age)

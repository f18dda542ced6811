"""Run the code of a tutorial and compare what it prints with what the page says.

python docs/run_tutorial.py docs/tutorials/hospitals.md [--into FOLDER]

Blocks marked ``python`` run one after another in one namespace. A line that begins with
``$ gossipfl topology`` in a block marked ``console`` runs as a command. A ``text`` block, or the rest of a
console block, is what must be printed. Files are written into the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from topology.cli import app

COMMAND = "$ gossipfl topology "


@dataclass(frozen=True)
class Difference:
    """Something printed that is not what the page says."""

    code: str
    expected: str
    came: str


def blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def run_command(line: str) -> str:
    result = CliRunner().invoke(app, shlex.split(line.removeprefix(COMMAND)), env={"COLUMNS": "120"})
    if result.exit_code:
        raise RuntimeError(f"{line}: {result.output}")
    return result.output


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def run(page: Path, folder: Path) -> list[Difference]:
    """Run every block of `page` in `folder` and return where it prints something else."""
    found: list[Difference] = []
    namespace: dict[str, object] = {"__name__": "tutorial"}
    printed, code = "", ""
    with contextlib.chdir(folder):
        for kind, body in blocks(page.read_text(encoding="utf-8")):
            if kind == "python":
                out = io.StringIO()
                with contextlib.redirect_stdout(out):
                    exec(compile(body, page.name, "exec"), namespace)
                printed, code = out.getvalue(), body
            elif kind == "console":
                code, _, expected = body.partition("\n")
                if code.startswith(COMMAND):
                    came = run_command(code)
                    if tidy(came) != tidy(expected):
                        found.append(Difference(code, tidy(expected), tidy(came)))
            elif kind == "text" and tidy(body) != tidy(printed):
                found.append(Difference(code, tidy(body), tidy(printed)))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--into", type=Path, default=Path(os.curdir), help="where its files are written")
    chosen = parser.parse_args()
    differences = run(chosen.page.resolve(), chosen.into)
    for difference in differences:
        print(f"--- {difference.code}\nexpected:\n{difference.expected}\ncame:\n{difference.came}\n")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())

"""A script for Slurm's ``sbatch``: a job array that does the parts of a sweep."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sims.errors import InvalidSweep
from sims.sweeping.callbacks import callbacks_for
from sims.sweeping.checking import check
from sims.sweeping.directory import SweepDirectory, sweep_to_run
from sims.sweeping.means import Means
from sims.sweeping.parts import parts_of
from sims.sweeping.points import points_of
from sims.sweeping.settings import Sweep
from sims.sweeping.slurm_options import CHECKPOINT_SECONDS, NO_OPTIONS, largest_array, megabytes_of
from sims.sweeping.workers import Room

__all__ = ["array_script", "script_of"]

# What follows a line break would be a command; a backslash changes how sbatch reads the name of a log.
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\\]")

_MEMORY = {"mem", "mem-per-cpu", "mem-per-gpu"}  # of which sbatch takes one

_TEMPLATE = """\
#!/bin/bash
# {name}: a job array for {parts}. Submit it with sbatch, and again to go on: what has finished is kept.
# Afterwards: {command} --resume --out {out}
# writes the dataset of all parts, and does what is missing.
{options}
set -eu
{environment}
exec {command} --out {out} --part {part}{means}
"""


def script_of(
    sweep: Sweep | Mapping[str, Any] | Path | str | None,
    *,
    out: Path | str,
    jobs: int | None = None,
    resume: bool = False,
    means: Means,
    slurm: Mapping[str, str] = NO_OPTIONS,
    prepare: bool = True,
    on_checked: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Check a sweep, make its directory, and return the script that does its parts there.

    Parameters
    ----------
    sweep, out, jobs, resume
        As for `sims.sweep`.
    means : Means
        Of each run.
    slurm : mapping
        Options of sbatch.
    prepare : bool
        Whether to make the directory; without it nothing is written.
    on_checked : callable
        Told how many points have been checked, of how many.

    Raises
    ------
    InvalidSweep, InvalidScenario, InvalidCallback, NotSimulable, TaskError, SweepDirectoryError
        As `sims.sweep`.
    """
    directory = SweepDirectory(Path(out))
    settings = sweep_to_run(sweep, directory, resume=resume)
    means = replace(means, callbacks=callbacks_for(settings, means.callbacks))
    points = points_of(settings)
    checked = check(
        settings, points, room=Room(size=None), on_checked=lambda done: on_checked(done, len(points))
    )
    memory = max((entry.memory.elsewhere.total for entry in checked if entry.memory is not None), default=0)
    if memory == 0:
        raise InvalidSweep("no point of the sweep can be simulated", got=checked[0].refusal)
    text = array_script(
        settings.name,
        parts=len(parts_of(settings)),
        out=directory.path,
        memory=memory,
        means=means,
        at_once=jobs,
        most=largest_array(),
        options=slurm,
    )
    if prepare:
        with directory.opened(settings, resume=resume):
            (directory.path / "parts").mkdir(exist_ok=True)
    return text


def array_script(
    name: str,
    *,
    parts: int,
    out: Path,
    memory: int,
    means: Means,
    at_once: int | None = None,
    most: int | None = None,
    options: Mapping[str, str] = NO_OPTIONS,
) -> str:
    """Write the script.

    Parameters
    ----------
    name : str
        Of the sweep.
    parts : int
        How many there are.
    out : Path
        Directory of the sweep, on a disk that all machines share.
    memory : int
        Bytes that the largest run needs.
    means : Means
        Of each run.
    at_once : int, optional
        How many jobs at a time.
    most : int, optional
        How many jobs an array may have. Where there are more parts, each job does several, one after another.
    options : mapping
        Further options of sbatch.

    Raises
    ------
    InvalidSweep
        If a path has line breaks.
    """
    out = out.absolute()
    if _CONTROL.search(f"{out}{sys.executable}"):
        raise InvalidSweep(
            "a script cannot name this directory: its comments and options are of one line",
            expected="a path without line breaks, other control characters and backslashes",
            got=repr(str(out)),
            remedy="Choose another --out.",
        )
    limit = "" if at_once is None else f"%{at_once}"
    each = -(-parts // (most or parts))
    jobs = -(-parts // each)
    settings = {
        "job-name": "gossipfl-sweep",
        "array": f"1-{jobs}{limit}",
        "cpus-per-task": str(means.threads),
        **({} if _MEMORY & options.keys() else {"mem": f"{megabytes_of(memory)}M"}),
        **({"gpus": "1"} if means.is_card else {}),
        "output": shlex.quote(f"{str(out).replace('%', '%%')}/parts/%A_%a.log"),
        "open-mode": "append",  # a job that is put into the queue again has the same log
        "signal": f"B:INT@{CHECKPOINT_SECONDS}",
        **options,
    }
    given = f" --threads {means.threads} --device {shlex.quote(means.device)} --compile {means.compile_when}"
    given += "".join(f" --log {shlex.quote(name)}" for name in means.callbacks)
    return _TEMPLATE.format(
        name=" ".join(name.split()),
        parts=f"{parts} parts" if each == 1 else f"{parts} parts, {each} a job",
        part=_part_of_job(each),
        options="\n".join(f"#SBATCH --{key}={value}" for key, value in settings.items()),
        environment="\n".join(f"export {key}={value}" for key, value in means.environment.items()),
        command=f"{shlex.quote(sys.executable)} -m gossipfl sim sweep",
        out=shlex.quote(str(out)),
        means=given,
    )


def _part_of_job(each: int) -> str:
    index = "SLURM_ARRAY_TASK_ID"
    return f'"${index}"' if each == 1 else f'"$((({index} - 1) * {each} + 1))-$(({index} * {each}))"'

"""Options of Slurm's job arrays: sbatch's own, by their long names."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from sims.errors import InvalidSweep

__all__ = ["CHECKPOINT_SECONDS", "NO_OPTIONS", "largest_array", "megabytes_of", "minutes_of", "options_of"]

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})

CHECKPOINT_SECONDS = 120
"""Time before the end of a job at which it is told to write checkpoints."""

_NAME = re.compile(r"[a-z][a-z-]*")
_VALUE = re.compile(r"[^\s'\"\\#]*")  # after "#" a line of options ends
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?")
_OWN = {
    "array": "--jobs says how many runs there are at a time",
    "cpus-per-task": "--threads says how many cores a run has",
    "error": "logs are in the directory of the sweep",
    "open-mode": "logs are in the directory of the sweep",
    "output": "logs are in the directory of the sweep",
    "signal": "runs are told before their time ends, so that they write checkpoints",
    "wrap": "what a job does is a part of the sweep",
}
_ARRAY_SIZE = re.compile(r"^MaxArraySize\s*=\s*(\d+)$", re.MULTILINE)
_USUAL_ARRAY_SIZE = 1001  # Slurm's own, unless its administrators chose another
_ASK_SECONDS = 10.0


def options_of(given: Iterable[str]) -> dict[str, str]:
    """Read options.

    Parameters
    ----------
    given : iterable of str
        Each ``name=value``, or several with commas between.

    Raises
    ------
    InvalidSweep
        If one is no option, or is not the user's to choose.

    Examples
    --------
    >>> options_of(["partition=short,time=2:00:00", "account=physics"])
    {'partition': 'short', 'time': '2:00:00', 'account': 'physics'}
    """
    options = {}
    for text in (part for each in given for part in re.split(r",(?=[a-z-]+=)", each)):
        name, _, value = text.partition("=")
        if not _NAME.fullmatch(name) or not value or not _VALUE.fullmatch(value):
            raise InvalidSweep(
                "an option of Slurm is not understood",
                expected="an option of sbatch by its long name, without spaces, such as partition=short",
                got=text,
            )
        for own, why in _OWN.items():
            if own.startswith(name):  # sbatch takes abbreviations; no other option of it begins so
                raise InvalidSweep(
                    f"the option {own} of Slurm is set by the sweep",
                    got=name if name != own else None,
                    remedy=f"{why[0].upper()}{why[1:]}.",
                )
        options[name] = value
    if "time" in options:
        minutes_of(options["time"])
    return options


def largest_array() -> int:
    """Number of jobs that an array may have: as Slurm's ``scontrol`` says here, else as is usual."""
    try:
        said = subprocess.run(
            ["scontrol", "show", "config"],  # noqa: S607 - whichever is on the path, as sbatch will be
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASK_SECONDS,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        said = ""
    found = _ARRAY_SIZE.search(said)
    # Indices are below the size, and ours begin with 1.
    return max(1, (int(found[1]) if found else _USUAL_ARRAY_SIZE) - 1)


def megabytes_of(memory: int) -> int:
    """Mebibytes to ask for, a fifth above an estimate: what needs more than it asked for is killed."""
    return math.ceil(memory * 1.2 / 2**20)


def minutes_of(time: str) -> int:
    """Minutes of a time limit as sbatch takes it, rounded up.

    Raises
    ------
    InvalidSweep

    Examples
    --------
    >>> minutes_of("90"), minutes_of("2:00:00"), minutes_of("1-12"), minutes_of("0:30")
    (90, 120, 2160, 1)
    """
    found = _TIME.fullmatch(time)
    if found is None:
        raise InvalidSweep(
            "a time limit of Slurm is not understood",
            expected="minutes, hours:minutes:seconds, or days-hours[:minutes[:seconds]]",
            got=time,
        )
    days, first, second, third = (int(found[name] or 0) for name in ("days", "first", "second", "third"))
    if found["days"] is not None:
        seconds = ((days * 24 + first) * 60 + second) * 60 + third
    elif found["third"] is not None:
        seconds = (first * 60 + second) * 60 + third
    else:
        seconds = first * 60 + second
    return -(-seconds // 60)

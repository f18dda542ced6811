"""Traces of real networks, read from files: round-trip times, and online sessions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sims.errors import MalformedTrace
from sims.scenario.network import MOST_MBIT
from topology.arrays import load_npy, opened_npz
from topology.text import fields_of, number_of, numbers_of, read_text

__all__ = ["TICKS_PER_SECOND", "read_bandwidths", "read_round_trips", "read_sessions", "ticks"]

TICKS_PER_SECOND = 1_000_000_000
NETWORKS = Path(__file__).parents[2] / "scenarios" / "networks"
"""Measured and modelled networks that come with the simulator."""


def ticks(seconds: float) -> int:
    """Whole ticks in a number of seconds."""
    return int(np.floor(seconds * TICKS_PER_SECOND + 0.5))


def read_round_trips(file: Path) -> NDArray[np.float64]:
    """Read round-trip times in milliseconds, shape ``[hosts, hosts]``.

    Raises
    ------
    MalformedTrace
    """
    return _matrix(file, "network.delay.file", array="rtt", holding="round-trip times", unit="milliseconds")


def read_bandwidths(file: Path) -> NDArray[np.float64]:
    """Read speeds from host to host in Mbit/s, shape ``[hosts, hosts]``; a host to itself has no limit.

    Raises
    ------
    MalformedTrace
    """
    speeds = _matrix(
        file, "network.links.file", array="bandwidth", holding="speeds", unit="Mbit/s", own=np.inf
    )
    limited = speeds[~np.eye(len(speeds), dtype=np.bool_)]
    if (limited <= 0).any():
        raise MalformedTrace(
            f"network.links.file: over some paths of {file} nothing can be sent",
            expected="speeds above 0",
            got=f"{limited.min():g} Mbit/s",
        )
    if (limited > MOST_MBIT).any():
        raise MalformedTrace(
            f"network.links.file: no path is as fast as some of {file}",
            expected=f"at most {MOST_MBIT:,.0f} Mbit/s",
            got=f"{limited.max():g}",
            remedy="Speeds are in Mbit/s: divide bits per second by 1,000,000.",
        )
    return speeds


def _matrix(
    file: Path, key: str, *, array: str, holding: str, unit: str, own: float | None = None
) -> NDArray[np.float64]:
    """Read numbers of pairs of hosts from a file, or from one that comes with the simulator.

    With ``own`` that is what hosts have to themselves, whatever the file says.
    """
    file = NETWORKS / f"{file.name}.npz" if not file.suffix and not file.exists() else file
    try:
        matrix = _numbers(file, array)
    except FileNotFoundError as error:
        known = ", ".join(sorted(each.stem for each in NETWORKS.glob("*.npz")))
        raise MalformedTrace(
            f"{key}: there is no {file}",
            expected=f"a file, its path relative to the scenario's folder, or one of {known}",
        ) from error
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise MalformedTrace(
            f"{key}: {file} holds no {holding} ({error})",
            expected=f"an .npz with an array {array!r}, a .npy, or a .csv without header; square, {unit}",
        ) from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise MalformedTrace(f"{key}: {file} is not square", expected="[hosts, hosts]", got=matrix.shape)
    if own is not None:
        np.fill_diagonal(matrix, 0.0)
    wrong = ~(np.isfinite(matrix) & (matrix >= 0))
    if wrong.any():
        i, j = (int(place) for place in np.argwhere(wrong)[0])
        raise MalformedTrace(
            f"{key}: {file} has negative or missing {holding}",
            expected="numbers of at least 0",
            got=f"{matrix[i, j]:g} from host {i} to host {j}",
            remedy="Fill or drop the hosts concerned first.",
        )
    if own is not None:
        np.fill_diagonal(matrix, own)
    return matrix


def _numbers(file: Path, array: str) -> NDArray[np.float64]:
    if file.suffix not in {".npz", ".npy"}:
        return numbers_of(read_text(file))
    if file.suffix == ".npz":
        with opened_npz(file) as arrays:
            read = arrays[array]
    else:
        read = load_npy(file)
    if read.dtype.kind not in "iuf":
        raise ValueError(f"of type {read.dtype}")
    return np.array(read, dtype=np.float64)


def read_sessions(file: Path, n: int) -> list[tuple[int, int, int]]:
    """Read recorded sessions: node, start and end in ticks, in the order of the file.

    Raises
    ------
    MalformedTrace
    """
    try:
        text = read_text(file)
    except (OSError, UnicodeDecodeError) as error:
        raise MalformedTrace(f"churn.process.file: {file} cannot be read: {error}") from error
    lines = text.splitlines()
    if not lines or fields_of(lines[0]) != ["node", "start", "end"]:
        raise MalformedTrace(
            f"{file}:1: not an availability trace",
            expected="the header node,start,end",
            got=repr(lines[0]) if lines else "an empty file",
        )
    sessions: list[tuple[int, int, int]] = []
    last_end: dict[int, float] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            node_text, start_text, end_text = fields_of(line)
            node, start, end = int(node_text), number_of(start_text), number_of(end_text)
        except ValueError as error:
            raise MalformedTrace(
                f"{file}:{number}: not a session", expected="NODE,START,END in seconds", got=repr(line)
            ) from error
        if not 0 <= node < n:
            raise MalformedTrace(f"{file}:{number}: no such node", expected=f"0 … {n - 1}", got=node)
        if not 0 <= start < end < 1e9:
            raise MalformedTrace(f"{file}:{number}: a session ends after it starts", got=(start, end))
        if start < last_end.get(node, 0.0):
            raise MalformedTrace(
                f"{file}:{number}: sessions of node {node} overlap",
                expected=f"a start at or after {last_end[node]}",
                got=start,
                remedy="List each node's sessions in order of time.",
            )
        last_end[node] = end
        sessions.append((node, ticks(start), ticks(end)))
    return sessions

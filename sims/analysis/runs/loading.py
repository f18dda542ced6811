"""Loading of runs: directories of the simulator, homes of peers, or directories of either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sims.analysis.errors import NoRuns
from sims.analysis.runs.recorded import is_home, read_recorded
from sims.analysis.runs.run import Run
from sims.analysis.runs.simulated import is_simulated, read_simulated

__all__ = ["load_runs"]

_DEEPEST = 4


def load_runs(
    paths: Sequence[Path | str], *, retrace: bool = True, on_run: Callable[[Path], None] | None = None
) -> list[Run]:
    """Read every run that the paths name or hold.

    Parameters
    ----------
    paths : sequence of path
        Each the directory of a simulator's run, the home of a peer, or a directory that holds such ones, up to
        four levels down. Homes side by side in one directory are one network, as are homes that were named
        themselves.
    retrace : bool
        As for `sims.analysis.runs.recorded.read_recorded`.
    on_run : callable, optional
        Told of every run before it is read.

    Returns
    -------
    list of Run
        In the order named; runs below one directory sorted by name.

    Raises
    ------
    NoRuns
        If a path does not exist, or holds no run.
    SimulationError, HomeError
        If a run cannot be read.
    """
    if not paths:
        raise NoRuns("no runs were named", expected="directories of `gossipfl sim run --out`, or of peers")
    found: dict[tuple[bool, Path], list[Path]] = {}  # by whether it is simulated, and where it is
    for path in map(Path, paths):
        if not path.is_dir():
            raise NoRuns(
                f"{path} is not a directory",
                expected="a directory of `gossipfl sim run --out`, of a peer, or of several",
                remedy="Check the path.",
            )
        directories = _below(path, _DEEPEST)
        if not directories:
            raise NoRuns(
                f"{path} holds no run",
                expected="a file scenario.toml (a simulation) or peer.toml (a peer) in it, or below it",
                remedy="Name the directory given to `gossipfl sim run --out` or `gossipfl demo --out`.",
            )
        for directory in directories:
            simulated, place = is_simulated(directory), directory.resolve()
            known = found.setdefault((simulated, place if simulated else place.parent), [])
            if place not in [each.resolve() for each in known]:
                known.append(directory)
    runs = []
    for (simulated, place), directories in found.items():
        path = directories[0] if simulated else place
        if on_run is not None:
            on_run(path)
        runs.append(read_simulated(path) if simulated else read_recorded(directories, retrace=retrace))
    return runs


def _below(directory: Path, levels: int) -> list[Path]:
    """Directories of runs and homes of peers at or below a directory, none inside another."""
    if is_simulated(directory) or is_home(directory):
        return [directory]
    if not levels:
        return []
    if (directory / "sweep.toml").is_file() and (directory / "runs").is_dir():
        directory = directory / "runs"  # leaving out the tuning trials beside it
    inner = sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [found for path in inner for found in _below(path, levels - 1)]

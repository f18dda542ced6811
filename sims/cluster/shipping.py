"""Files that a scenario names, carried to machines that share no disk with this one."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from sims.errors import InvalidScenario

__all__ = ["LARGEST_FILE", "Shipment", "clear_machines", "paths_in", "place_of", "relocated", "shipment_of"]

LARGEST_FILE = 64 * 2**20
"""Bytes; larger files are expected on every machine, under the same path."""

_CLEAR_SECONDS = 10.0
_MOST_FILES = 2000
_MOST_BYTES = 256 * 2**20
# Keys and passwords, by the names they usually have; whoever needs one there names it in the scenario.
_SECRET = re.compile(r"\.|id_|credential|secret|.*\.(key|pem|p12|pfx|kdbx)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Shipment:
    """Contents of files.

    Parameters
    ----------
    digest : str
        Names the contents.
    places : mapping
        Path on this machine, of a file or of the directory of modules, to a path relative to where it is unpacked.
    contents : mapping
        Relative path to bytes.
    """

    digest: str
    places: Mapping[str, str]
    contents: Mapping[str, bytes]

    def unpack(self, directory: Path) -> dict[str, str]:
        """Write the files into a directory of their own, once for all processes of this machine.

        Returns
        -------
        dict
            Path on the machine they are from, to the one here.
        """
        here = directory / self.digest
        if not here.exists():
            with tempfile.TemporaryDirectory(dir=directory) as building:
                whole = Path(building, "whole")
                for name, content in self.contents.items():
                    file = whole / name
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(content)
                whole.mkdir(exist_ok=True)
                try:
                    whole.rename(here)
                except OSError:
                    if not here.is_dir():  # else another process was first
                        raise
        return {path: str(here / place) for path, place in self.places.items()}


def place_of(journey: str) -> Path:
    """Directory on this machine, of nobody else's, for what belongs to a sweep or a run of this name."""
    place = Path(tempfile.gettempdir(), f"gossipfl-{journey}")
    place.mkdir(mode=0o700, exist_ok=True)
    return place


def clear(journey: str) -> None:
    """Remove what a sweep or a run left on this machine."""
    shutil.rmtree(place_of(journey), ignore_errors=True)


def clear_machines(ray: ModuleType, journey: str) -> None:
    """Remove it on all machines of a cluster, as far as they answer."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remove = ray.remote(clear)
    cleared = []
    for node in ray.nodes():
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            cleared.append(remove.options(num_cpus=0, scheduling_strategy=there).remote(journey))
    ray.wait(cleared, num_returns=len(cleared), timeout=_CLEAR_SECONDS)


def paths_in(table: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """Return the directory of modules of a scenario's table, and the files that it names by absolute path."""
    modules = table.get("modules")
    return modules, tuple(sorted({path for path in _texts(table) if path != modules and _is_file(path)}))


def shipment_of(modules: str | None, named: Sequence[str]) -> Shipment:
    """Read files, and a directory of modules.

    Of the directory go all Python files, those in folders too, and other files that stand directly in it.

    Parameters
    ----------
    modules : str, optional
    named : sequence of str
        As `paths_in` returns them.

    Raises
    ------
    InvalidScenario
        If these are too many, or too large together.
    """
    places: dict[str, str] = {}
    contents: dict[str, Path] = {}
    if modules is not None:
        places[modules] = "modules"
        contents |= {f"modules/{name}": file for name, file in _modules(Path(modules))}
    for number, path in enumerate(named):
        places[path] = f"files/{number}/{Path(path).name}"
        contents[places[path]] = Path(path)
    _require_little(contents, modules)
    read = {name: file.read_bytes() for name, file in contents.items()}
    return Shipment(_digest_of(read), places, read)


def relocated(value: Any, places: Mapping[str, str]) -> Any:  # noqa: ANN401 - of a table
    """Return a table with paths replaced by where they have been unpacked."""
    if isinstance(value, dict):
        return {key: relocated(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [relocated(item, places) for item in value]
    return places.get(value, value) if isinstance(value, str) else value


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_absolute() and Path(path).is_file() and Path(path).stat().st_size <= LARGEST_FILE
    except OSError:  # longer than a path may be
        return False


def _modules(directory: Path) -> Iterator[tuple[str, Path]]:
    for folder, inner, names in os.walk(directory):
        inner[:] = [name for name in inner if _holds_modules(Path(folder, name))]
        for name in names:
            file = Path(folder, name)
            module = file.suffix == ".py" and not name.startswith(".")
            beside = Path(folder) == directory and not _SECRET.match(name)
            if (module or beside) and file.is_file() and file.stat().st_size <= LARGEST_FILE:
                yield file.relative_to(directory).as_posix(), file


def _holds_modules(folder: Path) -> bool:
    return (
        folder.name.isidentifier() and folder.name != "__pycache__" and not (folder / "pyvenv.cfg").exists()
    )


def _require_little(files: Mapping[str, Path], modules: object) -> None:
    size = sum(file.stat().st_size for file in files.values())
    if len(files) > _MOST_FILES or size > _MOST_BYTES:
        raise InvalidScenario(
            "the files beside the scenario are too many to be sent to other machines",
            expected=f"at most {_MOST_FILES} files with {_MOST_BYTES // 2**20} MiB together",
            got=f"{len(files)} with {size / 2**20:.0f} MiB, {modules} included",
            remedy="Put the scenario and its modules into a folder of their own.",
        )


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - of a table
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _texts(each)


def _digest_of(contents: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(f"{name}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]

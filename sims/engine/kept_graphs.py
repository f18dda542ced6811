"""Traced graphs of earlier runs, in the user's cache: a later run of the same need not trace them again.

They are kept by what they depend on: task, settings, shapes, torch, whether there is a compiler for our kernels,
this project's files and those of the user's own modules. What cannot be seen so, such as a model that asks the
environment, a trial row by row finds out.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import sysconfig
import tempfile
from collections.abc import Hashable, Iterator
from functools import cache
from pathlib import Path

import torch
from torch.fx import GraphModule

from gossipfl.caches import code_directory, is_ours
from gossipfl.kernels.building import has_compiler
from sims.engine.written_graphs import Unreadable, Unwritable, read, written

__all__ = ["forget", "is_noted", "keep", "kept", "note", "place_of"]

_MOST_FILES = 1000
_MOST_BYTES = 1 << 25
_OWN = "gossipfl", "sims", "topology"


def place_of(key: Hashable) -> Path:
    """Where a graph is, or would be, that depends on ``key``, whose ``repr`` is the same in every process."""
    text = repr((key, torch.__version__, has_compiler(), _own_files(), tuple(sorted(_files_of_users()))))
    return code_directory("traces") / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def kept(place: Path) -> GraphModule | None:
    """The graph there; None if there is none, or if somebody else could have written it."""
    try:
        if not is_ours(place.parent) or not is_ours(place) or place.stat().st_size > _MOST_BYTES:
            return None
        return read(place.read_text())
    except (OSError, UnicodeDecodeError, Unreadable):
        return None


def keep(place: Path, graph: GraphModule) -> GraphModule:
    """Keep a graph for later runs; return it as they will have it, so that all do the same."""
    try:
        text = written(graph)
        as_kept = read(text)
    except (Unwritable, Unreadable):
        return graph
    _write(place, text)
    return as_kept


def note(place: Path) -> None:
    """Note that something holds."""
    _write(place, "[]")


def is_noted(place: Path) -> bool:
    """Whether it was noted in an earlier run."""
    return is_ours(place.parent) and is_ours(place)


def _write(place: Path, text: str) -> None:
    with contextlib.suppress(OSError):  # a disk that is full, or a home that cannot be written
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=place.parent, delete=False) as file:
            file.write(text)
        Path(file.name).replace(place)
        _drop_oldest(place.parent)


def forget(place: Path) -> None:
    """Delete a graph that no longer does what it did."""
    with contextlib.suppress(OSError):
        place.unlink()


def _drop_oldest(folder: Path) -> None:
    files = [(file.stat().st_mtime, file) for file in folder.iterdir()]
    for _, file in sorted(files)[:-_MOST_FILES]:
        file.unlink()


@cache
def _own_files() -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of all files of this project."""
    root = Path(__file__).parents[2]
    found = []
    for package in _OWN:
        for folder, _, names in os.walk(root / package):
            found += [_known(Path(folder) / name) for name in names if name.endswith((".py", ".cpp"))]
    return tuple(sorted(found))


def _files_of_users() -> Iterator[tuple[str, int, int]]:
    """The same of all modules that belong neither to Python, nor to what is installed, nor to this project."""
    paths = sysconfig.get_paths()
    installed = tuple({paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or name.partition(".")[0] in _OWN or file.startswith(installed):
            continue
        with contextlib.suppress(OSError):
            yield _known(Path(file))


def _known(file: Path) -> tuple[str, int, int]:
    found = file.stat()
    return str(file), found.st_size, found.st_mtime_ns

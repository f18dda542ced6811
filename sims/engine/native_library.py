"""Library that carries out blocks without the interpreter (`blocks.cpp`), compiled once and kept."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

from gossipfl.caches import code_directory, is_ours

__all__ = ["Job", "Leaf", "Site", "has_compiler", "library"]

logger = logging.getLogger(__name__)

_SOURCE = Path(__file__).with_name("blocks.cpp")
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64


class Leaf(ctypes.Structure):
    """One tensor of a sample, as in the source."""

    _fields_ = [("pool", _POINTER), ("gathered", _POINTER), ("bytes", _INT)]


class Site(ctypes.Structure):
    """What a thread needs for blocks of a group, as in the source."""

    _fields_ = [
        *((name, _POINTER) for name in ("run", "container", "inputs")),
        ("input_count", _INT),
        *((name, _POINTER) for name in ("columns", "leaves")),
        ("leaf_count", _INT),
        *((name, _POINTER) for name in ("samples", "weights")),
        *((name, _INT) for name in ("local_steps", "size", "trains")),
    ]


class Job(ctypes.Structure):
    """Blocks to take, as in the source."""

    _fields_ = [
        ("rows", _POINTER),
        *((name, _INT) for name in ("row_bytes", "number_bytes")),
        ("ages", _POINTER),
        ("ages_each", _INT),
        ("kept", _POINTER),
        *((name, _INT) for name in ("kept_bytes", "nowhere")),
        ("columns", _POINTER),
        *((name, _INT) for name in ("blocks", "lines", "size")),
        *((name, _POINTER) for name in ("group", "begins_after", "draw")),
        *((name, _INT) for name in ("seed", "nodes")),
        *((name, _POINTER) for name in ("steps", "offsets", "indices", "numbers", "sites")),
        ("groups", _INT),
        ("progress", _POINTER),
    ]


def has_compiler() -> bool:
    """Whether a C++ compiler is on the path."""
    return _compiler() is not None


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, (os.environ.get("CXX") or "g++", "clang++"))), None)


@cache
def library() -> ctypes.CDLL | None:
    """The library; None where it can be neither found nor compiled."""
    source = _SOURCE.read_bytes()
    built_for = f"{torch.__version__} {platform.machine()}"
    digest = hashlib.sha256(source + built_for.encode()).hexdigest()[:32]
    try:
        place = code_directory("compiled") / f"blocks-{digest}.so"
        if not is_ours(place):  # it is code: somebody else's is not loaded
            _compile(place)
        found = ctypes.CDLL(str(place))
    except (OSError, subprocess.SubprocessError) as error:
        logger.info("blocks are taken by the interpreter: %s", error)
        return None
    found.blocks_run.argtypes = [ctypes.POINTER(Job), _INT, _INT]
    found.blocks_release.argtypes, found.blocks_release.restype = [_POINTER, _INT], None
    return found


def _compile(place: Path) -> None:
    compiler = _compiler()
    if compiler is None:
        raise OSError("there is no C++ compiler")
    libraries = Path(torch.__file__).parent / "lib"
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        made = Path(folder) / place.name
        flags = ["-O3", "-std=c++17", "-shared", "-fPIC", f"-L{libraries}", f"-Wl,-rpath,{libraries}"]
        subprocess.run(  # noqa: S603 - the user's compiler, on a file of ours
            [compiler, *flags, str(_SOURCE), "-o", str(made), "-ltorch_cpu"], check=True, capture_output=True
        )
        made.chmod(0o700)
        with made.open("rb") as file:
            os.fsync(file.fileno())  # half a library would end the process that loads it
        made.replace(place)

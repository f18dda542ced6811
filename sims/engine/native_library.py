"""Library that carries out blocks without the interpreter (`blocks.cpp`), compiled once and kept."""

from __future__ import annotations

import ctypes
import logging
import subprocess
from functools import cache
from pathlib import Path

import torch

from gossipfl.kernels.building import built

__all__ = ["Job", "Leaf", "Site", "library"]

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


@cache
def library() -> ctypes.CDLL | None:
    """The library; None where it can be neither found nor compiled."""
    libraries = Path(torch.__file__).parent / "lib"
    flags = f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-ltorch_cpu"
    try:
        place = built("blocks", _SOURCE.read_text(), flags, depends_on=torch.__version__)
        found = ctypes.CDLL(str(place))
    except (OSError, subprocess.SubprocessError) as error:
        logger.info("blocks are taken by the interpreter: %s", error)
        return None
    found.blocks_run.argtypes = [ctypes.POINTER(Job), _INT, _INT]
    found.blocks_release.argtypes, found.blocks_release.restype = [_POINTER, _INT], None
    return found

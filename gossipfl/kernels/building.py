"""Shared libraries from C++ of this project, compiled once and kept in the user's cache."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from gossipfl.caches import code_directory, is_ours

__all__ = ["built", "fields", "has_compiler", "has_failed", "loaded", "source_of", "vector_flags"]

logger = logging.getLogger(__name__)

_FAILED: set[str] = set()
_FLAGS = "-O3", "-std=c++17", "-shared", "-fPIC"
_VECTORS = {
    "AVX512": ("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"),
    "AVX2": ("-mavx2", "-mfma"),
}


def has_compiler() -> bool:
    """Whether a C++ compiler is on the path."""
    return _compiler() is not None


def has_failed() -> bool:
    """Whether a compiler has failed in this process: what was made without its work is not worth keeping."""
    return bool(_FAILED)


def vector_flags() -> Sequence[str]:
    """Flags for the widest vectors that torch uses on this processor."""
    return _VECTORS.get(torch.backends.cpu.get_cpu_capability(), ())


def built(name: str, source: str, flags: Sequence[str] = (), *, depends_on: str = "") -> Path:
    """A shared library, compiled if this user has it not yet.

    Parameters
    ----------
    name : str
        Its file's name begins so.
    source : str
        C++17.
    flags : sequence of str
        Of the compiler, after the source's name: libraries are found in their order.
    depends_on : str
        What else it is made for, such as a version of torch.

    Raises
    ------
    OSError
        If there is no compiler, or nothing can be written.
    subprocess.SubprocessError
        If the compiler fails.
    """
    made_of = "\n".join((source, *flags, depends_on, platform.machine()))
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:32]
    place = code_directory("compiled") / f"{name}-{digest}.so"
    if not is_ours(place):  # it is code: somebody else's is not loaded
        try:
            _compile(place, source, flags)
        except (OSError, subprocess.SubprocessError):
            if has_compiler():
                _FAILED.add(name)
            raise
    return place


def source_of(name: str) -> str:
    """A kernel of this package in C++, after what all of them share."""
    return "".join(Path(__file__).with_name(f"{part}.cpp").read_text() for part in ("vectors", name))


def loaded(name: str, source: str, *, otherwise: str) -> ctypes.CDLL | None:
    """A library for this processor's vectors; None, and a message that says ``otherwise``, if there is none."""
    try:
        return ctypes.CDLL(str(built(name, source, vector_flags())))
    except (OSError, subprocess.SubprocessError) as error:
        logger.info("%s: %s", otherwise, error)
        return None


def fields(names: str, kind: type) -> list[tuple[str, type]]:
    """Fields of one kind of a structure that a library reads."""
    return [(name, kind) for name in names.split()]


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, (os.environ.get("CXX") or "g++", "clang++"))), None)


def _compile(place: Path, source: str, flags: Sequence[str]) -> None:
    compiler = _compiler()
    if compiler is None:
        raise OSError("there is no C++ compiler")
    logger.info("compiling %s, once, some seconds of CPU", place.name.partition("-")[0])
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        text, made = Path(folder) / "source.cpp", Path(folder) / place.name
        text.write_text(source)
        subprocess.run(  # noqa: S603 - the user's compiler, on a file of ours
            [compiler, *_FLAGS, str(text), "-o", str(made), *flags], check=True, capture_output=True
        )
        made.chmod(0o700)
        with made.open("rb") as file:
            os.fsync(file.fileno())  # half a library would end the process that loads it
        made.replace(place)

"""Caches on this machine: data sets, compiled programmes and kernels, all under one directory."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gossipfl.errors import CacheError

__all__ = ["Cache", "cache_directory", "caches", "clear", "keep_compilers_caches"]

#: What is kept in each, and who makes it again when it is gone.
_KINDS = {
    "data": "bundled data sets, fetched through the package index",
    "compiled": "training and evaluation, compiled by torch for one model and batch size each",
    "traces": "what training and evaluation were traced to, for one model and batch size each",
    "inductor": "files of torch's compiler",
    "kernels": "the simulator's kernels, compiled by numba",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A kind of files that can be recreated.

    Parameters
    ----------
    name, about : str
    directory : Path
    files, bytes : int
        How many there are, and how large they are together.
    """

    name: str
    about: str
    directory: Path
    files: int
    bytes: int


def cache_directory() -> Path:
    """The directory of caches: ``gossipfl`` in the user's cache, or a private temporary directory.

    ``XDG_CACHE_HOME`` and ``HOME`` are asked first. In a container with ``--user`` there may be neither, nor an
    entry in the password file, or a home that cannot be written.
    """
    for root in _roots():
        directory = root / "gossipfl"
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(directory, os.W_OK | os.X_OK):
            return directory
    return _private_temporary()


def _roots() -> Iterator[Path]:
    if os.environ.get("XDG_CACHE_HOME"):
        yield Path(os.environ["XDG_CACHE_HOME"])
    try:
        yield Path.home() / ".cache"
    except RuntimeError:  # no HOME, and no entry in the password file
        return


@cache
def _private_temporary() -> Path:
    """Directory that nobody else can write: code is loaded from it."""
    directory = Path(tempfile.gettempdir()) / f"gossipfl-cache-{os.geteuid()}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
            return directory
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="gossipfl-cache-"))


def keep_compilers_caches() -> None:
    """Make torch and numba store compiled code under `cache_directory`; call before numba is imported.

    Both write whole files and then rename them, so several processes may do so at once. Where a user has set
    a place of their own, it stays.
    """
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_directory() / "kernels"))
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_directory() / "inductor"))


def caches() -> list[Cache]:
    """All caches, and how large they are now."""
    found = []
    for name, about in _KINDS.items():
        directory = cache_directory() / name
        sizes = [file.stat().st_size for file in _files(directory)]
        found.append(Cache(name=name, about=about, directory=directory, files=len(sizes), bytes=sum(sizes)))
    return found


def clear(name: str) -> None:
    """Delete one cache; a process that is reading it recreates whatever is missing.

    Raises
    ------
    CacheError
        If there is no such cache, or it cannot be deleted.
    """
    if name not in _KINDS:
        raise CacheError(f"there is no cache {name!r}", expected=f"one of {', '.join(_KINDS)}")
    directory = cache_directory() / name
    try:
        if directory.exists():
            shutil.rmtree(directory)
    except OSError as error:
        raise CacheError(
            f"the cache {directory} cannot be deleted",
            got=error.strerror,
            remedy="Delete it as the user who made it.",
        ) from error


def _files(directory: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(directory):
        for name in names:
            file = Path(folder) / name
            if file.is_file():
                yield file

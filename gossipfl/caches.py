"""Caches on this machine: data sets, compiled programmes and kernels, all under one directory."""

from __future__ import annotations

import contextlib
import grp
import hashlib
import logging
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gossipfl.errors import CacheError

__all__ = [
    "Cache",
    "cache_directory",
    "caches",
    "clear",
    "code_directory",
    "is_ours",
    "keep_compilers_caches",
]

logger = logging.getLogger(__name__)

#: What is kept in each, and who makes it again when it is gone.
_KINDS = {
    "data": "bundled data sets, fetched through the package index",
    "compiled": "training and evaluation, compiled for one model and batch size each, and kernels in C++",
    "traces": "what training and evaluation were traced to, for one model and batch size each",
    "inductor": "files of torch's compiler",
    "kernels": "the simulator's kernels, compiled by numba",
}
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_UNMAPPED = 65534  # whoever owns what is outside of a container


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
    entry in the password file, or a home that cannot be written. With sudo, which may leave ``HOME`` as it was,
    the home of root is taken: what root makes in another's, its owner could neither change nor delete.
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
    with contextlib.suppress(RuntimeError):  # no HOME, and no entry in the password file
        yield _own_home(Path.home()) / ".cache"


def _own_home(home: Path) -> Path:
    """The home, or where that is somebody else's and this is root, root's own."""
    user = os.geteuid()
    try:
        is_ours = user != 0 or home.stat().st_uid in (user, _UNMAPPED)
        return home if is_ours else Path(pwd.getpwuid(user).pw_dir)
    except (OSError, KeyError):
        return home


@cache
def _private_temporary() -> Path:
    """Directory that nobody else can write: code is loaded from it."""
    directory = Path(tempfile.gettempdir()) / f"gossipfl-cache-{os.geteuid()}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        if is_ours(directory):
            return directory
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="gossipfl-cache-"))


def code_directory(name: str) -> Path:
    """A directory that code is loaded from: nobody but this user can write into it.

    It is under `cache_directory`. If others could have written into it so far, what they could have put there
    is deleted first. If it, or a directory above it, is not for this user alone to change, it is a private
    temporary one, and a warning says so.

    Parameters
    ----------
    name : str
        Of the cache.
    """
    directory = cache_directory() / name
    with contextlib.suppress(OSError):
        directory.mkdir(mode=0o700, exist_ok=True)
        closed = _closed(directory.parent.resolve(), 0o755) and _closed(directory.resolve(), 0o700)
        if closed and not any(map(_may_be_replaced, (directory.absolute(), directory.resolve()))):
            return directory
    _say_once(directory)
    directory = _private_temporary() / name
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def is_ours(path: Path) -> bool:
    """Whether a file or directory belongs to this user, nobody else may write to it, and it is no link."""
    try:
        found = path.lstat()
    except OSError:
        return False
    own = found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode)
    return own and not found.st_mode & _OTHERS_WRITE


def _closed(directory: Path, most: int) -> bool:
    """Leave a directory at most these permissions; False if it belongs to somebody else."""
    found = directory.lstat()
    if found.st_uid != os.geteuid():
        return False
    if found.st_mode & 0o777 & ~most:
        directory.chmod(found.st_mode & most)
        if not most & 0o077:
            _delete_what_others_could_write(directory)
    return True


def _delete_what_others_could_write(directory: Path) -> None:
    for folder, folders, names in os.walk(directory):
        for name in [*folders, *names]:
            path = Path(folder) / name
            if is_ours(path):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _may_be_replaced(directory: Path) -> bool:
    """Whether somebody else may rename a directory above it, and put another in its place."""
    return any(_is_of_others(above.stat()) for above in directory.parents)


def _is_of_others(found: os.stat_result) -> bool:
    if found.st_uid not in (0, _UNMAPPED, os.geteuid()):
        return True  # a sticky bit does not bind the owner
    if found.st_mode & stat.S_ISVTX:
        return False
    return bool(found.st_mode & stat.S_IWOTH) or (
        bool(found.st_mode & stat.S_IWGRP) and not _is_private(found.st_gid)
    )


def _is_private(group: int) -> bool:
    """Whether a group has no members but this user, as far as is known: root's, or one of the user's own name."""
    if group == 0:
        return True
    try:
        user, known = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(group)
    except KeyError:  # in a container, say
        return group == os.getegid()
    return known.gr_name == user and set(known.gr_mem) <= {user}


@cache
def _say_once(directory: Path) -> None:
    logger.warning(
        "compiled code is not kept in %s, since others could write there; it is compiled again by every process"
        " (set XDG_CACHE_HOME to a directory of your own)",
        directory,
    )


def keep_compilers_caches(kernels: Iterable[Path] = ()) -> None:
    """Make torch and numba store compiled code in a `code_directory`; call before numba is imported.

    Both write whole files and then rename them, so several processes may do so at once. Where a user has set
    a place of their own, it stays.

    Parameters
    ----------
    kernels : iterable of Path
        Files that numba compiles functions from. Each change to one of them has a directory of its own: numba
        compares a function's own file alone, and would load one that has earlier functions of other files in it.
    """
    found = hashlib.sha256()
    for file in kernels:
        found.update(hashlib.sha256(file.read_bytes()).digest())
    os.environ.setdefault("NUMBA_CACHE_DIR", str(code_directory("kernels") / found.hexdigest()[:16]))
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(code_directory("inductor")))


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

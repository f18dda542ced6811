"""Files that survive a crash at any instant: every write into a peer's home goes through these functions.

A file that is replaced has its old content or the new; a file that is appended to has all that was synchronised,
and then whole pieces, or a torn end that `cut_torn_line` removes.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gossipfl.errors import HomeError

__all__ = [
    "AppendedFile",
    "create_atomically",
    "cut_torn_line",
    "is_temporary",
    "make_directory",
    "named_errors",
    "overwrite_and_remove",
    "remove",
    "remove_temporaries",
    "synchronise_directory",
    "temporary_beside",
    "write_atomically",
]

_REMEDY = "Look at the owner and the permissions of its files, and at the disk."
_REMEDIES = {
    errno.ENOSPC: "Make room on the disk.",
    errno.EDQUOT: "Make room on the disk, or have the quota raised.",
    errno.EROFS: "Mount the disk so that it can be written.",
    errno.EMFILE: "Raise the limit of open files: `ulimit -n 1024`, or --ulimit nofile=1024 for containers.",
}
_REMEDIES[errno.ENFILE] = _REMEDIES[errno.EMFILE]
_CHUNK_BYTES = 1 << 20
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}")


@contextmanager
def named_errors(what: str, *, remedy: str = _REMEDY) -> Iterator[None]:
    """Convert an `OSError` inside the block to an error that says what was tried.

    Raises
    ------
    HomeError
        Instead of any `OSError`.
    """
    try:
        yield
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        remedy = _REMEDIES.get(error.errno or 0, remedy)
        raise HomeError(what, got=f"{error.strerror or error}{place}", remedy=remedy) from error


def make_directory(path: Path) -> None:
    """Make a directory of mode 0700, and its parents, durably; nothing happens if it exists."""
    try:
        path.mkdir(0o700)
    except FileNotFoundError:
        make_directory(path.parent)
        path.mkdir(0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    synchronise_directory(path.parent)


def synchronise_directory(path: Path) -> None:
    """Wait until the disk has the names of a directory's files."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, *content: bytes | memoryview, durable: bool = True) -> None:
    """Replace a file's content at once.

    Parameters
    ----------
    path : Path
        Its directory must exist.
    content : bytes or memoryview
        One part after the other.
    durable : bool
        Whether to wait until the disk has it (fsync of file and directory). Without, the replacement is
        still all or nothing for other processes, but may be lost with the machine's power.
    """
    temporary = _written(path, *content, durable=durable)
    try:
        temporary.replace(path)
    except BaseException:
        _forget(temporary)
        raise
    if durable:
        synchronise_directory(path.parent)


def create_atomically(path: Path, content: bytes) -> None:
    """Create a file with all its content or not at all; if two processes race, the first one wins."""
    temporary = _written(path, content, durable=True)
    try:
        with suppress(FileExistsError):
            os.link(temporary, path)
        synchronise_directory(path.parent)
    finally:
        _forget(temporary)


def remove(path: Path) -> None:
    """Remove a file, durably."""
    path.unlink()
    synchronise_directory(path.parent)


def overwrite_and_remove(path: Path) -> None:
    """Write zeros over a file where it lies, and then remove it, durably; nothing happens if there is none.

    Disks that write elsewhere instead (flash, copying file systems) keep what was there until they need the place.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY)
    except FileNotFoundError:
        return
    try:
        for _ in range(-(-os.fstat(descriptor).st_size // _CHUNK_BYTES)):
            _write_all(descriptor, bytes(_CHUNK_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    remove(path)


def remove_temporaries(directory: Path) -> None:
    """Remove temporary files left by crashes; call it where nobody else writes."""
    for path in directory.glob(".*"):
        if is_temporary(path):
            _forget(path)


def temporary_beside(path: Path) -> Path:
    """A name that nobody has, for what is to become ``path``."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def is_temporary(path: Path) -> bool:
    """Whether a file bears a name of `temporary_beside`."""
    return _TEMPORARY.fullmatch(path.name) is not None


def cut_torn_line(path: Path) -> None:
    """Cut off anything that a crash left after the last whole line: half a line, or zeros."""
    with path.open("rb") as file:
        whole = position = 0
        while chunk := file.read(_CHUNK_BYTES):
            zero = chunk.find(b"\0")
            newline = chunk.rfind(b"\n", 0, zero if zero >= 0 else None)
            if newline >= 0:
                whole = position + newline + 1
            position += len(chunk)
            if zero >= 0:
                break
        if whole == file.seek(0, os.SEEK_END):
            return
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, whole)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class AppendedFile:
    """A file that grows by whole pieces.

    Parameters
    ----------
    path : Path
        Made with mode 0600, its name durably, if there is none.

    Raises
    ------
    OSError
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_torn = False
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            synchronise_directory(path.parent)
            self.size = os.fstat(self._descriptor).st_size
        except BaseException:
            os.close(self._descriptor)
            raise

    def append(self, content: bytes) -> None:
        """Hand a piece to the operating system.

        Raises
        ------
        OSError
            If the disk refuses; nothing of it is in the file by the time of the next one.
        """
        if self._is_torn:
            self._cut()
        try:
            _write_all(self._descriptor, content)
        except OSError:
            self._is_torn = True
            with suppress(OSError):
                self._cut()
            raise
        self.size += len(content)

    def take_back(self, size: int) -> None:
        """Have nothing beyond a size by the time of the next piece."""
        self.size, self._is_torn = size, True
        with suppress(OSError):
            self._cut()

    def _cut(self) -> None:
        os.ftruncate(self._descriptor, self.size)
        self._is_torn = False

    def synchronise(self) -> None:
        """Wait until the disk has everything that was appended."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Synchronise and close."""
        try:
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)


def _written(path: Path, *content: bytes | memoryview, durable: bool) -> Path:
    """Write a temporary file beside ``path``."""
    temporary = temporary_beside(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            for part in content:
                _write_all(descriptor, part)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        _forget(temporary)
        raise
    return temporary


def _forget(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink()


def _write_all(descriptor: int, content: bytes | memoryview) -> None:
    view = memoryview(content).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]

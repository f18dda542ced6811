"""Writing files so that a crash at any instant leaves the old content or the new, never a mixture."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gossipfl.errors import HomeError

__all__ = ["named_errors", "write_atomically"]

_REMEDY = "Look at the owner and the permissions of its files, and at the disk."
_MORE_FILES = "Raise the limit of open files: `ulimit -n 1024`, or --ulimit nofile=1024 for containers."


@contextmanager
def named_errors(what: str, *, remedy: str = _REMEDY) -> Iterator[None]:
    """Raise what the operating system refuses inside the block as an error that says what was tried.

    Raises
    ------
    HomeError
        Instead of any `OSError`.
    """
    try:
        yield
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        if error.errno in (errno.EMFILE, errno.ENFILE):
            remedy = _MORE_FILES
        raise HomeError(what, got=f"{error.strerror or error}{place}", remedy=remedy) from error


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a file's content at once.

    Parameters
    ----------
    path : Path
        Its directory must exist.
    content : bytes
    durable : bool
        Whether to wait until the disk has it (fsync of file and directory). Without, the replacement is
        still all or nothing for other processes, but may be lost with the machine's power.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

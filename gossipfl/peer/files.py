"""Writing files so that a crash at any instant leaves the old content or the new, never a mixture."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["write_atomically"]


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

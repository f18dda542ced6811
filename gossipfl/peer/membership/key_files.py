"""Files of network keys, and that nobody else can read them."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from gossipfl.errors import CorruptIdentity
from gossipfl.files import named_errors
from gossipfl.network import Identity

__all__ = ["KEY_HEADER", "read_keys", "require_private"]

KEY_HEADER: Final = b"gossipfl network key 1\n"


def read_keys(directory: Path) -> list[Identity]:
    """Read all network keys of a directory; none if it is not there.

    Raises
    ------
    CorruptIdentity
        One is damaged, or others can read it.
    """
    with named_errors(f"cannot look into {directory}"):
        paths = sorted(directory.glob("*.key")) if directory.is_dir() else []
    return [_read_key(path) for path in paths]


def _read_key(path: Path) -> Identity:
    """Read the file of a network key.

    Raises
    ------
    CorruptIdentity
        It is damaged, or others can read it.
    """
    require_private(path)
    with named_errors(f"cannot read {path}"):
        content = path.read_bytes()
    if not content.startswith(KEY_HEADER):
        raise CorruptIdentity(f"{path} is no network key", expected=f"a file that begins with {KEY_HEADER!r}")
    return Identity(content[len(KEY_HEADER) :])


def require_private(path: Path) -> None:
    """Require that nobody else can read a file.

    Raises
    ------
    CorruptIdentity
        Somebody can.
    """
    with named_errors(f"cannot look at {path}"):
        mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise CorruptIdentity(
            f"{path} is accessible to other users",
            expected="mode 0600",
            got=f"{mode:04o}",
            remedy=f"chmod 600 {path}",
        )

"""Files of network keys, which must be private."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from gossipfl.errors import CorruptIdentity
from gossipfl.files import create_atomically, named_errors
from gossipfl.network import Identity

__all__ = ["KEY_HEADER", "file_name", "new_key", "read_keys", "require_private"]

KEY_HEADER: Final = b"gossipfl network key 1\n"


def new_key(directory: Path) -> tuple[Identity, Path]:
    """Generate a network key and store it; return it and its file.

    Raises
    ------
    HomeError
        It cannot be stored.
    """
    key = Identity.generate()
    path = directory / file_name(key)
    with named_errors(f"cannot write {path}"):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_atomically(path, KEY_HEADER + key.seed)
    return key, path


def file_name(key: Identity) -> str:
    """Return the name of a network key's file."""
    return f"{key.peer_id[-12:]}.key"


def read_keys(directory: Path) -> list[Identity]:
    """Read the network keys in a directory, or in one file; none if it does not exist.

    Raises
    ------
    CorruptIdentity
        One is damaged, or accessible to other users.
    """
    with named_errors(f"cannot look into {directory}"):
        files = sorted(directory.glob("*.key")) if directory.is_dir() else [directory]
        paths = [each for each in files if each.is_file()]
    return [_read_key(path) for path in paths]


def _read_key(path: Path) -> Identity:
    require_private(path)
    with named_errors(f"cannot read {path}"):
        content = path.read_bytes()
    if not content.startswith(KEY_HEADER):
        raise CorruptIdentity(
            f"{path} is not a network key", expected=f"a file that begins with {KEY_HEADER!r}"
        )
    return Identity(content[len(KEY_HEADER) :])


def require_private(path: Path) -> None:
    """Require that other users cannot access a file.

    Raises
    ------
    CorruptIdentity
        They can.
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

"""Files of network keys, which must be private."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from gossipfl.errors import CorruptIdentity, MembershipError
from gossipfl.files import create_atomically, named_errors
from gossipfl.membership.codec import KEY_BYTES
from gossipfl.network import Identity

__all__ = ["KEY_HEADER", "file_name", "keys_at", "new_key", "read_keys", "require_private"]

KEY_HEADER: Final = b"gossipfl network key 1\n"
_A_KEY: Final = (
    "a file ….key made by `gossipfl network create`, `key` or `rotate`, or a directory of such files"
)


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


def keys_at(path: Path) -> list[Identity]:
    """Read the network keys in a directory, or in one file.

    Raises
    ------
    MembershipError
        There are none.
    CorruptIdentity
        One is damaged, or accessible to other users.
    """
    keys = read_keys(path)
    if not keys:
        raise MembershipError(
            f"there is no network key in {path}" if path.exists() else f"{path} does not exist",
            expected=_A_KEY,
        )
    return keys


def _read_key(path: Path) -> Identity:
    with named_errors(f"cannot read {path}"):
        content = path.open("rb").read(len(KEY_HEADER) + KEY_BYTES + 1)
    if not content.startswith(KEY_HEADER):
        raise CorruptIdentity(f"{path} is not a network key", expected=_A_KEY)
    if len(content) != len(KEY_HEADER) + KEY_BYTES:
        raise CorruptIdentity(
            f"the network key {path} is damaged",
            expected=f"{len(KEY_HEADER) + KEY_BYTES} bytes",
            remedy="Use a copy of it, or as many other network keys as must sign.",
        )
    require_private(path)
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

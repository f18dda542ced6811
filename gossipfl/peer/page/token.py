"""The token that a request over HTTP needs to change anything."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from gossipfl.errors import HomeError
from gossipfl.files import create_atomically, named_errors

__all__ = ["load_or_create_token"]

_BYTES: Final = 32
_SHORTEST: Final = 32


def load_or_create_token(path: Path) -> str:
    """Return the token in a file, which is created with mode 0600 if it does not exist.

    Raises
    ------
    HomeError
        It cannot be read or written, other users can read it, or it holds no token.
    """
    with named_errors(f"the token {path} cannot be read or written"):
        if not path.exists():
            create_atomically(path, f"{secrets.token_urlsafe(_BYTES)}\n".encode())
        mode = path.stat().st_mode
        token = path.read_text(errors="replace").strip()
    if mode & 0o077:
        raise HomeError(
            f"other users have access to the token {path}",
            expected="mode 600",
            got=f"{mode & 0o777:o}",
            remedy="Delete it: the next start makes a new one.",
        )
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable():
        raise HomeError(
            f"{path} holds no token",
            expected=f"{_SHORTEST} or more printable characters",
            remedy="Delete it: the next start makes a new one.",
        )
    return token

"""Peer identities: Ed25519 keys that never leave their directories.

The peer id is the multihash of the public key, so a peer that completes the handshake under a peer id has proved
that it holds the key.

References
----------
libp2p, "Peer Ids and Keys", https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md
"""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gossipfl.errors import CorruptIdentity, HomeError
from gossipfl.files import create_atomically, make_directory
from gossipfl.settings.addresses import peer_id_of

__all__ = ["KEY_FILE", "Identity", "load_identity", "load_or_create_identity"]

KEY_FILE: Final = "identity.key"
_HEADER: Final = b"gossipfl ed25519 key 1\n"
_SEED_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Identity:
    """An Ed25519 key pair and the peer id derived from it.

    Parameters
    ----------
    seed : bytes
        The 32 secret bytes.

    Raises
    ------
    CorruptIdentity
        The seed is not 32 bytes long.
    """

    seed: bytes = field(repr=False)
    public_key: bytes = field(init=False, repr=False, compare=False)
    peer_id: str = field(init=False)
    _key: Ed25519PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.seed) != _SEED_BYTES:
            raise CorruptIdentity(
                "the secret of an identity has the wrong length",
                expected=f"{_SEED_BYTES} bytes",
                got=f"{len(self.seed)} bytes",
            )
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "public_key", key.public_key().public_bytes_raw())
        object.__setattr__(self, "peer_id", peer_id_of(self.public_key))

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature of `data`, which anyone can verify from the peer id."""
        return self._key.sign(data)

    @classmethod
    def generate(cls) -> Identity:
        """Generate a new identity from the operating system's randomness."""
        return cls(secrets.token_bytes(_SEED_BYTES))


def load_or_create_identity(directory: Path) -> Identity:
    """Load the identity in `directory`, or generate one and store it there.

    Parameters
    ----------
    directory : Path
        Created with mode 0700 if necessary.

    Raises
    ------
    CorruptIdentity
        Other users can read the directory or the key, or the key is damaged.
    HomeError
        The directory cannot be created, read or written.
    """
    try:
        make_directory(directory)
        if not (directory / KEY_FILE).exists():
            _require_private(directory, 0o700)
            create_atomically(directory / KEY_FILE, _HEADER + secrets.token_bytes(_SEED_BYTES))
        return load_identity(directory)
    except OSError as error:
        raise HomeError(
            f"an identity cannot be stored in {directory}",
            got=f"{error.strerror} ({error.filename})",
            remedy="Check the owner and permissions of its files, and the disk.",
        ) from error


def load_identity(directory: Path) -> Identity:
    """Load the identity in `directory`.

    Raises
    ------
    CorruptIdentity
        There is none; other users can read the directory or the key; or the key is damaged.
    """
    path = directory / KEY_FILE
    if not path.is_file():
        raise CorruptIdentity("there is no identity here", expected=f"a key file {path}")
    _require_private(directory, 0o700)
    _require_private(path, 0o600)
    content = path.read_bytes()
    if len(content) != len(_HEADER) + _SEED_BYTES or not content.startswith(_HEADER):
        raise CorruptIdentity(
            f"the key file {path} is damaged",
            expected=f"{len(_HEADER) + _SEED_BYTES} bytes that begin with {_HEADER!r}",
            got=f"{len(content)} bytes",
            remedy="Restore it from a backup, or delete it to become a different peer.",
        )
    return Identity(content[len(_HEADER) :])


def _require_private(path: Path, mode: int) -> None:
    status = path.stat()
    found = stat.S_IMODE(status.st_mode)
    if found & 0o077:
        raise CorruptIdentity(
            f"{path} is accessible to other users",
            expected=f"mode {mode:04o}",
            got=f"{found:04o}",
            remedy=f"If nobody can have read the key, run `chmod {mode:o} {path}`; otherwise delete the key.",
        )
    if status.st_uid != os.geteuid():
        raise CorruptIdentity(f"{path} belongs to another user", expected=os.geteuid(), got=status.st_uid)

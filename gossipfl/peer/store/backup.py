"""Backups of a home in one file, with a checksum for each part, even while its peer runs.

A backup is a gzipped tar archive that ends with ``MANIFEST.json``. The checkpoint is read before the records,
which are on disk before any checkpoint that depends on them, so a backup holds everything that led to its
checkpoint. What is typed on a keyboard is left out, with its key.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gossipfl.errors import HomeError, HomeExists
from gossipfl.files import is_temporary, named_errors, synchronise_directory, temporary_beside
from gossipfl.network import load_identity
from gossipfl.peer.store.home import Home
from gossipfl.peer.store.versions import read_facts

__all__ = ["FORMAT", "MANIFEST", "Backup", "back_up"]

FORMAT: Final = "gossipfl backup 1"
MANIFEST: Final = "MANIFEST.json"
#: Files that concern only a running process.
_PASSING: Final = frozenset({"lock", "status.json"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A home in one file.

    Parameters
    ----------
    made : float
        Seconds since 1970.
    size : int
        Bytes of the backup.
    left_out : tuple of str
        Links, sockets and the like, which a backup does not include.
    """

    peer_id: str
    made: float
    files: int
    size: int
    left_out: tuple[str, ...]


def back_up(home: Home, file: Path) -> Backup:
    """Write a backup of a home, whether or not its peer is running.

    The file holds the peer's key, and has mode 0600.

    Raises
    ------
    HomeExists
        The file exists already.
    HomeMissing, CorruptIdentity
        The directory holds no peer.
    HomeError
        Something cannot be read or written, or the file would be in the home.
    """
    home.require()
    version, peer_id = read_facts(home)["version"], load_identity(home.directory).peer_id
    if file.exists():
        raise HomeExists(
            f"{file} already exists", remedy="Name another file: a backup never replaces a file."
        )
    if file.resolve().is_relative_to(home.directory.resolve()):
        raise HomeError(
            "a backup cannot be in the home that it is of",
            got=file,
            remedy="Name a file elsewhere, on another disk.",
        )
    made = time.time()
    with named_errors(f"the home {home.directory} cannot be backed up to {file}"):
        names, left_out = _listed(home)
        temporary = temporary_beside(file)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as target:
                with tarfile.open(fileobj=target, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
                    parts = {name: part for name in names if (part := _add(archive, home, name))}
                    said = {"format": FORMAT, "version": version, "peer_id": peer_id, "made": made}
                    _put(archive, MANIFEST, json.dumps({**said, "files": parts}, indent=1).encode())
                target.flush()
                os.fsync(target.fileno())
                size = target.tell()
            temporary.replace(file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        synchronise_directory(file.parent)
    return Backup(peer_id=peer_id, made=made, files=len(parts), size=size, left_out=tuple(left_out))


def _listed(home: Home) -> tuple[list[str], list[str]]:
    """Return the names of a home's files in reading order, and those of everything left out."""
    names, left_out = [], []
    for path in sorted(home.directory.rglob("*")):
        name = path.relative_to(home.directory).as_posix()
        if home.typing in path.parents:
            continue  # what its owner has forgotten must not be in a backup
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            left_out.append(name)
        elif path.is_file() and not is_temporary(path) and name not in _PASSING:
            names.append(name)
    checkpoint, records = home.checkpoint.name, f"{home.records.name}/"
    return sorted(names, key=lambda name: (name.startswith(records), name != checkpoint, name)), left_out


class _Hashing(io.RawIOBase):
    """A file that computes the digest of what is read."""

    def __init__(self, source: io.BufferedReader) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        content = self._source.read(size)
        self.digest.update(content)
        return content


def _add(archive: tarfile.TarFile, home: Home, name: str) -> dict[str, Any] | None:
    """Add a file with its current length; None if it was removed meanwhile, as old records are."""
    try:
        source = (home.directory / name).open("rb")
    except FileNotFoundError:
        return None
    with source:
        entry = archive.gettarinfo(arcname=name, fileobj=source)
        entry.mode, entry.uid, entry.gid, entry.uname, entry.gname = 0o600, 0, 0, "", ""
        entry.type = tarfile.REGTYPE  # however many names it has
        hashing = _Hashing(source)
        archive.addfile(entry, hashing)
    return {"bytes": entry.size, "sha256": hashing.digest.hexdigest()}


def _put(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
    archive.addfile(entry, io.BytesIO(content))

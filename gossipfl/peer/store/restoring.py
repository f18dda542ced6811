"""Restoring a home from a backup, completely and verified, or not at all."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from gossipfl.errors import CorruptBackup, GossipflError, HomeExists
from gossipfl.files import (
    make_directory,
    named_errors,
    synchronise_directory,
    temporary_beside,
)
from gossipfl.network import load_identity
from gossipfl.peer.store.backup import FORMAT, MANIFEST
from gossipfl.peer.store.checkpoint import read_row
from gossipfl.peer.store.home import Home
from gossipfl.peer.store.versions import read_facts, write_facts
from gossipfl.settings import load_settings
from topology.parsing import json_of

__all__ = ["restore"]

_LARGEST_MANIFEST = 1 << 24
_GZIP = b"\x1f\x8b"


def restore(file: Path, directory: Path) -> dict[str, Any]:
    """Restore a home from a backup.

    Parameters
    ----------
    directory : Path
        Must not exist, or be empty.

    Returns
    -------
    dict
        The manifest of the backup: ``peer_id``, ``made``, ``files``.

    Raises
    ------
    HomeExists
        The directory exists already.
    CorruptBackup
        The backup is damaged; the message names all damage, and nothing has been created.
    HomeError
        Something cannot be read or written.
    """
    with named_errors(f"the backup {file} cannot be restored to {directory}"):
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise HomeExists(f"{directory} already exists", remedy="Name a directory that does not exist.")
        make_directory(directory.parent)
        staging = temporary_beside(directory)
        make_directory(staging)
        try:
            manifest = _unpack_whole(file, staging)
            home = Home(staging)
            write_facts(home, {**read_facts(home), "restored": {"at": time.time(), "made": manifest["made"]}})
            os.replace(staging, directory)  # noqa: PTH105 - a directory over an empty one
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        synchronise_directory(directory.parent)
    return manifest


def _unpack_whole(file: Path, staging: Path) -> dict[str, Any]:
    with file.open("rb") as source:
        if source.read(len(_GZIP)) != _GZIP:
            raise CorruptBackup(
                f"{file} is not a backup", expected="a file that `gossipfl peer backup` wrote"
            )
    manifest, broken = _unpack(file, staging)
    broken += _broken_parts(Home(staging))
    if manifest is None or broken:
        raise CorruptBackup(
            f"the backup {file} is damaged",
            expected="every part as its manifest describes it",
            got="; ".join(broken),
            remedy="Use another backup. Intact parts can be unpacked with tar.",
        )
    return manifest


def _unpack(file: Path, staging: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Write all parts of a backup; return its manifest, if it has one, and descriptions of all damage."""
    found: dict[str, str] = {}
    broken: list[str] = []
    manifest: dict[str, Any] | None = None
    name = "its beginning"
    try:
        with tarfile.open(file, mode="r|gz") as archive:
            for entry in archive:
                name = entry.name
                content = archive.extractfile(entry) if entry.isreg() else None
                if content is None or not _is_inside(name):
                    broken.append(f"{name!a} is not part of a home")
                elif name == MANIFEST:
                    manifest = _manifest(content.read(_LARGEST_MANIFEST))
                else:
                    found[name] = _write(staging / name, content.read)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError, OverflowError) as error:
        broken.append(f"it cannot be read beyond {name} ({str(error) or type(error).__name__})")
    if manifest is None:
        broken.append(f"{MANIFEST}, its last part, is missing")
        return None, broken
    expected = manifest["files"]
    broken += [f"{name} is missing" for name in expected if name not in found]
    broken += [f"{name} is not in the manifest" for name in found if name not in expected]
    broken += [
        f"{name} has a different checksum"
        for name, digest in found.items()
        if name in expected and expected[name]["sha256"] != digest
    ]
    return manifest, broken


def _is_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and "\0" not in name


def _manifest(content: bytes) -> dict[str, Any]:
    try:
        manifest = dict(json_of(content))
        written_as = manifest["format"]
        manifest |= {"made": float(manifest["made"]), "peer_id": str(manifest["peer_id"])}
        for part in manifest["files"].values():
            bytes.fromhex(part["sha256"])
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError("its manifest is damaged") from error
    if written_as != FORMAT:
        raise ValueError(f"expected format {FORMAT!r}, got {written_as!r}")
    return manifest


def _write(path: Path, read: Callable[[int], bytes]) -> str:
    make_directory(path.parent)
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        while chunk := read(1 << 20):
            digest.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


def _broken_parts(home: Home) -> list[str]:
    """Return descriptions of everything in a home that a peer would refuse."""
    looks: list[Callable[[], object]] = [
        home.require,
        lambda: read_facts(home),
        lambda: load_settings(home.settings),
        lambda: load_identity(home.directory),
        lambda: read_row(home.checkpoint) if home.checkpoint.exists() else None,
    ]
    broken = []
    for look in looks:
        try:
            look()
        except GossipflError as error:
            broken.append(error.what.replace(f"{home.directory}/", ""))
    return broken

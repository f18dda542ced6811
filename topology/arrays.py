"""Arrays from files of numpy's that others may have made, without pickles and with one kind of error."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["load_npy", "opened_npz"]

_MOST_BYTES = 1 << 32
_NO_ARRAY = zipfile.BadZipFile, zlib.error, EOFError, MemoryError, TokenError, SyntaxError, RecursionError


def load_npy(path: Path, *, mmap_mode: Literal["r", "c"] | None = None) -> Any:  # noqa: ANN401
    """Read what `numpy.load` reads, whoever made it, without pickles.

    Raises
    ------
    ValueError
        If it is none.
    OSError
        If it cannot be read.
    """
    try:
        return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (*_NO_ARRAY, OverflowError, TypeError) as error:
        raise ValueError(f"no array of numpy: {error}") from error


@contextmanager
def opened_npz(path: Path) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
    """Open the arrays of an ``.npz``, whoever made it.

    Raises
    ------
    ValueError
        If it is none, is damaged or encrypted, or unfolds to more than 4 GiB, of a thousandth as many bytes.
    OSError
        If it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unfolded = sum(each.file_size for each in archive.infolist())
        if unfolded > _MOST_BYTES:
            raise ValueError(f"it unfolds to {unfolded} bytes, more than {_MOST_BYTES}")
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except (*_NO_ARRAY, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"no arrays of numpy: {error}") from error

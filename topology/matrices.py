"""Matrices from files: .npy, .npz (dense or sparse), Matrix Market and CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.io import mmread
from scipy.sparse import coo_array, csr_array, issparse, load_npz

from topology.arrays import load_npy, opened_npz
from topology.errors import InvalidParameter
from topology.text import fields_of, numbers_of, read_text

__all__ = ["read_matrices", "read_matrix"]

Matrix: TypeAlias = csr_array | npt.NDArray[np.float64]


def read_matrix(path: Path) -> Matrix:
    """Return the matrix in a file, sparse where the file is.

    Parameters
    ----------
    path : Path
        ``.npy``; ``.npz`` of `scipy.sparse.save_npz` or with one array; ``.mtx``; ``.csv`` with a row of numbers
        a line, or with the header ``to,from,weight`` and an entry a line.

    Raises
    ------
    InvalidParameter
        If the file holds no matrix.
    OSError
        If it cannot be read.
    """
    matrix = _read(path)
    if matrix.ndim != 2:
        raise InvalidParameter(f"{path} holds no matrix", expected="two dimensions", got=matrix.shape)
    return matrix


def read_matrices(path: Path) -> list[Matrix]:
    """Return the matrices in a file: of an array [T, n, n] in a ``.npy`` or ``.npz``, T; of any other, one.

    Raises
    ------
    InvalidParameter
        If the file holds neither.
    OSError
        If it cannot be read.
    """
    found = _read(path)
    if found.ndim not in (2, 3):
        raise InvalidParameter(f"{path} holds no matrix", expected="two or three dimensions", got=found.shape)
    return [found] if found.ndim == 2 else list(found)


def _read(path: Path) -> Matrix:
    readers = {".npy": load_npy, ".npz": _npz, ".mtx": mmread, ".csv": _csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidParameter(
            "the format of the matrix is unknown",
            expected=f"a suffix among {' '.join(readers)}",
            got=path.name,
        )
    try:
        found = reader(path)
        matrix = csr_array(found) if issparse(found) else np.asarray(found, dtype=np.float64)
    except (ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, MemoryError) as error:
        raise InvalidParameter(
            f"{path} holds no matrix", expected=f"numbers, as a {path.suffix} file", got=str(error)
        ) from None
    return matrix


def _npz(path: Path) -> Any:  # noqa: ANN401
    with opened_npz(path) as loaded:
        names = list(loaded)
        return load_npz(path) if "format" in names else loaded[names[0]]


def _csv(path: Path) -> Any:  # noqa: ANN401
    text = read_text(path)
    header, _, rest = text.partition("\n")
    if [field.lower() for field in fields_of(header)] != ["to", "from", "weight"]:
        return numbers_of(text)
    rows, columns, weights = numbers_of(rest).T
    n = int(max(rows.max(), columns.max())) + 1
    if n > np.iinfo(np.int32).max:
        raise ValueError(f"no network has {n} nodes")
    return coo_array((weights, (rows.astype(np.int64), columns.astype(np.int64))), shape=(n, n))

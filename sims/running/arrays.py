"""Files of arrays as safetensors, written and read without a copy of what they hold."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from topology.parsing import json_of

__all__ = ["mapped_arrays", "write_arrays"]

_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I16": np.int16,
    "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_AT_ONCE = 1 << 26  # bytes
_LONGEST_HEADER = 100_000_000  # as safetensors has it


def write_arrays(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to a new file, a few megabytes at a time, and see that it is on the disk."""
    # Those with wide numbers first, so that each lies where its numbers may.
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header, start = {}, 0
    for name, array in ordered:
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [start, start + array.nbytes],
        }
        start += array.nbytes
    packed = json.dumps(header).encode()
    packed += b" " * (-len(packed) % 8)
    with file.open("wb") as opened:
        opened.write(len(packed).to_bytes(8, "little") + packed)
        for _, array in ordered:
            rows = max(1, _AT_ONCE // max(1, array.nbytes // max(1, len(array)))) if array.ndim else 1
            for first in range(0, len(array) if array.ndim else 1, rows):
                part = array[first : first + rows] if array.ndim else array
                opened.write(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        opened.flush()
        os.fsync(opened.fileno())


def mapped_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a file that are read when they are used, and cannot be written.

    Raises
    ------
    SafetensorError, OSError
        If it is none, or is damaged.
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 0 < length <= min(_LONGEST_HEADER, file.stat().st_size - 8):
            raise SafetensorError(f"a header of {length} bytes")
        try:
            header = json_of(opened.read(length))
            header.pop("__metadata__", None)
            return {
                name: _mapped(file, 8 + length, _DTYPES[form["dtype"]], form["shape"], form["data_offsets"])
                for name, form in header.items()
            }
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
            raise SafetensorError(str(error)) from error


def _mapped(file: Path, start: int, dtype: Any, shape: list[int], offsets: list[int]) -> NDArray[Any]:  # noqa: ANN401
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if offsets[1] - offsets[0] != size:
        raise SafetensorError(f"{offsets[1] - offsets[0]} bytes of an array of {size}")
    if not size:
        return np.zeros(shape, dtype=dtype)
    return np.memmap(file, dtype=dtype, mode="r", offset=start + offsets[0], shape=tuple(shape))

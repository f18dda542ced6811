"""A hint for the processor in compiled loops: rows that are gathered next."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

__all__ = ["fetch_begin_of_row"]

_LINE, _LINES = 64, 12  # after so many in a row the processor fetches the rest by itself


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _fetch(typing_context: Any, array: Any, byte: Any) -> Any:
    """Ask for the line of the cache at a byte of an array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.gep(builder.bitcast(data, pointer), [arguments[1]])
        form = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        hint = cgutils.get_or_insert_function(builder.module, form, "llvm.prefetch.p0i8")
        reading, keep, of_data = (ir.Constant(number, value) for value in (0, 3, 1))
        builder.call(hint, [place, reading, keep, of_data])
        return context.get_dummy_value()

    return types.void(array, byte), generate


@njit(cache=True, nogil=True, _nrt=False)
def fetch_begin_of_row(rows: NDArray[np.floating], row: int) -> None:
    """Ask for the first lines of a row ``[N, D]``, whatever is computed meanwhile."""
    size = rows.shape[1] * rows.itemsize
    for byte in range(row * size, row * size + min(size, _LINES * _LINE), _LINE):
        _fetch(rows, byte)

"""The head of a typing store's generation: how many records were acknowledged.

It has two slots that are written in turn, so that a write torn by a crash leaves the other one.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

from gossipfl.files import synchronise_directory
from gossipfl.keyboard.sealing import OVERHEAD, Key

__all__ = ["Head"]

_KIND: Final = b"head"
_COUNT = struct.Struct(">Q")
_SLOT: Final = OVERHEAD + 64


class Head:
    """A count that is durable once it has been acknowledged, and cannot be changed without the key.

    Parameters
    ----------
    path : Path
        Made with mode 0600 if there is none: with a count of 0.
    key : Key

    Attributes
    ----------
    records : int
        The count.
    is_sound : bool
        Whether one of the slots that were found could be opened.

    Raises
    ------
    OSError
    """

    def __init__(self, path: Path, key: Key) -> None:
        self._key = key
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            data = os.pread(self._descriptor, 2 * _SLOT, 0)
            found = [count for slot in (0, 1) if (count := self._opened(data, slot)) is not None]
            self.is_sound = bool(found)
            self.records = max(found, default=0)
            if not data:
                os.pwrite(self._descriptor, bytes(2 * _SLOT), 0)  # so that a full disk has room for the count
                os.fsync(self._descriptor)
                synchronise_directory(path.parent)
        except BaseException:
            os.close(self._descriptor)
            raise

    def _opened(self, data: bytes, slot: int) -> int | None:
        content = self._key.opened(data[slot * _SLOT : (slot + 1) * _SLOT], kind=_KIND, number=slot)
        return None if content is None else int(_COUNT.unpack(content)[0])

    def acknowledge(self, records: int) -> None:
        """Make a count durable.

        Raises
        ------
        OSError
        """
        slot = records % 2
        sealed = self._key.sealed(_COUNT.pack(records), kind=_KIND, number=slot)
        os.pwrite(self._descriptor, sealed, slot * _SLOT)
        os.fdatasync(self._descriptor)
        self.records = records

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
